"""Locks between processes, which are released when their process is killed."""

import contextlib
import fcntl
import os
import pathlib
import sys
import time
from collections.abc import Iterator

_POLL = 0.1  # seconds between attempts


@contextlib.contextmanager
def held(
    path: str | pathlib.Path, message: str, wait: float = 0.0, waiting: str = ""
) -> Iterator[None]:
    """Holds a lock on the file `path`, created here and removed at the end, during the block.

    Args:
        path: The lock file; its folder must exist.
        message: The error if another process keeps the lock.
        wait: Seconds to wait for the other process; 0 fails immediately.
        waiting: Printed on stderr if it has to wait.

    Raises:
        ValueError: another process holds the lock.
    """
    path = pathlib.Path(path)
    deadline = time.monotonic() + wait
    while (file := _try(path)) is None:
        if time.monotonic() >= deadline:
            raise ValueError(message)
        if waiting:
            print(waiting, file=sys.stderr, flush=True)
            waiting = ""
        time.sleep(_POLL)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _try(path: pathlib.Path) -> int | None:
    """The locked file's descriptor, or None if another process holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    # The previous holder of the lock may remove the file between any two of these calls.
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(file).st_ino:
            return file
    os.close(file)
    return None
