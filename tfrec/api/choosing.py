"""`--model=auto`: tries fast models that fit the data, and keeps the best run."""

import dataclasses
import functools
import gc
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfrec import config as configs
from tfrec import names
from tfrec.api import fitting
from tfrec.api.fitting import Options
from tfrec.api.prepared_data import PathLike, PreparedData
from tfrec.api.run import Run
from tfrec.config import TrainConfig
from tfrec.data import info_text, prepared
from tfrec.training import candidates, experiment, runs, strategies
from tfrec.training.candidates import Tried
from tfrec.training.run_config import RunConfig


def fit(
    data: PreparedData,
    run_dir: PathLike | None,
    training: Mapping[str, Any],
    strategy: str,
    options: Options,
) -> Run:
    """Implements `tfrec.fit("auto", data)`.

    Args:
        data: As in `tfrec.fit`.
        run_dir: As in `tfrec.fit`.
        training: As in `choose`.
        strategy: The name of the strategy.
        options: As in `choose`.
    """
    data = data.with_rows("user")
    path = pathlib.Path(run_dir) if run_dir else fitting.free(pathlib.Path("runs/auto"))
    train = configs.replaced(TrainConfig(), training, "training")
    choose(fitting.run_config(names.AUTO, {}, train, data, strategy), path, training, options)
    return Run(path)


def choose(
    config: RunConfig, path: PathLike, training: Mapping[str, Any], options: Options
) -> experiment.Experiment:
    """Tries the candidates for the data, keeps the best run by validation, and tests it.

    The candidates (`tfrec.training.candidates`) are trained with their defaults, for a bounded
    number of epochs, in a hidden folder next to `path`, which is removed at the end. `path` gets
    the best run, as if its model had been trained alone, and `candidates.json`. Only the best
    candidate is checked for export and tested.

    Args:
        config: The run; its model is "auto".
        path: The run directory.
        training: Training settings by name, for all candidates.
        options: As in `fitting.carry_out`, on one machine.

    Returns:
        The experiment of the best candidate.

    Raises:
        ValueError: there is no validation part, no candidate can be trained, there are several
            workers, or as in `carry_out`.
    """
    if strategies.is_multiworker(options.strategy or tf.distribute.get_strategy()):
        raise ValueError("--model=auto works on one machine: name a model for --strategy")
    run_dir, overwrite = runs.RunDir(path), options.overwrite
    again = Options(strategy=options.strategy, resume=True, test=options.test)
    is_kept = options.resume and run_dir.finished
    if not is_kept:
        run_dir.check(config, overwrite=overwrite)
    info = prepared.ensure(config.data, config.data_dir, options.raw)
    found = candidates.configs_of(config, info, training)
    if is_kept:
        kept = run_dir.config().model
        same = next((each for each in found if each.model == kept), found[0])
        return fitting.carry_out(same, path, dataclasses.replace(again, verbose=options.verbose))
    with run_dir.locked():
        run_dir.check(config, overwrite=overwrite)  # another process may have written there by now
        folder = _of_candidates(run_dir, found, options.resume)
        choice = candidates.choice(found, info)
        say = functools.partial(print, flush=True) if options.verbose else lambda text: None
        say(f"{info_text.of(info)}\n{choice.head()}")
        tried = _try_all(found, folder, choice, options, say)
        best = choice.best(tried)
        say(choice.chosen(best))
        config = next(each for each in found if each.model == best.model)
        last = dataclasses.replace(again, dry_run=options.dry_run, verbose=False)
        trial = fitting.carry_out(config, folder / best.model, last)
        trial.run_dir.write_json(run_dir.candidates.name, choice.record(tried, best))
        run_dir.take(trial.run_dir)
        trial.run_dir = run_dir
        shutil.rmtree(folder)
    return trial


def _of_candidates(run_dir: runs.RunDir, found: Sequence[RunConfig], resume: bool) -> pathlib.Path:
    """The folder of the candidates' runs, emptied unless they are to be resumed.

    Raises:
        ValueError: runs to be resumed were started with other settings or on other data.
    """
    path = run_dir.path.absolute()
    folder = path.with_name(f".{path.name}.candidates")
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    for config in found:
        earlier = runs.RunDir(folder / config.model)
        if not earlier.exists:
            earlier.clear()  # files that a killed process had not yet moved
        earlier.check(config, resume=True)
    return folder


def _try_all(
    found: Sequence[RunConfig],
    folder: pathlib.Path,
    choice: candidates.Choice,
    options: Options,
    say: Callable[[str], object],
) -> list[Tried]:
    """Trains the candidates in subfolders, and prints a line each; if all fail, nothing is kept."""
    tried = []
    for each in found:
        tried.append(_try(each, folder / each.model, options))
        say(choice.line(tried[-1]))
    if all(each.failed for each in tried):
        shutil.rmtree(folder, ignore_errors=True)
    return tried


def _try(config: RunConfig, path: pathlib.Path, options: Options) -> Tried:
    """Trains a candidate; returns its validation metrics, or why it failed."""
    gc.collect()  # remains of the last candidate would count as used memory
    own = Options(
        strategy=options.strategy, resume=True, callbacks=options.callbacks, test=False,
        verbose=False,
    )  # fmt: skip
    try:
        result = fitting.carry_out(config, path, own).result
    except (ValueError, MemoryError, tf.errors.ResourceExhaustedError) as error:
        return Tried(config.model, failed=str(error) or type(error).__name__)
    history = runs.RunDir(path).history()
    return Tried(
        config.model,
        validation=result["validation"],
        best_epoch=result["best_epoch"],
        epochs=result["epochs"],
        seconds=result["seconds"],
        cpu_seconds=round(float(history["cpu_seconds"].sum()), 2),
        memory_mb=result["peak_memory_mb"],
    )
