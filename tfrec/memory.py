"""Memory of this process: what is available, and the peak."""

import contextlib
import pathlib
import resource

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
