"""The run directory; later commands need nothing else.

config.json    model, settings, data, training settings, versions
model.keras    the best model (the last one without validation)
metrics.json   protocol, validation, test, time
record.json    the result with all that is needed to judge and repeat it
per_user.npz   test values by user, for paired comparisons
history.csv    a row for each epoch: training and validation
validation.npz ratings: held-out ratings with the best epoch's predictions, for ensembles
test.npz       the same for test
validated.keras  rankings with a refit: the model before it, for ensembles
logs/          TensorBoard
state.npz      the checkpoint that --resume continues from, until the run is finished
state-1.npz    the checkpoint before it, and so on (--train save_keep)
candidates.json  of --model=auto: results of all candidates on validation
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import keras
import numpy as np
import pandas as pd

from tfrec import aside, damage, locks
from tfrec.config import TrainConfig
from tfrec.data import stored
from tfrec.metrics import SavedValues
from tfrec.models import registry
from tfrec.models.base import Recommender
from tfrec.schema import DatasetInfo
from tfrec.tasks import Task
from tfrec.training import record, state
from tfrec.training.run_config import RunConfig

Read = TypeVar("Read")


class RunDir:
    """Paths and formats of one run directory.

    Args:
        path: The directory, `--run_dir`.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self.model = self.path / "model.keras"
        self.validated = self.path / "validated.keras"
        self.logs = self.path / "logs"
        self.state = self.path / "state.npz"
        self.per_user = self.path / "per_user.npz"
        self.history_file = self.path / "history.csv"
        self.candidates = self.path / "candidates.json"
        self.report = self.path / "report.html"
        self.predictions = {x: self.path / f"{x}.npz" for x in ("validation", "test")}

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return (self.path / "config.json").exists()

    @property
    def finished(self) -> bool:
        """Whether the run here is finished."""
        return (self.path / "metrics.json").exists()

    @property
    def trained(self) -> bool:
        """Whether the run here is finished, or has a state that --resume can continue from."""
        return self.finished or bool(self.states)

    @property
    def states(self) -> list[pathlib.Path]:
        """The saved states, the newest first."""
        older = self.path.glob("state-*.npz")
        numbered = sorted((int(p.stem[6:]), p) for p in older if p.stem[6:].isdecimal())
        return [p for p in (self.state, *(path for _, path in numbered)) if p.exists()]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks this directory against other training processes; a killed process holds no lock.

        Raises:
            ValueError: another process is training here.
        """
        path = self.path.absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        message = (
            f"--run_dir={self.path}: another process is training there; wait for its end, or give "
            "another --run_dir"
        )
        with locks.held(path.with_name(f".{path.name}.lock"), message):
            yield

    def check(self, config: RunConfig, resume: bool = False, overwrite: bool = False) -> None:
        """Raises the errors of `start`, before any work.

        A run that was stopped before its first epoch ended has no state, and may be replaced.

        Raises:
            ValueError: it holds a run already, or one with other settings than the run to resume,
                or one that was trained on other data.
        """
        if self.exists and resume:
            old = self.config()
            decided = {
                name: old.settings[name]
                for name, value in dataclasses.asdict(config.model_config).items()
                if value == "auto" and name in old.settings
            }
            running = {name: getattr(old.train, name) for name in TrainConfig.of_running}
            train = dataclasses.replace(config.train, **running)
            if not train.batch_size:
                train = dataclasses.replace(train, batch_size=old.train.batch_size)
            # Settings that depend on the data were resolved when the run was started.
            own = config.settings | decided
            config = dataclasses.replace(config, settings=own, train=train)
            left_out = {"versions": {}, "fingerprint": ""}
            changed = stored.changes(*(dataclasses.asdict(x) | left_out for x in (old, config)))
            if changed:
                raise ValueError(
                    f"--run_dir={self.path} was started with other settings ({changed}): give "
                    "the same ones to --resume it, or another --run_dir"
                )
            if config.fingerprint:
                self._refuse_other_data(old, config.fingerprint)
        elif self.trained and not overwrite:
            raise ValueError(
                f"--run_dir={self.path} already holds a run: continue it with --resume, replace it "
                "with --overwrite, or give another --run_dir"
            )
        elif not self.exists and self.files():
            raise ValueError(
                f"--run_dir={self.path} holds {self.files()[0].name}, but no run (no config.json): "
                "give another --run_dir"
            )

    def start(self, config: RunConfig, resume: bool = False, overwrite: bool = False) -> None:
        """Creates the directory and writes `config.json`; a run to be resumed stays as it is.

        Raises:
            ValueError: as in `check`.
        """
        self.check(config, resume, overwrite)
        aside.sweep(self.path)
        if self.exists and resume:
            return
        self.clear()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self.write_json("config.json", dataclasses.asdict(config))
        except OSError:
            self.clear()
            raise

    def take(self, other: "RunDir") -> None:
        """Moves a finished run here, which replaces the run that is here.

        If it is interrupted, the run here has no results, and may be replaced again.
        """
        self.clear()
        self.path.mkdir(parents=True, exist_ok=True)
        for path in reversed(other.files()):  # config.json first, metrics.json last
            shutil.move(path, self.path / path.name)

    def files(self) -> list[pathlib.Path]:
        """The files of the run that exist here; `config.json` last."""
        others = (
            self.path / "metrics.json",
            self.path / record.FILE,
            self.model,
            self.validated,
            *self.states,
            self.per_user,
            self.logs,
        )
        others = (*others, self.history_file, self.candidates, self.report)
        others = (*others, *self.predictions.values())
        return [path for path in (*others, self.path / "config.json") if path.exists()]

    def clear(self, kept: Collection[str] = ()) -> None:
        """Removes the run's files, nothing else, and the directory if it is empty then.

        Args:
            kept: Names of files to keep.
        """
        for path in self.files():
            if path.name in kept:
                continue
            if path == self.logs:
                shutil.rmtree(path)
            else:
                path.unlink()
        if self.path.exists() and not any(self.path.iterdir()):
            self.path.rmdir()

    def clear_unless_trained(self) -> None:
        """Clears a run that failed before there was a state to resume from."""
        if not self.trained:
            self.clear()

    def config(self) -> RunConfig:
        """Reads `config.json`.

        Raises:
            FileNotFoundError: no run in this directory.
            ValueError: the file is damaged.
        """
        return self._json("config.json", RunConfig.from_json)

    def task(self) -> Task:
        """The task of the run's model; raises as `config`."""
        return self.config().task

    def data_dir(self) -> pathlib.Path:
        """The prepared data that the run was trained on.

        Raises:
            FileNotFoundError: the folder does not exist any more.
            ValueError: other data has been prepared there since.
        """
        config = self.config()
        self._refuse_other_data(config, DatasetInfo.load(config.data_dir).fingerprint)
        return pathlib.Path(config.data_dir)

    def info(self) -> DatasetInfo:
        """Info of the data in `data_dir`; raises as `data_dir`."""
        return DatasetInfo.load(self.data_dir())

    def _refuse_other_data(self, config: RunConfig, found: str) -> None:
        """Raises ValueError where the fingerprint of the data is not that of the training data."""
        known = config.fingerprint
        if known and known != found:
            raise ValueError(
                f"--run_dir={self.path} was trained on other data than --data_dir="
                f"{config.data_dir} holds now (fingerprint {known[:12]} then, {found[:12]} now): "
                "prepare the former data there again, or train another run on the new data with "
                f"`python -m tfrec.train --data_dir={config.data_dir}`"
            )

    def metrics(self) -> dict:
        """Reads `metrics.json`; raises as `config`."""
        return self._json("metrics.json", dict)

    def record(self) -> dict:
        """Reads `record.json`; raises as `config`. Empty for runs of older versions."""
        return self._json(record.FILE, dict) if (self.path / record.FILE).exists() else {}

    def _reading(self, path: pathlib.Path) -> contextlib.AbstractContextManager[None]:
        """Raises one kind of error for a damaged file of the run."""
        cure = f"train again with `python -m tfrec.train --overwrite --run_dir={self.path}`"
        return damage.refused(path, cure)

    def _json(self, name: str, make: Callable[[dict], Read]) -> Read:
        path = self.path / name
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist: --run_dir={self.path} holds no finished run; make one "
                f"with `python -m tfrec.train --run_dir={self.path}`"
            )
        with self._reading(path):
            return make(json.loads(path.read_text()))

    def history(self) -> pd.DataFrame:
        """Reads `history.csv`; it is empty where no epoch has ended."""
        if not self.history_file.exists():
            return pd.DataFrame({"epoch": []}, dtype=int)
        with self._reading(self.history_file):
            return pd.read_csv(self.history_file)

    def save_history(self, history: pd.DataFrame) -> None:
        """Writes `history.csv` atomically."""
        with aside.file(self.history_file) as path:
            history.to_csv(path, index=False)

    def write_json(self, name: str, content: dict) -> None:
        """Writes the file `name` atomically."""
        text = json.dumps(content, indent=2, default=float) + "\n"
        with aside.file(self.path / name, durable=True) as path:
            path.write_text(text)

    def save_predictions(self, part: str, columns: dict[str, Any]) -> None:
        """Writes the result of `RatingReport.predictions` for "validation" or "test"."""
        with aside.file(self.predictions[part]) as path, path.open("wb") as file:
            np.savez(file, **columns)

    def load_predictions(self, part: str) -> dict[str, np.ndarray]:
        """Reads the predictions that `save_predictions` wrote.

        Raises:
            FileNotFoundError: there are none.
        """
        path = self.predictions[part]
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist: --run_dir={self.path} holds no predicted ratings of "
                f"{part}; a finished run on ratings with a validation part has them"
            )
        # np.load does not close a file that it opened but cannot read.
        with self._reading(path), path.open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in ("user", "item", "value", "prediction")}

    def load_per_user(self) -> SavedValues:
        """Reads `per_user.npz`, the test values by user.

        Raises:
            FileNotFoundError: there are none.
        """
        if not self.per_user.exists():
            raise FileNotFoundError(
                f"{self.per_user} does not exist: --run_dir={self.path} has no test values"
            )
        with self._reading(self.per_user):
            return SavedValues.load(self.per_user)

    def save_model(self, model: Recommender) -> None:
        """Writes `model.keras` atomically."""
        with aside.file(self.model, durable=True) as path:
            model.save(path)

    def keep_validated(self) -> None:
        """Copies `model.keras` to `validated.keras` atomically."""
        with aside.file(self.validated, durable=True) as path:
            shutil.copyfile(self.model, path)

    def load_model(self, compiled: bool = False, validated: bool = False) -> Recommender:
        """Reads `model.keras`.

        Args:
            compiled: Load its optimizer, too.
            validated: Load the model before the refit, which did not see validation.

        Raises:
            FileNotFoundError: no model in this directory.
        """
        path = self.validated if validated else self.model
        if not path.exists():
            lacks = "model of before its refit: train it again" if validated else "trained model"
            raise FileNotFoundError(
                f"{path} does not exist: --run_dir={self.path} holds no {lacks}"
            )
        cls = registry.model_class(self.config().model)
        known = {cls.__name__: cls}  # Keras does not find classes of other packages by itself
        with self._reading(path):
            return keras.saving.load_model(path, known, compile=compiled)

    def save_state(
        self,
        model: Recommender,
        progress: dict,
        own: Mapping[str, np.ndarray] | None = None,
        keep: int = 1,
    ) -> None:
        """Saves a state atomically, and renames those before it.

        Args:
            model: Its variables and those of its optimizer are saved.
            progress: The progress of the run.
            own: As in `state.save`.
            keep: Maximum number of states.
        """
        with aside.file(self.state, durable=True) as path:
            state.save(path, model, progress, own)
            for number, older in reversed([*enumerate(self.states, 1)]):
                if number < keep:
                    older.rename(self.path / f"state-{number}.npz")
                elif older != self.state:
                    older.unlink()

    def saved_progress(self) -> dict | None:
        """The progress of the newest state; None where nothing was saved yet.

        Raises:
            ValueError: the state is damaged, or missing.
        """
        if self.states:
            with self.reading_state():
                found = state.progress(self.states[0])
                return {name: found[name] for name in ("phase", "progress", "seconds")} | found
        if len(self.history()) > 1:  # the first row is written before the first state
            raise ValueError(
                f"{self.state} is missing, and history.csv has {len(self.history())} epochs: put "
                f"it back, or train again with `python -m tfrec.train --overwrite "
                f"--run_dir={self.path}`"
            )
        return None

    def load_state(self, model: Recommender) -> dict[str, np.ndarray]:
        """Restores the variables from the newest state; returns the further arrays of the model.

        Raises:
            ValueError: the state is damaged, or of another model.
        """
        with self.reading_state():
            return state.load(self.states[0], model)

    def reading_state(self) -> contextlib.AbstractContextManager[None]:
        """Raises one kind of error for a damaged state; the state before it is another cure."""
        newest, *older = self.states
        again = f"train again with `python -m tfrec.train --overwrite --run_dir={self.path}`"
        last = f"remove it, and --resume continues from {older[0].name}, or " if older else ""
        return damage.refused(newest, last + again)
