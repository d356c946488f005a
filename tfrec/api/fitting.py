"""Training of a run: `fit` as the public API, `carry_out` for callers with a `RunConfig`."""

import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import keras
import tensorflow as tf

from tfrec import config as configs
from tfrec import names, settings_file
from tfrec.api.dataset import Dataset
from tfrec.api.prepared_data import PathLike, PreparedData
from tfrec.api.run import Run
from tfrec.config import TrainConfig, known_names, types_of
from tfrec.datasets import registry as datasets
from tfrec.datasets.sources import Sources
from tfrec.models import registry
from tfrec.models.base import Recommender
from tfrec.serving import export
from tfrec.training import experiment, methods, runs, strategies, summaries
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
    settings: PathLike | None = None,
    **values: Any,
) -> Run:
    """Trains a model, keeps the best epoch by validation and evaluates it on test.

        run = tfrec.fit("sasrec", split, epochs=20, dropout=0.3)

    Args:
        model: A name such as "deeprec" (all are in `tfrec.models.registry.MODELS`), a subclass of
            `tfrec.models.Recommender`, "package.module:Class" of one, or an instance, whose
            settings are used and whose weights training starts from. "auto" chooses the best of a
            few fast models on validation (`tfrec.api.choosing`).
        data: Data prepared by `Dataset.split`, or its folder.
        run_dir: The run directory; default: the first of `runs/MODEL`, `runs/MODEL-2`, ... that
            does not exist.
        resume: Resume the interrupted run in `run_dir`.
        overwrite: Replace the run in `run_dir`.
        warm_start: An earlier run whose weights training starts from, matched by raw id.
        strategy: "one", "mirrored", "multiworker", or a `tf.distribute.Strategy`.
        callbacks: Keras callbacks; in logs validation metrics have the prefix `val_`.
        check_export: Check before training that the model can be exported.
        test: Evaluate on test at the end; False while settings are being chosen.
        verbose: Print what is trained, and a line for each epoch.
        settings: A file of settings, such as the `best.json` of `tfrec.tune`, used instead of the
            model's defaults.
        **values: The model's settings (its `Config`) and training settings
            (`tfrec.config.TrainConfig`), by name; they override those of the file. For "auto"
            training settings only.

    Returns:
        The finished run.

    Raises:
        FileNotFoundError: the file of settings does not exist.
        ValueError: an unknown setting or one out of its range, settings of another model, an
            optimizer that cannot train the model, data that does not fit the model, a
            `run_dir` that holds another run, or `resume` without `run_dir`.
    """
    if resume and run_dir is None:
        raise ValueError("resume=True: give run_dir=..., the run to resume, or leave out resume")
    if isinstance(data, Dataset):
        raise ValueError('split the data first: tfrec.fit(model, data.split("random"))')
    prepared = data if isinstance(data, PreparedData) else PreparedData(data)
    options = Options(
        strategy=strategies.make(strategy, 0) if isinstance(strategy, str) else strategy,
        resume=resume,
        overwrite=overwrite,
        dry_run=check_export,
        callbacks=callbacks,
        start=cast(Recommender, model) if isinstance(model, Recommender) else None,
        test=test,
        verbose=verbose,
    )
    by_name = strategy if isinstance(strategy, str) else "one"
    if isinstance(model, str) and model == names.AUTO:
        from tfrec.api import choosing  # which trains its candidates by `carry_out`

        for name, given in (("warm_start", warm_start), ("settings", settings)):
            if given:
                raise ValueError(f'{name} is of one model, "auto" tries several: name a model')
        return choosing.fit(prepared, run_dir, values, by_name, options)
    cls, own, train = starting_point(model, settings)
    own, train = overlaid(own, train, cls, values)
    prepared = prepared.with_rows(cls.rows(own))
    path = pathlib.Path(run_dir) if run_dir else free(pathlib.Path("runs") / cls.__name__.lower())
    name = registry.name_of(cls)
    config = run_config(name, configs.to_dict(own), train, prepared, by_name, warm_start)
    carry_out(config, path, options)
    return Run(path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is carried out.

    Attributes:
        raw: Raw files, where the data is not prepared yet.
        strategy: From `strategies.make`, which is called once in a process; None: one device.
        resume: Resume the run in the run directory.
        overwrite: Replace the run there.
        dry_run: Check before training that the model can be exported.
        callbacks: As in `fit`.
        start: A model whose weights training starts from.
        test: As in `fit`.
        measure: Whether to evaluate and finish the run; else it is only trained, and the
            experiment's `progress` has the validation metrics of the best epoch.
        verbose: As in `fit`.
    """

    raw: str | Sources | None = None
    strategy: tf.distribute.Strategy | None = None
    resume: bool = False
    overwrite: bool = False
    dry_run: bool = False
    callbacks: Sequence[keras.callbacks.Callback] = ()
    start: Recommender | None = None
    test: bool = True
    measure: bool = True
    verbose: bool = True


def run_config(
    model: str,
    settings: dict,
    train: TrainConfig,
    data: PreparedData,
    strategy: str = "one",
    warm_start: PathLike | None = None,
) -> RunConfig:
    """The config of a run: a model with these settings on prepared data."""
    return RunConfig(
        model=model,
        settings=settings,
        data=data.config,
        data_dir=str(data.data_dir),
        train=train,
        strategy=strategy,
        warm_start=str(pathlib.Path(warm_start).absolute()) if warm_start else "",
        versions=versions(),
    )


def carry_out(
    config: RunConfig, path: PathLike, options: Options = Options()
) -> experiment.Experiment:
    """Prepares the data if needed, trains, evaluates and writes the run directory.

    Args:
        config: The run.
        path: The run directory.
        options: How.

    Returns:
        The experiment, with the trained `model` and its `result` as in `metrics.json`.

    Raises:
        ValueError: as in `fit`.
    """
    check_trainable(config)
    strategy = options.strategy or tf.distribute.get_strategy()
    run_dir, chief = runs.RunDir(path), strategies.is_chief(strategy)
    if chief:
        run_dir.check(config, options.resume, options.overwrite)
    with run_dir.locked() if chief else contextlib.nullcontext():
        own = (options.raw, options.callbacks, options.start, options.verbose)
        trial = experiment.Experiment(config, run_dir, strategy, *own)
        if options.verbose:
            print(summaries.summary(trial.info, trial.model), flush=True)
        if options.dry_run and not strategies.is_multiworker(strategy):
            export.dry_run(trial.model, config.data_dir)
        if chief:
            run_dir.start(trial.config, options.resume, options.overwrite)
        try:
            if options.measure:
                trial.run(options.resume, options.test)
            else:
                trial.try_out(options.resume)
        except BaseException:
            if chief:
                run_dir.clear_unless_trained()
            raise
    return trial


def check_trainable(config: RunConfig) -> None:
    """Refuses what cannot be trained, as far as this is known before the data is prepared."""
    cls = registry.model_class(config.model)
    methods.method(cls, config.model_config, config.train)
    known = datasets.known_range(config.data)
    if known:
        config.check_range(*known)


def class_and_settings(model: Model) -> tuple[type[Recommender], Any]:
    """The model's class, and its settings before overrides."""
    given: Any = registry.model_class(model) if isinstance(model, str) else model
    if isinstance(given, Recommender):
        return type(given), given.config
    if not (isinstance(given, type) and issubclass(given, Recommender)):
        raise ValueError(
            f"{model!r} is not a model: give a name, a tfrec.models.Recommender, or its"
        )
    return given, given.Config()


def starting_point(
    model: Model, settings: PathLike | None = None
) -> tuple[type[Recommender], Any, TrainConfig]:
    """The model's class, its settings and training settings, before overrides by name.

    Args:
        model: As in `fit`.
        settings: As in `fit`.
    """
    cls, own = class_and_settings(model)
    if settings is None:
        return cls, own, cls.defaults
    found = settings_file.load(settings)
    found.refuse_other_model(registry.name_of(cls), settings)
    return cls, *found.apply_to(own, cls.defaults, settings)


def overlaid(
    own: Any, train: TrainConfig, cls: type[Recommender], values: Mapping[str, Any]
) -> tuple[Any, TrainConfig]:
    """The model's settings and training settings, overridden by values by name.

    Raises:
        ValueError: an unknown name, or an invalid value.
    """
    of_training, of_model = types_of(TrainConfig), types_of(cls.Config)
    for name in values:
        if name not in of_training | of_model:
            raise ValueError(
                f"{name}={values[name]!r}: neither {cls.__name__} nor training has such a setting; "
                + known_names(name, [*of_model, *of_training])
            )
    trained = {name: value for name, value in values.items() if name not in of_model}
    chosen = {name: value for name, value in values.items() if name in of_model}
    return (
        configs.replaced(own, chosen, cls.__name__),
        configs.replaced(train, trained, "training"),
    )


def free(path: pathlib.Path) -> pathlib.Path:
    """`path`, or the first of `path`-2, `path`-3, ... that does not exist."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in itertools.count(2))
    return next(p for p in itertools.chain([path], numbered) if not p.exists())
