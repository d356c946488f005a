"""Files and folders that appear only when whole: written aside, then renamed.

What a killed process leaves beside them has its machine and number in its name, and is removed by
the next one that writes there.
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
from collections.abc import Iterator

_HOST = re.sub(r"\W", "_", socket.gethostname())
_NEW, _OLD = "-", "~"  # in the names of what is being written, and of what it replaces
_LEFT = re.compile(rf"\.{_HOST}-(\d+)([{_NEW}{_OLD}])(.+)")


@contextlib.contextmanager
def file(path: str | pathlib.Path, durable: bool = False) -> Iterator[pathlib.Path]:
    """Yields a free name beside `path`; what the block writes there replaces `path` at its end.

    Where the block fails, `path` stays as it was and nothing is left. Both names end alike, for
    libraries that go by the ending.

    Args:
        path: The file.
        durable: Have it on the disk before it replaces `path` (fsync): should the machine itself
            stop, `path` is the former file or the new one, both whole.

    Raises:
        OSError: as the block raised it; with `path` as its file name where it had none.
    """
    path = pathlib.Path(path)
    aside = _beside(path)
    sweep(path.parent, path.name)
    try:
        yield aside
        if durable:
            with aside.open("rb") as written:
                os.fsync(written.fileno())
        aside.replace(path)
    except OSError as error:
        if error.errno is not None:  # else its text would be lost
            error.filename = error.filename or str(path)  # libraries do not say which file
        raise
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def folder(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty folder beside `path`, which replaces `path` at the end of the block.

    Where the block fails, `path` stays as it was and nothing is left. The folders above are made.
    """
    path = pathlib.Path(path).absolute()  # "." has no name to put a prefix to
    aside, replaced = _beside(path), _beside(path, _OLD)
    for left in (aside, replaced):  # by a killed process that had the same number
        shutil.rmtree(left, ignore_errors=True)
    sweep(path.parent, path.name)
    aside.mkdir(parents=True)
    try:
        yield aside
        if path.exists():
            path.rename(replaced)
        aside.rename(path)
        if replaced.exists():
            shutil.rmtree(replaced)
    finally:
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        shutil.rmtree(aside, ignore_errors=True)


def sweep(directory: pathlib.Path, name: str = "") -> None:
    """Removes what processes of this machine that are gone left of `name`, by default of all.

    A folder whose process was killed between its two renames is put in its place.
    """
    if not directory.is_dir():
        return
    with os.scandir(directory) as entries:
        found = [_LEFT.fullmatch(entry.name) for entry in entries]
    lefts = [left for left in found if left and name in ("", left[3]) and _is_gone(int(left[1]))]
    for left in sorted(lefts, key=lambda left: left[2] == _NEW):  # what was replaced comes first
        path, target = directory / left[0], directory / left[3]
        if left[2] == _OLD and not target.exists():
            new = directory / left[0].replace(_OLD, _NEW, 1)
            (new if new.exists() else path).rename(target)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's
        return False
    return False


def _beside(path: pathlib.Path, kind: str = _NEW) -> pathlib.Path:
    return path.with_name(f".{_HOST}-{os.getpid()}{kind}{path.name}")
