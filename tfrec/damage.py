"""Files that tfrec wrote and can not read now: cut short, overwritten, of another version."""

import contextlib
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def refused(path: str | pathlib.Path, cure: str) -> Iterator[None]:
    """Turns whatever reading `path` raises into one error that names the file and the cure.

    A file that is missing, may not be read, or needs more memory than there is, is not damaged:
    those errors pass.

    Args:
        path: The file that the block reads.
        cure: What to do, such as "train again with --overwrite".

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
