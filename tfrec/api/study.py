"""The trials of a study on disk, shared by several processes, with optuna.

study.json   what is tuned
study.db     optuna's SQLite file (`optuna-dashboard sqlite:///study.db` shows it)
trials/      a folder for each trial: config.json and history.csv of its run, no weights
"""

import contextlib
import dataclasses
import json
import pathlib
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfrec import aside, damage, locks
from tfrec.api.search_space import Space
from tfrec.config import OneOf, Range, text_of
from tfrec.data import stored
from tfrec.training.runs import RunDir

if typing.TYPE_CHECKING:
    import optuna

STARTUP = 5  # random trials before TPE proposes others, or any is pruned
WARM_UP = 3  # epochs before a trial may be pruned
AGAIN = 2  # number of restarts of a trial whose process was killed
_WAIT = 600.0  # seconds to wait for another process that starts a trial


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial of this process.

    Attributes:
        number: From 0.
        values: The settings to try, by name.
        folder: Its run directory; a trial whose process was killed is resumed there.
        asked: The trial of optuna.
    """

    number: int
    values: Mapping[str, Any]
    folder: pathlib.Path
    asked: "optuna.trial.Trial"

    @property
    def is_start(self) -> bool:
        """Whether it has the start values of the study."""
        return bool(self.asked.user_attrs.get("start"))


class Study:
    """The trials in a folder.

    Args:
        folder: The folder; created where it does not exist.
        about: What is tuned, as JSON; a folder has trials of one study only.
        space: Ranges by name.
        start: The values of trial 0, by name.
        higher_is_better: Whether a higher value of the objective is better.
        seed: Seed of the sampler; proposals depend on it and on the trials before.
        pruning: Stop trials that are worse than the median of those before.

    Raises:
        ValueError: optuna is not installed, or the folder has another study.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        about: Mapping[str, Any],
        space: Space,
        start: Mapping[str, Any],
        higher_is_better: bool,
        seed: int = 0,
        pruning: bool = True,
    ):
        self.folder, self.space, self.start, self.seed = folder, space, start, seed
        self.higher_is_better, self.optuna = higher_is_better, _optuna()
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        with self.alone():
            self._claim(about)
            self._study = self._opened(pruning)
            if not self._study.get_trials(deepcopy=False):
                inside = {n: self._stored(n, v) for n, v in start.items() if v in space[n]}
                self._study.enqueue_trial(inside, user_attrs={"start": True})

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from starting or counting trials in the block."""
        message = f"{self.folder}: another process has held the study for {_WAIT:.0f} s"
        with locks.held(self.folder / ".study.lock", message, _WAIT):
            yield

    def _claim(self, about: Mapping[str, Any]) -> None:
        path = self.folder / "study.json"
        if not path.exists():
            with aside.file(path) as partial:
                partial.write_text(json.dumps(about, indent=2) + "\n")
        with damage.refused(path, "give another --run_dir"):
            before = json.loads(path.read_text())
        changed = stored.changes(before, about)
        if changed:
            raise ValueError(
                f"{self.folder} has trials of another study ({changed}): give the same settings "
                "to continue it, or another --run_dir"
            )

    def _opened(self, pruning: bool) -> "optuna.Study":
        o = self.optuna
        storage = o.storages.RDBStorage(
            f"sqlite:///{(self.folder / 'study.db').absolute()}",
            engine_kwargs={"connect_args": {"timeout": _WAIT}},
        )
        median = o.pruners.MedianPruner(STARTUP, WARM_UP)
        return o.create_study(
            storage=storage,
            study_name="tfrec",
            direction="maximize" if self.higher_is_better else "minimize",
            pruner=median if pruning else o.pruners.NopPruner(),
            load_if_exists=True,
        )

    @contextlib.contextmanager
    def next(self, limit: int) -> Iterator[Trial | None]:
        """Starts a trial, which is locked against other processes in the block.

        Trials whose processes were killed come first. A trial that is not finished at the end of
        the block counts as killed.

        Args:
            limit: Number of trials of the whole study; None is yielded if all are started.
        """
        with contextlib.ExitStack() as stack:
            with self.alone():
                self._take_back()
                begun = self._ask() if len(self._counted()) < limit else None
                if begun:
                    stack.enter_context(locks.held(self._lock(begun.number), "a trial's own lock"))
            yield begun

    def _ask(self) -> Trial:
        o, before = self.optuna, self._study.get_trials(deepcopy=False)
        number = sum(trial.state != o.trial.TrialState.WAITING for trial in before)
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        self._study.sampler = o.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)
        asked = self._study.ask()
        start = bool(asked.user_attrs.get("start"))
        names = [n for n in self.space if not start or self.start[n] in self.space[n]]
        suggested = {name: self._suggested(asked, name) for name in names}
        values = {**self.start, **({} if start else suggested)}  # the start keeps all its digits
        name = asked.user_attrs.get("folder") or f"{asked.number:04}"
        asked.set_user_attr("values", values)
        asked.set_user_attr("folder", name)
        return Trial(asked.number, values, self.folder / "trials" / name, asked)

    def _suggested(self, asked: "optuna.trial.Trial", name: str) -> Any:
        search = self.space[name]
        if isinstance(search, OneOf):
            texts = [text_of(value) for value in search.values]
            return search.values[texts.index(asked.suggest_categorical(name, texts))]
        if isinstance(self.start[name], int):
            return asked.suggest_int(name, int(search.low), int(search.high), log=search.log)
        value = asked.suggest_float(name, search.low, search.high, log=search.log)
        return min(max(float(f"{value:.3g}"), search.low), search.high)  # three significant digits

    def _stored(self, name: str, value: Any) -> Any:
        """A value as optuna stores it."""
        return value if isinstance(self.space[name], Range) else text_of(value)

    def _lock(self, number: int) -> pathlib.Path:
        return self.folder / "trials" / f"{number:04}.lock"

    def running(self) -> list[int]:
        """Numbers of the trials that are running in any process."""
        state = self.optuna.trial.TrialState.RUNNING
        found = self._study.get_trials(deepcopy=False, states=(state,))
        return [t.number for t in found if not _is_free(self._lock(t.number))]

    def _take_back(self) -> None:
        """Queues the trials of killed processes again; they are resumed after the last epoch."""
        states, alive = self.optuna.trial.TrialState, self.running()
        for trial in self._study.get_trials(states=(states.RUNNING,)):
            if trial.number in alive:
                continue
            self._study.tell(trial.number, state=states.FAIL)
            again = trial.user_attrs.get("again", 0) + 1
            if again <= AGAIN:
                kept = {
                    n: trial.user_attrs[n] for n in ("start", "folder") if n in trial.user_attrs
                }
                own = {"again": again, "replaces": trial.number}
                self._study.enqueue_trial(trial.params, user_attrs=kept | own)

    def _counted(self) -> list["optuna.trial.FrozenTrial"]:
        """The started trials, without those that were replaced by a restart."""
        trials = self._study.get_trials(deepcopy=False)
        replaced = {t.user_attrs.get("replaces") for t in trials}
        waiting = self.optuna.trial.TrialState.WAITING
        return [t for t in trials if t.state != waiting and t.number not in replaced]

    def watch(self, trial: Trial, monitor: str) -> keras.callbacks.Callback:
        """A callback that reports validation, and raises `self.optuna.TrialPruned` to prune."""
        return _Watch(trial, monitor, self.optuna.TrialPruned)

    def finish(self, trial: Trial, result: Mapping[str, Any], value: float | None) -> None:
        """Finishes a trial and removes its weights.

        Args:
            trial: The trial.
            result: Attributes to store.
            value: Its objective value; None where `result` has an "error", or it was pruned.
        """
        states = self.optuna.trial.TrialState
        for name, what in result.items():
            trial.asked.set_user_attr(name, what)
        if value is not None:
            self._study.tell(trial.asked, value)
        else:
            self._study.tell(trial.asked, state=states.FAIL if "error" in result else states.PRUNED)
        RunDir(trial.folder).clear(kept=("config.json", "history.csv"))

    def best(self) -> "optuna.trial.FrozenTrial | None":
        """The trial with the best value, the first of equals; None: no trial is complete."""
        state = self.optuna.trial.TrialState.COMPLETE
        done = self._study.get_trials(deepcopy=False, states=(state,))
        sign = -1 if self.higher_is_better else 1
        return min(done, key=lambda t: (sign * t.values[0], t.number), default=None)

    def frame(self) -> pd.DataFrame:
        """A row for each trial, as in `tfrec.api.tuning.Tuned`."""
        rows = []
        for trial in self._counted():
            own = trial.user_attrs
            state = {"fail": "failed"}.get(name := trial.state.name.lower(), name)
            error = own.get("error", "its process was killed" if state == "failed" else "")
            value = trial.value
            if state == "pruned" and trial.intermediate_values:
                pick = max if self.higher_is_better else min
                value = pick(trial.intermediate_values.values())
            row = {"trial": trial.number, "state": state, "value": value}
            row |= {name: own.get(name) for name in ("epochs", "seconds")}
            row["start"] = bool(own.get("start"))
            values = own.get("values", {})
            texts = {name: text_of(values[name]) for name in values}
            rows.append(row | texts | {"error": error})
        names = ["trial", "state", "value", "start", "epochs", "seconds", *self.space, "error"]
        return pd.DataFrame(rows, columns=names).set_index("trial")


class _Watch(keras.callbacks.Callback):
    """See `Study.watch`."""

    def __init__(self, trial: Trial, monitor: str, pruned: type[Exception]):
        super().__init__()
        self.trial, self.monitor, self.pruned = trial, monitor, pruned

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        value = (logs or {}).get(f"val_{self.monitor}")
        if value is None:
            return
        self.trial.asked.report(value, epoch + 1)
        if not self.trial.is_start and self.trial.asked.should_prune():
            raise self.pruned(f"worse than the median after epoch {epoch + 1}")


def _is_free(lock: pathlib.Path) -> bool:
    """Whether no process holds a lock."""
    try:
        with locks.held(lock, ""):
            return True
    except ValueError:
        return False


def _optuna() -> Any:
    """The optional package, with its info messages turned off."""
    try:
        import optuna
    except ImportError:
        raise ValueError(
            "tuning needs optuna, which is not installed: pip install 'tfrec[tune]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
