"""Converts columns of arrays and frames: ids of any type to codes, numbers to float64."""

from typing import Any

import numpy as np

from tfrec.config import known_names


def column(frame: Any, name: str, what: str) -> np.ndarray:
    """A frame's column as an array.

    Args:
        frame: A pandas or polars frame, a dict of arrays, or another mapping of columns.
        name: The column.
        what: The frame's name in errors.

    Raises:
        ValueError: there is no such column.
    """
    names = [str(n) for n in getattr(frame, "columns", frame)]
    if name not in names:
        raise ValueError(f"{what} has no column {name!r}; " + known_names(name, names))
    return np.asarray(frame[name])


def numbers(values: Any, what: str) -> np.ndarray:
    """Values as float64.

    Args:
        values: Numbers of any type.
        what: Their name in errors.

    Raises:
        ValueError: one of them is not a number, such as a text.
    """
    try:
        return np.asarray(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} cannot be read as numbers: {error}") from None


def coded(values: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ids, sorted, and for each value its position among them.

    Args:
        values: `[N]` ids of types that can be sorted.
        what: Their name in errors.

    Returns:
        `[n]` ids and `[N]` int64.

    Raises:
        ValueError: an id is missing.
    """
    if values.dtype.kind in "iuU":  # none can be missing
        return np.unique(values, return_inverse=True)
    import pandas  # ids of other types mostly come from pandas

    codes, ids = pandas.factorize(values, sort=True)
    missing = np.flatnonzero(codes < 0)
    if missing.size:
        raise ValueError(f"{what}: the id of row {missing[0] + 1} is missing; drop such rows")
    return ids, codes


def joined(first: np.ndarray, second: np.ndarray, what: str) -> np.ndarray:
    """Ids of two frames, concatenated.

    Args:
        first: `[N]` ids.
        second: `[M]` ids.
        what: The column, for errors.

    Raises:
        ValueError: only one frame's ids are text, so that they could never be equal.
    """
    if first.size and second.size and _is_text(first) != _is_text(second):
        raise ValueError(
            f"{what} is {shown(first, 0)} in one frame and {shown(second, 0)} in the other: text "
            f"and numbers never match; convert one, such as with frame[{what!r}].astype(str)"
        )
    return np.concatenate([first, second])


def hashed(values: np.ndarray) -> np.ndarray:
    """A hash of each id, int64, the same in every process."""
    import pandas

    if values.dtype.kind == "U":
        values = values.astype(object)
    return pandas.util.hash_array(values).view(np.int64)


def shown(values: np.ndarray, at: int) -> str:
    """An id as text for errors: 7, not np.int64(7)."""
    return repr(values[at : at + 1].tolist()[0])


def _is_text(values: np.ndarray) -> bool:
    return values.dtype.kind == "U" or isinstance(values[0], str)
