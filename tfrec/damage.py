"""Errors for files of tfrec that cannot be read: truncated, overwritten, of another version."""

import contextlib
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def refused(path: str | pathlib.Path, cure: str) -> Iterator[None]:
    """Turns errors of reading `path` into one that gives the file and the cure.

    Errors for a missing file, missing permission or lack of memory are raised unchanged, as the
    file is not damaged then.

    Args:
        path: The file that the block reads.
        cure: The cure, such as "train again with --overwrite".

    Raises:
        ValueError: "PATH is damaged, or of another version of tfrec (REASON): CURE".
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:200].removesuffix(": ")
        raise ValueError(
            f"{path} is damaged, or of another version of tfrec ({reason}): {cure}"
        ) from error
