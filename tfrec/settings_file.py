"""Files of settings for `--settings`, written by `tfrec.tune` or by hand."""

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
    """Settings of a model and of its training, stored as a JSON file.

        {"model": "deeprec", "settings": {"dropout": 0.3}, "train": {"learning_rate": 0.002}}

    Settings that are left out have the model's defaults.

    Attributes:
        model: As in `--model`.
        settings: The model's settings, by name.
        train: Settings of training, by name.
        found: Information about the search, which is not used.
    """

    model: str
    settings: Values = dataclasses.field(default_factory=dict)
    train: Values = dataclasses.field(default_factory=dict)
    found: Values = dataclasses.field(default_factory=dict)

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the file."""
        with aside.file(path) as partial:
            partial.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def apply_to(
        self, own: Any, train: TrainConfig, path: str | pathlib.Path
    ) -> tuple[Any, TrainConfig]:
        """Settings of a model and of training, with these applied.

        Args:
            own: The model's `Config`.
            train: Settings of training.
            path: The file, for errors.

        Raises:
            ValueError: an unknown name, or a value that is refused.
        """
        settings = configs.replaced(own, self.settings, str(path))
        return settings, configs.replaced(train, self.train, str(path))

    def refuse_other_model(self, model: str, path: str | pathlib.Path) -> None:
        """Refuses another model than that of the settings.

        Raises:
            ValueError: `model` is another one.
        """
        if model != self.model:
            raise ValueError(
                f"{path} has settings of {self.model}, not of {model}: leave --model out, or give "
                "other --settings"
            )


def load(path: str | pathlib.Path) -> SettingsFile:
    """Reads a file of settings; callers check the names and values of its settings.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a file of settings.
    """
    cure = 'it should be JSON such as {"model": "ease", "settings": {"regularization": 100}}'
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"--settings={path} does not exist")
    with damage.refused(path, cure):
        return SettingsFile(**json.loads(path.read_text(encoding="utf-8")))
