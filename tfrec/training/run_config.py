"""The configuration of a run."""

import dataclasses
import importlib.metadata
import platform
from typing import Any

import tfrec
from tfrec import config as config_lib
from tfrec import tasks
from tfrec.config import DataConfig, TrainConfig
from tfrec.models import registry
from tfrec.schema import DatasetInfo
from tfrec.tasks import Task

PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "pandas")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """All settings of a run, as in `config.json`.

    Attributes:
        model: Key of the model registry.
        settings: The model's settings.
        data: Settings that the data was prepared with.
        data_dir: Folder of the prepared data; commands write it as an absolute path.
        train: Training settings.
        strategy: As `--strategy`.
        replicas: As `--replicas`.
        preset: As `--preset`, or "".
        warm_start: An earlier run whose weights this one starts from, or "".
        versions: Versions of the packages it was made with.
        fingerprint: Fingerprint of the training data; "" until the data is prepared.
    """

    model: str
    settings: dict
    data: DataConfig
    data_dir: str
    train: TrainConfig
    strategy: str = "one"
    replicas: int = 0
    preset: str = ""
    warm_start: str = ""
    versions: dict = dataclasses.field(default_factory=dict)
    fingerprint: str = ""

    @classmethod
    def from_json(cls, fields: dict) -> "RunConfig":
        """A config from the content of `config.json`."""
        data = config_lib.from_dict(DataConfig, fields["data"])
        train = config_lib.from_dict(TrainConfig, fields["train"])
        return cls(**{**fields, "data": data, "train": train})

    @property
    def model_config(self) -> Any:
        """The model's own `Config`."""
        return config_lib.from_dict(registry.model_class(self.model).Config, self.settings)

    def settled(self, info: DatasetInfo) -> "RunConfig":
        """The run with the settings that depend on the data resolved."""
        own = registry.model_class(self.model).settled(self.model_config, info)
        size = self.train.batch_size or batch_size(info.row_counts.get("train", info.n_rows))
        train = dataclasses.replace(self.train, batch_size=size)
        return dataclasses.replace(self, settings=config_lib.to_dict(own), train=train)

    def check_range(self, low: float, high: float) -> None:
        """Refuses data whose range of values does not suit the task, before it is prepared.

        Raises:
            ValueError: the model cannot be trained on such values.
        """
        name = registry.model_class(self.model).__name__
        self.task.check_range(low, high, self.data.dataset, name)

    @property
    def task(self) -> Task:
        """The model's task."""
        return tasks.get(registry.model_class(self.model).task_for(self.model_config))


def batch_size(rows: int) -> int:
    """The batch size that `batch_size=0` stands for: a power of 2 from 16 to 128."""
    return min(128, 1 << max(4, (rows // 100).bit_length()))


def versions() -> dict[str, str]:
    """Versions of Python, and of the packages that results may depend on."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"tfrec": tfrec.__version__, "python": platform.python_version()} | packages
