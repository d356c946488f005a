"""Raw ratings as compact arrays: collected chunk by chunk, checked for duplicates, filtered."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from tfrec.config import DataConfig
from tfrec.data import vocabulary
from tfrec.datasets.source import rating_number


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Ratings in file order, one array entry each (20 bytes a rating).

    Attributes:
        users: int32 `[n]`, code or position of the user.
        items: int32 `[n]`, code or position of the item.
        values: float32 `[n]`.
        times: int64 `[n]`, seconds since 1970.
        test: bool `[n]`, from the shipped test file; None where no fold was asked for.
    """

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    times: np.ndarray
    test: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, kept: np.ndarray) -> "Ratings":
        """The ratings that `kept` (a mask or indices) picks, in that order."""
        columns = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Ratings(*(None if column is None else column[kept] for column in columns))


_DTYPES = {"values": np.float32, "times": np.int64, "test": np.bool_}


def collect(chunks: Iterable[pd.DataFrame]) -> tuple[Ratings, list[str], list[str]]:
    """Reads all chunks; only codes and numbers are kept, never the raw text.

    Returns:
        The ratings with codes for users and items, then the raw ids by code of users and of
        items.

    Raises:
        ValueError: there are no ratings, an id is missing, or a value is not a finite number.
    """
    coders = {"users": vocabulary.Coder("user"), "items": vocabulary.Coder("item")}
    columns: dict[str, list] = {}
    n = 0
    for chunk in chunks:
        _check_values(chunk, n)
        n += len(chunk)
        for plural, coder in coders.items():
            columns.setdefault(plural, []).append(coder.encode(chunk[plural[:-1]]))
        for plural, name in (("values", "value"), ("times", "time"), ("test", "test")):
            if name in chunk:
                column = chunk[name].to_numpy(_DTYPES[plural])
                columns.setdefault(plural, []).append(column)
    if not n:
        raise ValueError("the data set has no ratings")
    # One column at a time, freeing its pieces: the peak stays near the arrays themselves.
    arrays = {name: np.concatenate(columns.pop(name)) for name in list(columns)}
    return Ratings(**arrays), coders["users"].ids, coders["items"].ids


def _check_values(chunk: pd.DataFrame, n_before: int) -> None:
    finite = np.isfinite(chunk["value"].to_numpy(np.float32))
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"rating {n_before + row + 1}: value {chunk['value'].iloc[row]} is not a finite number"
        )


def drop_duplicates(
    ratings: Ratings,
    keep: str,
    user_ids: list[str],
    item_ids: list[str],
    locate: Callable[[int], str] = rating_number,
) -> tuple[Ratings, int]:
    """Leaves at most one rating of an item by a user.

    Args:
        ratings: With codes for users and items.
        keep: "first" or "last" by (time, file order), or "error".
        user_ids: Raw ids by code, for the error.
        item_ids: Raw ids by code, for the error.
        locate: From the position of a rating to its place in the files, for the error.

    Returns:
        The remaining ratings, still in file order, and how many were dropped.

    Raises:
        ValueError: `keep` is "error" and there are duplicates.
    """
    pairs = ratings.users.astype(np.int64) * len(item_ids) + ratings.items
    ordered = np.sort(pairs)
    n = int((ordered[1:] == ordered[:-1]).sum())
    del ordered
    if not n:
        return ratings, 0
    order = np.lexsort((ratings.times, pairs))  # stable: ties stay in file order
    same = pairs[order[1:]] == pairs[order[:-1]]
    if keep == "error":
        i = int(np.argmax(same))
        first, second = sorted((int(order[i]), int(order[i + 1])))
        raise ValueError(
            f"user {user_ids[ratings.users[first]]!r} rated item "
            f"{item_ids[ratings.items[first]]!r} twice: {locate(first)}, and {locate(second)} "
            f"(duplicates in all: {n}); keep one of each with --data duplicates=last (or first)"
        )
    end = np.ones(1, bool)
    is_kept = np.concatenate([~same, end] if keep == "last" else [end, ~same])
    return ratings.take(np.sort(order[is_kept])), n


def apply_filters(ratings: Ratings, config: DataConfig) -> tuple[Ratings, dict[str, int]]:
    """Drops ratings below `min_rating`, then rare items, then users with too few or too many.

    That order, each once, is that of Liang et al. (2018); `core` repeats the counts until
    nothing more is dropped.

    Returns:
        The remaining ratings and how many were dropped by reason (reasons with 0 left out).

    Raises:
        ValueError: nothing is left.
    """
    dropped: dict[str, int] = {}

    def keep(mask: np.ndarray, reason: str) -> None:
        nonlocal ratings
        n = int(len(mask) - mask.sum())
        if n:
            dropped[reason] = dropped.get(reason, 0) + n
            ratings = ratings.take(mask)

    keep(ratings.values >= config.min_rating, "min_rating")
    n_before = -1
    while n_before != len(ratings):
        n_before = len(ratings)
        if config.min_item_ratings:
            keep(_counts(ratings.items) >= config.min_item_ratings, "min_item_ratings")
        if config.min_user_ratings:
            keep(_counts(ratings.users) >= config.min_user_ratings, "min_user_ratings")
        if config.max_user_ratings:
            keep(_counts(ratings.users) <= config.max_user_ratings, "max_user_ratings")
        if not config.core:
            break
    if not len(ratings):
        raise ValueError(
            f"no rating passes the filters (dropped: {dropped}); lower --data min_rating, "
            "min_user_ratings or min_item_ratings"
        )
    return ratings, dropped


def _counts(codes: np.ndarray) -> np.ndarray:
    """How often each entry's code occurs, `[n]`."""
    return np.bincount(codes)[codes] if len(codes) else np.zeros(0, np.int64)
