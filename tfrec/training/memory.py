"""Memory: the estimate for a run, what is available, and the peak."""

import contextlib
import pathlib
import resource
from collections.abc import Callable
from typing import Any

from tfrec.config import TrainConfig
from tfrec.models import registry as models
from tfrec.models.base import Recommender
from tfrec.schema import DatasetInfo

SAID_FROM = 1e9  # bytes
_ROOT = pathlib.Path("/")
_LIMITS = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> float:
    """Bytes that this process can still allocate, on the machine or within its control group.

    Infinity where neither is known, as on systems other than Linux.
    """
    left = [_left(_ROOT / limit, _ROOT / used) for limit, used in _LIMITS]
    return min([*left, _machine(_ROOT / "proc/meminfo")])


def forget_peak() -> None:
    """Resets `peak`, where Linux lets a process do so."""
    with contextlib.suppress(OSError):
        (_ROOT / "proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Peak resident memory of this process in bytes, since `forget_peak`."""
    status = _ROOT / "proc/self/status"
    lines = status.read_text().splitlines() if status.exists() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return 1024 * (found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


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
    needed, left = cls.memory(info, settings, train), available()
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
        + ("min_item_ratings=5")
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def _left(limit: pathlib.Path, used: pathlib.Path) -> float:
    """Memory left in a control group; infinity without one, or without a limit."""
    if not (limit.exists() and used.exists()):
        return float("inf")
    text = limit.read_text().strip()
    return float("inf") if text == "max" else max(0.0, float(text) - float(used.read_text()))


def _machine(meminfo: pathlib.Path) -> float:
    """Memory that Linux can allocate without swapping."""
    if not meminfo.exists():
        return float("inf")
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next((1024.0 * int(x[1]) for x in lines if x[0] == "MemAvailable:"), float("inf"))
