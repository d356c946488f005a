"""A file of settings: what `tfrec.tune` found, or what a hand wrote, for `--settings`."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tfrec import aside, damage
from tfrec import config as configs
from tfrec.config import TrainConfig

Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class SettingsFile:
    """Settings of a model and of its training, as a JSON file has them.

        {"model": "deeprec", "settings": {"dropout": 0.3}, "train": {"learning_rate": 0.002}}

    What it leaves out has the model's defaults.

    Attributes:
        model: As `--model`.
        settings: The model's own, by name.
        train: Those of training, by name.
        found: How they were found; nothing reads it.
    """

    model: str
    settings: Values = dataclasses.field(default_factory=dict)
    train: Values = dataclasses.field(default_factory=dict)
    found: Values = dataclasses.field(default_factory=dict)

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the file."""
        with aside.file(path) as partial:
            partial.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def laid_over(
        self, own: Any, train: TrainConfig, path: str | pathlib.Path
    ) -> tuple[Any, TrainConfig]:
        """A model's settings and those of training with these in their place.

        Args:
            own: The model's `Config`.
            train: Those of training.
            path: The file, for errors.

        Raises:
            ValueError: an unknown name, or a value that is refused.
        """
        settings = configs.replaced(own, self.settings, str(path))
        return settings, configs.replaced(train, self.train, str(path))

    def refuse_other_model(self, model: str, path: str | pathlib.Path) -> None:
        """Refuses a model that the settings are not of.

        Raises:
            ValueError: `model` is another one.
        """
        if model != self.model:
            raise ValueError(
                f"{path} has settings of {self.model}, not of {model}: leave --model out, or give "
                "other --settings"
            )


def load(path: str | pathlib.Path) -> SettingsFile:
    """Reads a file of settings; names and values of settings are checked by who uses them.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no file of settings.
    """
    cure = 'it should be JSON such as {"model": "ease", "settings": {"regularization": 100}}'
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"--settings={path} is no file")
    with damage.refused(path, cure):
        return SettingsFile(**json.loads(path.read_text(encoding="utf-8")))
