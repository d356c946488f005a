"""From settings to a finished run: `fit` for Python, `carry_out` for callers with a `RunConfig`."""

import contextlib
import dataclasses
import functools
import gc
import itertools
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, cast

import keras
import tensorflow as tf

from tfrec import config as configs
from tfrec import names
from tfrec.api.dataset import Dataset
from tfrec.api.prepared_data import PathLike, PreparedData
from tfrec.api.run import Run
from tfrec.config import TrainConfig, known_names
from tfrec.data import prepared as prepared_data
from tfrec.datasets import registry as datasets
from tfrec.datasets.sources import Sources
from tfrec.models import registry
from tfrec.models.base import Recommender
from tfrec.serving import export
from tfrec.training import candidates, experiment, methods, runs, strategies, summaries
from tfrec.training.candidates import Tried
from tfrec.training.run_config import RunConfig, versions

Model = str | type[Recommender] | Recommender


def fit(
    model: Model,
    data: PreparedData | PathLike,
    *,
    run_dir: PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    warm_start: PathLike | None = None,
    strategy: str | tf.distribute.Strategy = "one",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    check_export: bool = True,
    test: bool = True,
    verbose: bool = True,
    **settings: Any,
) -> Run:
    """Trains a model, keeps the best epoch by validation and measures it on test.

        run = tfrec.fit("sasrec", split, epochs=20, dropout=0.3)

    Args:
        model: A name such as "deeprec" (`tfrec.models.registry.MODELS` has all), a subclass of
            `tfrec.models.Recommender`, "package.module:Class" of one, or an instance, whose
            settings are taken and whose weights training starts from. "auto": the best on
            validation of a few quick models, as `choose` says.
        data: What `Dataset.split` gave, or the folder of prepared data.
        run_dir: Where the run is written; default: the first of `runs/MODEL`, `runs/MODEL-2`, ...
            that is free.
        resume: Go on with the interrupted run in `run_dir`.
        overwrite: Replace the run in `run_dir`.
        warm_start: An earlier run to start from, by raw id.
        strategy: "one", "mirrored", "multiworker", or a strategy that was made already.
        callbacks: Keras callbacks; logs have `val_` before validation's names.
        check_export: First see whether the model can be exported.
        test: Measure on test at the end; False while settings are being chosen.
        verbose: Print what is trained and a line an epoch.
        **settings: The model's settings (its `Config`) and those of training
            (`tfrec.config.TrainConfig`), by name; for "auto" those of training only.

    Returns:
        The finished run.

    Raises:
        ValueError: an unknown setting or one out of its range, an optimizer that the model can not
            be fitted by, data that does not fit the model, a `run_dir` that holds another run, or
            `resume` without `run_dir`.
    """
    if resume and run_dir is None:
        raise ValueError(
            "resume=True: give run_dir=..., the run to go on with, or leave out resume"
        )
    if isinstance(data, Dataset):
        raise ValueError('split the data first: tfrec.fit(model, data.split("random"))')
    prepared = data if isinstance(data, PreparedData) else PreparedData(data)
    name, own, train, rows = _asked(model, settings)
    if name == names.AUTO and warm_start:
        raise ValueError('warm_start is of one model, "auto" tries several: name a model')
    prepared = prepared.with_rows(rows)
    path = pathlib.Path(run_dir) if run_dir else _free(pathlib.Path("runs") / _folder(name))
    config = RunConfig(
        model=name,
        settings=own,
        data=prepared.config,
        data_dir=str(prepared.data_dir),
        train=train,
        strategy=strategy if isinstance(strategy, str) else "one",
        warm_start=str(pathlib.Path(warm_start).absolute()) if warm_start else "",
        versions=versions(),
    )
    options: dict[str, Any] = {
        "strategy": strategies.make(strategy, 0) if isinstance(strategy, str) else strategy,
        "resume": resume,
        "overwrite": overwrite,
        "dry_run": check_export,
        "callbacks": callbacks,
        "test": test,
        "verbose": verbose,
    }
    if name == names.AUTO:
        choose(config, path, settings, **options)
    else:
        start = cast(Recommender, model) if isinstance(model, Recommender) else None
        carry_out(config, path, start=start, **options)
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
    """Tries the candidates for the data, keeps the run of the best on validation, and tests it.

    The candidates (`tfrec.training.candidates`) are trained with their defaults, bounded, in a
    hidden folder beside `path`, which is gone at the end. `path` gets the best one's run as if it
    had been trained alone, and `candidates.json`. The others never see test.

    Args:
        config: What to run; its model is "auto".
        path: The run directory.
        training: Settings of training by name, for all candidates.
        raw: As of `carry_out`, like all others.
        strategy: On one machine.
        resume: Go on with the candidates that were interrupted.
        overwrite: See raw.
        dry_run: See raw; of the best one only.
        callbacks: See raw; of all candidates.
        test: See raw.
        verbose: Print the table of the candidates.

    Returns:
        The best one's experiment.

    Raises:
        ValueError: nothing is held out for validation, no candidate can be trained, several
            workers, or as `carry_out`.
    """
    strategy = strategy or tf.distribute.get_strategy()
    if strategies.is_multiworker(strategy):
        raise ValueError("--model=auto works on one machine: name a model for --strategy")
    info = prepared_data.ensure(config.data, config.data_dir, raw)
    found = candidates.configs_of(config, info, training)
    run_dir, options = runs.RunDir(path), {"strategy": strategy, "resume": True}
    if resume and run_dir.finished:
        kept = run_dir.config().model
        same = next((each for each in found if each.model == kept), found[0])
        return carry_out(same, path, test=test, verbose=verbose, **options)
    with run_dir.locked():
        run_dir.check(config, overwrite=overwrite)
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
        trial = carry_out(config, folder / best.model, **options)
        trial.run_dir.write_json(run_dir.candidates.name, choice.record(tried, best))
        run_dir.take(trial.run_dir)
        trial.run_dir = run_dir
        shutil.rmtree(folder)
    return trial


