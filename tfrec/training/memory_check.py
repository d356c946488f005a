"""The estimate of a run's memory, against what is available."""

from collections.abc import Callable
from typing import Any

from tfrec import memory
from tfrec.config import TrainConfig
from tfrec.models import registry as models
from tfrec.models.base import Recommender
from tfrec.schema import DatasetInfo

SAID_FROM = 1e9  # bytes


def check(
    name: str, info: DatasetInfo, settings: Any, train: TrainConfig, say: Callable[[str], None]
) -> None:
    """Prints the estimated memory of training where it is large; refuses what does not fit.

    Args:
        name: Name of the model, as `models.model_class` takes it.
        info: Info of the data.
        settings: The model's settings.
        train: Training settings.
        say: Function that prints a line.

    Raises:
        ValueError: it needs more than is available.
    """
    cls = models.model_class(name)
    needed, left = cls.memory(info, settings, train), memory.available()
    wanted = (
        f"--model={name} takes about {_gb(needed)} on these {info.n_items:,} items and "
        f"{info.n_users:,} users"
    )
    if needed > left and train.memory_check:
        raise ValueError(
            f"{wanted}, but {_gb(left)} of memory are left: {_cure(cls, info, train)}; where the "
            "estimate is wrong, --train memory_check=false trains anyway"
        )
    if needed > SAID_FROM:
        say(f"{wanted}; {_gb(left)} are left")


def _cure(cls: type[Recommender], info: DatasetInfo, train: TrainConfig) -> str:
    """What to do where training `cls` does not fit into memory."""
    if not cls.instead:
        return "lower --train batch_size, or the sizes among the model's --set"
    other = models.model_class(cls.instead)
    needed = other.memory(info, other.Config(), train)
    return (
        f"--model={cls.instead} takes about {_gb(needed)}; or drop rare items, as with --data "
        "min_item_ratings=5"
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
