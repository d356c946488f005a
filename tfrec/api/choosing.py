"""`--model=auto`: tries fast models that fit the data, and keeps the best run."""

import functools
import gc
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrec import config as configs
from tfrec import names
from tfrec.api import fitting
from tfrec.api.prepared_data import PathLike, PreparedData
from tfrec.api.run import Run
from tfrec.config import TrainConfig
from tfrec.data import prepared
from tfrec.datasets.sources import Sources
from tfrec.training import candidates, experiment, runs, strategies, summaries
from tfrec.training.candidates import Tried
from tfrec.training.run_config import RunConfig


def fit(
    data: PreparedData,
    run_dir: PathLike | None,
    training: Mapping[str, Any],
    strategy: str | tf.distribute.Strategy,
    **options: Any,
) -> Run:
    """Implements `tfrec.fit("auto", data)`.

    Args:
        data: As in `tfrec.fit`.
        run_dir: As in `tfrec.fit`.
        training: As in `choose`.
        strategy: As in `tfrec.fit`.
        **options: As in `choose`.
    """
    data = data.with_rows("user")
    path = pathlib.Path(run_dir) if run_dir else fitting.free(pathlib.Path("runs/auto"))
    by_name = strategy if isinstance(strategy, str) else "one"
    train = configs.replaced(TrainConfig(), training, "training")
    config = fitting.run_config(names.AUTO, {}, train, data, by_name)
    made = strategies.make(strategy, 0) if isinstance(strategy, str) else strategy
    choose(config, path, training, strategy=made, **options)
    return Run(path)


def choose(
    config: RunConfig,
    path: PathLike,
    training: Mapping[str, Any],
    *,
    raw: str | Sources | None = None,
    strategy: tf.distribute.Strategy | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    test: bool = True,
    verbose: bool = True,
) -> experiment.Experiment:
    """Tries the candidates for the data, keeps the best run by validation, and tests it.

    The candidates (`tfrec.training.candidates`) are trained with their defaults, for a bounded
    number of epochs, in a hidden folder next to `path`, which is removed at the end. `path` gets
    the best run, as if its model had been trained alone, and `candidates.json`. Only the best
    candidate is tested.

    Args:
        config: The run; its model is "auto".
        path: The run directory.
        training: Training settings by name, for all candidates.
        raw: As in `fitting.carry_out`.
        strategy: A strategy of one machine.
        resume: Resume the candidates that were interrupted.
        overwrite: As in `fitting.carry_out`.
        dry_run: As in `fitting.carry_out`, for the best candidate only.
        callbacks: As in `fitting.carry_out`, for all candidates.
        test: As in `fitting.carry_out`.
        verbose: Print the table of the candidates.

    Returns:
        The experiment of the best candidate.

    Raises:
        ValueError: there is no validation part, no candidate can be trained, there are several
            workers, or as in `carry_out`.
    """
    strategy = strategy or tf.distribute.get_strategy()
    if strategies.is_multiworker(strategy):
        raise ValueError("--model=auto works on one machine: name a model for --strategy")
    run_dir, options = runs.RunDir(path), {"strategy": strategy, "resume": True}
    is_kept = resume and run_dir.finished
    if not is_kept:
        run_dir.check(config, overwrite=overwrite)
    info = prepared.ensure(config.data, config.data_dir, raw)
    found = candidates.configs_of(config, info, training)
    if is_kept:
        kept = run_dir.config().model
        same = next((each for each in found if each.model == kept), found[0])
        return fitting.carry_out(same, path, test=test, verbose=verbose, **options)
    with run_dir.locked():
        run_dir.check(config, overwrite=overwrite)  # another process may have written there by now
        folder = _of_candidates(run_dir, found, resume)
        choice, tried = candidates.choice(found, info), []
        say = functools.partial(print, flush=True) if verbose else lambda text: None
        say(f"{summaries.data_summary(info)}\n{choice.head()}")
        for each in found:
            tried.append(_try(each, folder / each.model, callbacks=callbacks, **options))
            say(choice.line(tried[-1]))
        if all(each.failed for each in tried):
            shutil.rmtree(folder, ignore_errors=True)
        best = choice.best(tried)
        say(choice.chosen(best))
        config = next(each for each in found if each.model == best.model)
        options |= {"dry_run": dry_run, "test": test, "verbose": False}
        trial = fitting.carry_out(config, folder / best.model, **options)
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


def _try(config: RunConfig, path: pathlib.Path, **options: Any) -> Tried:
    """Trains a candidate; returns its validation metrics, or why it failed."""
    gc.collect()  # remains of the last candidate would count as used memory
    try:
        result = fitting.carry_out(config, path, test=False, verbose=False, **options).result
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
