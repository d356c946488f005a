"""What lies in a run directory; later commands need nothing else.

config.json    model, settings, data, training numbers, versions
model.keras    the best model (the last one where nothing was validated)
metrics.json   protocol, validation, test, time
per_user.npz   the test's per-user values, for paired comparisons
validation.npz ratings: every held-out one with the best epoch's prediction, for blends
test.npz       the same of test
logs/          TensorBoard
state.npz      what --resume continues from, until the run is finished
"""

import dataclasses
import json
import os
import pathlib
import platform
import shutil
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import tfrec
from tfrec import config as config_lib
from tfrec.config import DataConfig, TrainConfig
from tfrec.models import registry
from tfrec.models.base import Recommender


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """All that a run was started with, as in `config.json`."""

    model: str
    settings: dict
    data: DataConfig
    data_dir: str
    train: TrainConfig
    strategy: str = "one"
    replicas: int = 0
    preset: str = ""
    warm_start: str = ""  # an earlier run whose weights this one starts from
    versions: dict = dataclasses.field(default_factory=dict)

    @property
    def model_config(self):
        """The model's own `Config`."""
        return config_lib.from_dict(registry.model_class(self.model).Config, self.settings)


class RunDir:
    """Paths and formats of one run directory.

    Args:
        path: The directory, `--run_dir`.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self.model = self.path / "model.keras"
        self.logs = self.path / "logs"
        self.state = self.path / "state.npz"
        self.per_user = self.path / "per_user.npz"
        self.predictions = {x: self.path / f"{x}.npz" for x in ("validation", "test")}

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return (self.path / "config.json").exists()

    @property
    def finished(self) -> bool:
        """Whether the run here has come to its end."""
        return (self.path / "metrics.json").exists()

    def check(self, config: RunConfig, resume: bool = False, overwrite: bool = False) -> None:
        """Refuses what `start` would refuse, before any work.

        Raises:
            ValueError: it holds a run already, or another one than --resume names.
        """
        if self.exists and resume:
            old = dataclasses.replace(self.config(), versions={})
            changed = differences(old, dataclasses.replace(config, versions={}))
            if changed:
                raise ValueError(
                    f"--run_dir={self.path} was started with other settings ({changed}): give "
                    "the same ones to --resume it, or another --run_dir"
                )
        elif self.exists and not overwrite:
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
        """Makes the directory and writes `config.json`; a run to be resumed stays as it is.

        Raises:
            ValueError: as `check`.
        """
        self.check(config, resume, overwrite)
        if self.exists and resume:
            return
        self.clear()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self.write_json("config.json", dataclasses.asdict(config))
        except OSError:
            self.clear()
            raise

    def files(self) -> list[pathlib.Path]:
        """What lies here of all that a run writes; `config.json` last."""
        others = (self.path / "metrics.json", self.model, self.state, self.per_user, self.logs)
        others = (*others, *self.predictions.values())
        return [path for path in (*others, self.path / "config.json") if path.exists()]

    def clear(self) -> None:
        """Removes the run's files, nothing else, and the directory if that leaves it empty."""
        for path in self.files():
            if path == self.logs:
                shutil.rmtree(path)
            else:
                path.unlink()
        if self.path.exists() and not any(self.path.iterdir()):
            self.path.rmdir()

    def clear_unless_trained(self) -> None:
        """Clears a run that failed before --resume would have anything to go on from."""
        if not self.state.exists() and not self.finished:
            self.clear()

    def config(self) -> RunConfig:
        """Reads `config.json`.

        Raises:
            FileNotFoundError: no run in this directory.
        """
        fields = self._read("config.json")
        fields["data"] = config_lib.from_dict(DataConfig, fields["data"])
        fields["train"] = config_lib.from_dict(TrainConfig, fields["train"])
        return RunConfig(**fields)

    def metrics(self) -> dict:
        """Reads `metrics.json`."""
        return self._read("metrics.json")

    def _read(self, name: str) -> dict:
        path = self.path / name
        if not path.exists():
            if self.finished:
                raise ValueError(
                    f"--run_dir={self.path} holds a blend, which has no model of its own: its "
                    "numbers and members are in metrics.json; name a member's --run_dir"
                )
            raise FileNotFoundError(
                f"{path} does not exist: --run_dir={self.path} holds no finished run; make one "
                f"with `python -m tfrec.train --run_dir={self.path}`"
            )
        return json.loads(path.read_text())

    def write_json(self, name: str, content: dict) -> None:
        """Writes `name` aside, then renames it."""
        text = json.dumps(content, indent=2, default=float) + "\n"
        self._aside(self.path / name, lambda path: path.write_text(text))

    def save_predictions(self, part: str, columns: dict[str, np.ndarray]) -> None:
        """Writes what `RatingReport.predictions` gave for "validation" or "test"."""

        def write(path: pathlib.Path) -> None:
            with path.open("wb") as file:
                np.savez(file, **columns)

        self._aside(self.predictions[part], write)

    def load_predictions(self, part: str) -> dict[str, np.ndarray]:
        """Reads what `save_predictions` wrote.

        Raises:
            FileNotFoundError: there are none.
        """
        path = self.predictions[part]
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist: --run_dir={self.path} holds no predicted ratings of "
                f"{part}; they are there when a run on ratings with a validation part is finished"
            )
        with np.load(path, allow_pickle=False) as file:
            return dict(file)

    def save_model(self, model: Recommender) -> None:
        """Writes `model.keras` aside, then renames it."""
        self._aside(self.model, model.save)

    def load_model(self) -> Recommender:
        """Reads `model.keras`.

        Raises:
            FileNotFoundError: no model in this directory.
        """
        if not self.model.exists():
            raise FileNotFoundError(
                f"{self.model} does not exist: --run_dir={self.path} holds no trained model"
            )
        return keras.saving.load_model(self.model, compile=False)

    def save_state(self, model: Recommender, progress: dict) -> None:
        """Writes all variables of model and optimizer, and where the run stands."""
        arrays = {f"{i:04d}": v.numpy() for i, v in enumerate(_variables(model))}
        progress_text = np.array(json.dumps(progress))

        def write(path: pathlib.Path) -> None:
            with path.open("wb") as file:
                np.savez(file, progress=progress_text, **arrays)

        self._aside(self.state, write)

    def load_state(self, model: Recommender) -> dict:
        """Puts the variables back; returns where the run stands."""
        with np.load(self.state) as arrays:
            for i, variable in enumerate(_variables(model)):
                variable.assign(arrays[f"{i:04d}"])
            return json.loads(str(arrays["progress"]))

    @staticmethod
    def _aside(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
        """Calls `write` with a temporary name beside `path`, then renames it to `path`."""
        aside = path.with_name(f".{os.getpid()}-{path.name}")
        try:
            write(aside)
            aside.replace(path)
        except OSError as error:
            error.filename = error.filename or str(path)  # libraries do not say which file
            raise
        finally:
            aside.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """What a run was made with."""
    return {
        "tfrec": tfrec.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def _variables(model: Recommender) -> list:
    """Weights, random states and optimizer slots, in an order that does not change."""
    return [*model.variables, *(model.optimizer.variables if model.optimizer else [])]


def differences(a: RunConfig, b: RunConfig) -> str:
    """Names of the settings in which two runs differ, with both values."""
    a_fields, b_fields = (json.loads(json.dumps(dataclasses.asdict(x))) for x in (a, b))
    found = []
    for key, old in a_fields.items():
        new = b_fields[key]
        pairs = [(key, old, new)]
        if isinstance(old, dict) and isinstance(new, dict):
            pairs = [(f"{key}.{k}", old.get(k), new.get(k)) for k in {*old, *new}]
        found += [f"{name}: {x} then, {y} now" for name, x, y in pairs if x != y]
    return "; ".join(sorted(found))