def _of_candidates(run_dir: runs.RunDir, found: Sequence[RunConfig], resume: bool) -> pathlib.Path:
    """The folder of the candidates' runs, empty unless they are to be resumed.

    Raises:
        ValueError: those to be resumed were started with other settings or on other data.
    """
    folder = run_dir.path.with_name(f".{run_dir.path.name}.candidates")
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    for config in found:
        there = runs.RunDir(folder / config.model)
        if not there.exists:
            there.clear()  # what a killed process had not yet moved to its place
        there.check(config, resume=True)
    return folder


def _try(config: RunConfig, path: pathlib.Path, **options: Any) -> Tried:
    """Trains a candidate; what it got on validation, or why it failed."""
    gc.collect()  # what is left of the one before would count as taken memory
    try:
        result = carry_out(config, path, test=False, verbose=False, **options).result
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


def carry_out(
    config: RunConfig,
    path: PathLike,
    *,
    raw: str | Sources | None = None,
    strategy: tf.distribute.Strategy | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    start: Recommender | None = None,
    test: bool = True,
    verbose: bool = True,
) -> experiment.Experiment:
    """Prepares the data if need be, trains, measures and writes the run directory.

    Args:
        config: What to run.
        path: The run directory.
        raw: Raw files, where the data is yet to be prepared.
        strategy: Made by `strategies.make`, once a process; None: one device.
        resume: Go on with the run there.
        overwrite: Replace the run there.
        dry_run: First see whether the model can be exported.
        callbacks: As of `fit`.
        start: A model whose weights training starts from.
        test: As of `fit`.
        verbose: As of `fit`.

    Returns:
        The experiment, with its `model` trained and its `result` as in `metrics.json`.

    Raises:
        ValueError: as `fit`.
    """
    _refuse(config)
    strategy = strategy or tf.distribute.get_strategy()
    run_dir, chief = runs.RunDir(path), strategies.is_chief(strategy)
    if chief:
        run_dir.check(config, resume, overwrite)
    with run_dir.locked() if chief else contextlib.nullcontext():
        trial = experiment.Experiment(config, run_dir, strategy, raw, callbacks, start, verbose)
        if verbose:
            print(summaries.summary(trial.info, trial.model), flush=True)
        if dry_run and not strategies.is_multiworker(strategy):
            export.dry_run(trial.model, config.data_dir)
        if chief:
            run_dir.start(trial.config, resume, overwrite)
        try:
            trial.run(resume, test)
        except BaseException:
            if chief:
                run_dir.clear_unless_trained()
            raise
    return trial


def _refuse(config: RunConfig) -> None:
    """Refuses what can not be trained, as far as it is known before the data is prepared."""
    cls = registry.model_class(config.model)
    methods.method(cls, config.model_config, config.train)
    known = datasets.known_range(config.data)
    if known:
        config.check_range(*known)


def _asked(model: Model, given: dict) -> tuple[str, dict, TrainConfig, str]:
    """Name, settings, training numbers and rows of what `fit` is asked for."""
    if isinstance(model, str) and model == names.AUTO:
        return model, {}, configs.replaced(TrainConfig(), given, "training"), "user"
    cls, base = class_and_settings(model)
    own, train = _settings(cls, base, given)
    return registry.name_of(cls), configs.to_dict(own), train, cls.rows(own)


def _folder(name: str) -> str:
    """What the folder of a model's runs is called: a key as it is, of a path the class."""
    return re.split("[:.]", name)[-1].lower()


def class_and_settings(model: Model) -> tuple[type[Recommender], Any]:
    """The model's class, and the settings that others are laid over."""
    given: Any = registry.model_class(model) if isinstance(model, str) else model
    if isinstance(given, Recommender):
        return type(given), given.config
    if not (isinstance(given, type) and issubclass(given, Recommender)):
        raise ValueError(
            f"{model!r} is no model: give a name, a tfrec.models.Recommender, or one's"
        )
    return given, given.Config()


def _settings(cls: type[Recommender], base: Any, given: dict) -> tuple[Any, TrainConfig]:
    """The model's settings and those of training, separated by name."""
    of_training = {field.name for field in dataclasses.fields(TrainConfig)}
    of_model = {field.name for field in dataclasses.fields(cls.Config)}
    for name in given:
        if name not in of_training | of_model:
            raise ValueError(
                f"{name}={given[name]!r}: neither {cls.__name__} nor training has such a setting; "
                + known_names(name, [*of_model, *of_training])
            )
    train = {name: value for name, value in given.items() if name not in of_model}
    own = {name: value for name, value in given.items() if name in of_model}
    return (
        configs.replaced(base, own, cls.__name__),
        configs.replaced(cls.defaults, train, "training"),
    )


def _free(path: pathlib.Path) -> pathlib.Path:
    """`path`, or the first of `path`-2, `path`-3, ... that is not there."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in itertools.count(2))
    return next(p for p in itertools.chain([path], numbered) if not p.exists())
