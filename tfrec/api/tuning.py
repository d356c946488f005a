"""`tfrec.tune`: hyperparameter search by validation."""

import contextlib
import dataclasses
import gc
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import tensorflow as tf

from tfrec import aside, locks, settings_file
from tfrec import config as configs
from tfrec.api import fitting, search_space
from tfrec.api.fitting import Model
from tfrec.api.prepared_data import PathLike, PreparedData
from tfrec.api.run import Run
from tfrec.api.study import Study, Trial
from tfrec.config import Search, TrainConfig
from tfrec.models import registry
from tfrec.models.base import Recommender
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

_FAILURES = (
    ValueError,
    MemoryError,
    tf.errors.OpError,
)  # caused by a trial's settings, not by the code


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The result of a study.

    Attributes:
        path: Its folder.
        frame: A row for each trial, indexed by its number: `state` ("complete", "pruned", "failed"
            or "running"), `value` (of a pruned trial that of the best epoch), `start` (whether it
            has the start values of the search), `epochs`, `seconds`, the settings as text,
            `error`.
        monitor: The validation metric in `value`.
        settings: File of the best settings, for `tfrec.fit(..., settings=...)` and
            `--settings`.
        number: Number of the best trial.
        run: The run with the best settings, evaluated on test; None while other processes are
            running trials, or with `test=False`.
    """

    path: pathlib.Path
    frame: pd.DataFrame
    monitor: str
    settings: pathlib.Path
    number: int
    run: Run | None

    def __str__(self) -> str:
        states = self.frame["state"].value_counts()
        counts = ", ".join(f"{n} {state}" for state, n in states.items())
        start = self.frame.loc[self.frame["start"], "value"]
        before = "".join(f" (the start: {value:.4f})" for value in start)
        return (
            f"best: trial {self.number}, validation {self.monitor} "
            f"{self.frame.loc[self.number, 'value']:.4f}{before}, "
            f"of {len(self.frame)} trials: {counts}\nsettings: {self.settings}"
        )

    __repr__ = __str__


def tune(
    model: Model,
    data: PreparedData | PathLike,
    *,
    trials: int = 20,
    run_dir: PathLike | None = None,
    search: Mapping[str, Search] | None = None,
    pruning: bool = True,
    test: bool = True,
    verbose: bool = True,
    settings: PathLike | None = None,
    **values: Any,
) -> Tuned:
    """Searches for the best settings by validation; an equal call continues the study.

        tuned = tfrec.tune("deeprec", split, trials=20, epochs=15)
        run = tfrec.fit("deeprec", newer, settings=tuned.settings)

    Trial 0 has the start values, so that the result is never worse on validation. Trials are
    proposed by optuna's TPE. A trial that is worse than the median of those before it is pruned;
    one that fails, because a loss is not a number or memory does not suffice, is recorded as
    failed. No trial is evaluated on test: the model with the best settings is trained again at the
    end and evaluated then. Several processes may share one `run_dir`; the last one trains the best
    settings.

    Args:
        model: As in `tfrec.fit`; of an instance only the settings are used.
        data: As in `tfrec.fit`; it must have a validation part.
        trials: Number of trials of the study, including those of earlier calls.
        run_dir: The study's folder; default: `runs/tune-MODEL`.
        search: Ranges by name, `tfrec.config.Range` or `OneOf`, in addition to those that the
            model declares, or instead of them.
        pruning: Whether bad trials are stopped early.
        test: Train the best settings again and evaluate on test at the end.
        verbose: Print a line for each trial.
        settings: A file of settings to start from, as in `tfrec.fit`.
        **values: Settings of the model and of training by name, for all trials, such as
            `epochs=15`; they are not searched for unless `search` has them, too.

    Raises:
        ValueError: as in `tfrec.fit`, or optuna is missing, there is nothing to search for, no
            validation part, another study in `run_dir`, or no complete trial.
    """
    work = Tuning(model, data, run_dir, search or {}, pruning, settings, values)
    say = print if verbose else lambda *text, **options: None
    say(f"{work.path}: {trials} trials by validation {work.monitor}, among", flush=True)
    say(search_space.listing(work.space, work.start), flush=True)
    with _no_retracing_notices():
        while work.next(trials, say):
            gc.collect()  # a trial's model and its graphs refer to each other
        return work.result(test, verbose, say)


class Tuning:
    """The steps of `tune`; arguments and errors as there."""

    def __init__(
        self,
        model: Model,
        data: PreparedData | PathLike,
        run_dir: PathLike | None,
        search: Mapping[str, Search],
        pruning: bool,
        settings: PathLike | None,
        values: Mapping[str, Any],
    ):
        prepared = data if isinstance(data, PreparedData) else PreparedData(data)
        self.cls, own, train = fitting.starting_point(model, settings)
        self.own, self.train = fitting.overlaid(own, train, self.cls, values)
        self.data = prepared.with_rows(self.cls.rows(self.own))
        self.path = pathlib.Path(run_dir or f"runs/tune-{self.cls.__name__.lower()}")
        self.space, self.start = space(self.cls, self.own, self.train, search, values)
        config = self.config({})
        fitting.check_trainable(config)
        task = config.settled(self.data.info).task
        self.monitor = self.train.monitor or task.monitor
        self.higher_is_better = task.higher_is_better(self.monitor)
        if not self.data.info.n_ratings.get("validation"):
            raise ValueError(
                "trials are compared on validation, and this split has none: split with "
                "validation=0.1 (--data validation=0.1)"
            )
        self.study = Study(
            self.path, self._about(config), self.space, self.start, self.higher_is_better,
            self.train.seed, pruning,
        )  # fmt: skip

    def _about(self, config: RunConfig) -> dict[str, Any]:
        return {
            "model": config.model,
            "settings": config.settings,
            "train": configs.to_dict(self.train),
            "data": self.data.info.fingerprint,
            "protocol": self.data.info.protocol,
            "search": {name: str(search) for name, search in self.space.items()},
            "monitor": self.monitor,
        }

    def config(self, values: Mapping[str, Any]) -> RunConfig:
        """The run with the start values overridden by `values`, without a refit."""
        own, train = fitting.overlaid(self.own, self.train, self.cls, values)
        train = dataclasses.replace(train, refit=False)
        name = registry.name_of(self.cls)
        return fitting.run_config(name, configs.to_dict(own), train, self.data)

    def next(self, trials: int, say: Any) -> bool:
        """Runs one more trial; False: all have been started."""
        with self.study.next(trials) as trial:
            if trial is None:
                return False
            text = self._run(trial)
        best = self.study.best()
        if best is not None:
            self._save(best)
            text += f"  best {best.value:.4f} (trial {best.number})"
        say(f"trial {trial.number}  {text}  {self._text(trial)}", flush=True)
        return True

    def _text(self, trial: Trial) -> str:
        words = [f"{name}={configs.text_of(value)}" for name, value in trial.values.items()]
        return "start" if trial.is_start else " ".join(words)

    def _run(self, trial: Trial) -> str:
        """Runs a trial; returns a summary."""
        start, run_dir = time.perf_counter(), RunDir(trial.folder)
        found: dict[str, Any] = {}
        value = None
        try:
            options = fitting.Options(
                resume=run_dir.exists and run_dir.trained,
                callbacks=[self.study.watch(trial, self.monitor)],
                measure=False,
                verbose=False,
            )
            done = fitting.carry_out(self.config(trial.values), trial.folder, options).progress
            value, found["epochs"] = done.metrics[self.monitor], done.epoch
            summary = f"{self.monitor} {value:.4f}  epochs {done.epoch}"
        except self.study.optuna.TrialPruned as error:
            found["epochs"] = len(run_dir.history())
            summary = f"pruned: {error}"
        except _FAILURES as error:
            found["error"] = " ".join(str(error).split())[:300] or type(error).__name__
            summary = f"failed: {found['error']}"
        found["seconds"] = round(time.perf_counter() - start, 1)
        self.study.finish(trial, found, value)
        return f"{summary}  {found['seconds']} s"

    def _save(self, best: Any) -> None:
        """Writes the settings of the best trial so far."""
        values = best.user_attrs["values"]
        own, train = fitting.overlaid(self.own, self.train, self.cls, values)
        found = {"trial": best.number, "monitor": self.monitor, "validation": best.value}
        found["protocol"] = self.data.info.protocol
        settings_file.SettingsFile(
            registry.name_of(self.cls), configs.to_dict(own), configs.to_dict(train), found
        ).save(self.path / "best.json")

    def result(self, test: bool, verbose: bool, say: Any) -> Tuned:
        """The current result of the study; the best settings are trained if no trial is running."""
        best, frame = self.study.best(), self.study.frame()
        if best is None:
            errors = "; ".join(dict.fromkeys(filter(None, frame["error"])))
            raise ValueError(f"{self.path}: no trial was completed ({errors})")
        self._save(best)
        with aside.file(self.path / "trials.csv") as partial:
            frame.to_csv(partial)
        running = self.study.running()
        if running:
            say(f"trials {running} are still running in other processes; the last one continues")
        run = self._winner(best.number, verbose) if test and not running else None
        path = self.path / "best.json"
        return Tuned(self.path, frame, self.monitor, path, best.number, run)

    def _winner(self, number: int, verbose: bool) -> Run:
        """The run with the best settings, which is evaluated on test; it is trained once."""
        folder = self.path / f"best-{number:04}"
        message = f"{folder}: another process has been training the best settings for a day"
        with locks.held(self.path / ".winner.lock", message, wait=86400.0):
            return fitting.fit(
                self.cls,
                self.data,
                run_dir=folder,
                resume=RunDir(folder).exists,
                settings=self.path / "best.json",
                check_export=False,
                verbose=verbose,
            )


@contextlib.contextmanager
def _no_retracing_notices() -> Iterator[None]:
    """Silences TensorFlow's retracing warnings: each trial has its own model."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)


def space(
    cls: type[Recommender],
    own: Any,
    train: TrainConfig,
    search: Mapping[str, Search],
    fixed: Mapping[str, Any],
) -> tuple[search_space.Space, dict[str, Any]]:
    """The search space, and its start values.

    Args:
        cls: The model's class.
        own: Its settings.
        train: The training settings.
        search: Ranges given by the caller.
        fixed: Values set by the caller.

    Raises:
        ValueError: nothing is left to search for, or a range that the setting cannot have.
    """
    declared = search_space.of_model(cls, own, train)
    found = {name: where for name, where in declared.items() if name not in fixed}
    found |= search_space.checked(cls, search)
    if not found:
        raise ValueError(
            f"{cls.__name__}: no setting is left to search for; give one and its values by search= "
            "(--search NAME=LOW..HIGH)"
        )
    return found, search_space.defaults(found, own, train)
