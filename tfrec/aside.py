"""Files and folders that appear only when whole: written aside, then renamed."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator


@contextlib.contextmanager
def file(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a free name beside `path`; what the block writes there replaces `path` at its end.

    Where the block fails, `path` stays as it was and nothing is left. Both names end alike, for
    libraries that go by the ending.

    Raises:
        OSError: as the block raised it; with `path` as its file name where it had none.
    """
    path = pathlib.Path(path)
    aside = _beside(path)
    try:
        yield aside
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
    aside, replaced = _beside(path), path.with_name(f".{os.getpid()}-replaced-{path.name}")
    for left in (aside, replaced):  # by a killed process that had the same number
        shutil.rmtree(left, ignore_errors=True)
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


def _beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{os.getpid()}-{path.name}")
