"""Atomic writes: files and folders are written under another name, then renamed.

What a killed process leaves behind has its host and process id in its name, and is removed by the
next process that writes there.
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
from collections.abc import Iterator

_HOST = re.sub(r"\W", "_", socket.gethostname())
_NEW, _OLD = "-", "~"  # in names of files being written, and of files being replaced
_LEFT = re.compile(rf"\.{_HOST}-(\d+)([{_NEW}{_OLD}])(.+)")


@contextlib.contextmanager
def file(path: str | pathlib.Path, durable: bool = False) -> Iterator[pathlib.Path]:
    """Yields an unused path next to `path`; the file written there replaces `path` at the end.

    If the block fails, `path` is unchanged and nothing is left. Both paths have the same suffix,
    for libraries that depend on it.

    Args:
        path: The file.
        durable: Write the file to disk (fsync) before it replaces `path`, so that after a crash
            of the machine `path` is either the old or the new file, and complete.

    Raises:
        OSError: raised by the block; with `path` as its file name if it had none.
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
        if error.errno is not None:  # otherwise its text would be lost
            error.filename = error.filename or str(path)  # libraries often omit it
        raise
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def folder(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty folder next to `path`, which replaces `path` at the end of the block.

    If the block fails, `path` is unchanged and nothing is left. Parent folders are created.
    """
    path = pathlib.Path(path).absolute()  # "." has no name to put a prefix to
    aside, replaced = _beside(path), _beside(path, _OLD)
    for left in (aside, replaced):  # by a killed process with the same id
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
    """Removes what ended processes of this host left of `name`, by default of all names.

    A folder whose process was killed between its two renames is restored.
    """
    if not directory.is_dir():
        return
    with os.scandir(directory) as entries:
        found = [_LEFT.fullmatch(entry.name) for entry in entries]
    lefts = [left for left in found if left and name in ("", left[3]) and _is_gone(int(left[1]))]
    for left in sorted(lefts, key=lambda left: left[2] == _NEW):  # replaced files first
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
    except PermissionError:  # another user's
        return False
    return False


def _beside(path: pathlib.Path, kind: str = _NEW) -> pathlib.Path:
    return path.with_name(f".{_HOST}-{os.getpid()}{kind}{path.name}")
