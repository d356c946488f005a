"""How much memory a run will take, and how much there is."""

import pathlib
from collections.abc import Callable

from tfrec.config import TrainConfig
from tfrec.models import registry as models
from tfrec.schema import DatasetInfo

SAID_FROM = 1e9  # bytes
_ROOT = pathlib.Path("/")
_LIMITS = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> float:
    """Bytes that this process may still take: what the machine has left, or its control group.

    Infinity where neither is known, as on systems other than Linux.
    """
    left = [_left(_ROOT / limit, _ROOT / used) for limit, used in _LIMITS]
    return min([*left, _machine(_ROOT / "proc/meminfo")])


def check(
    name: str, info: DatasetInfo, settings, train: TrainConfig, say: Callable[[str], None]
) -> None:
    """Says what training takes where that is much, and refuses what can not fit.

    Args:
        name: The model's, as `models.model_class` takes it.
        info: The data's.
        settings: The model's.
        train: Training numbers.
        say: Takes a line of text.

    Raises:
        ValueError: it takes more than there is.
    """
    cls = models.model_class(name)
    needed, left = cls.memory(info, settings, train), available()
    wanted = (
        f"--model={name} takes about {_gb(needed)} on these {info.n_items:,} items and "
        f"{info.n_users:,} users"
    )
    if needed > left:
        raise ValueError(f"{wanted}, but {_gb(left)} of memory are left: {_cure(cls, info, train)}")
    if needed > SAID_FROM:
        say(f"{wanted}; {_gb(left)} are left")


def _cure(cls, info: DatasetInfo, train: TrainConfig) -> str:
    """What to do where `cls` does not fit."""
    if not cls.instead:
        return "lower --train batch_size, or the sizes among the model's --set"
    other = models.model_class(cls.instead)
    needed = other.memory(info, other.Config(), train)
    return (
        f"--model={cls.instead} takes about {_gb(needed)}; or drop rare items, as with --data "
        + ("min_item_ratings=5")
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def _left(limit: pathlib.Path, used: pathlib.Path) -> float:
    """What a control group has left; infinity without one, or without a limit."""
    if not (limit.exists() and used.exists()):
        return float("inf")
    text = limit.read_text().strip()
    return float("inf") if text == "max" else max(0.0, float(text) - float(used.read_text()))


def _machine(meminfo: pathlib.Path) -> float:
    """What Linux says can be taken without swapping."""
    if not meminfo.exists():
        return float("inf")
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next((1024.0 * int(x[1]) for x in lines if x[0] == "MemAvailable:"), float("inf"))
