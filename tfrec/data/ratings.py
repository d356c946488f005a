"""Raw ratings as compact arrays: collects chunks, drops duplicates, filters."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from tfrec.config import DataConfig
from tfrec.data import vocabulary
from tfrec.datasets.raw_dataset import rating_number
from tfrec.ratings import Ratings, occurs
from tfrec.split_rules import SplitRule, hash_law

CODED = ("category",)  # kinds of context that are codes; others are numbers
_DTYPES = {"values": np.float32, "times": np.int64, "test": np.int8}


class Collector:
    """Collects chunks of a raw data set: keeps codes and numbers but no raw text.

    Attributes:
        n: Number of ratings so far.
    """

    def __init__(self, kinds: Mapping[str, str] | None = None):
        """Starts empty; columns of `kinds` that the chunks have become the ratings' context."""
        self.n = 0
        self._kinds = kinds or {}
        self._coders = {name: vocabulary.Coder(name) for name in ("user", "item")}
        self._categories = {n: vocabulary.Coder(n) for n, k in self._kinds.items() if k in CODED}
        self._columns: dict[str, list] = {}
        self._context: dict[str, list] = {}

    @classmethod
    def of(
        cls, chunks: Iterable[pd.DataFrame], kinds: Mapping[str, str] | None = None
    ) -> "Collector":
        """A collector with all chunks; raises ValueError as `add` does."""
        found = cls(kinds)
        for chunk in chunks:
            found.add(chunk)
        return found

    def add(self, chunk: pd.DataFrame) -> None:
        """Adds a chunk, the next in file order.

        Raises:
            ValueError: an id is missing, or a value is not a finite number.
        """
        _check_values(chunk, self.n)
        self.n += len(chunk)
        for name, coder in self._coders.items():
            self._columns.setdefault(f"{name}s", []).append(coder.encode(chunk[name]))
        for plural, name in (("values", "value"), ("times", "time"), ("test", "test")):
            if name in chunk:
                # A copy: a view would keep the whole chunk.
                column = chunk[name].to_numpy(_DTYPES[plural], copy=True)
                self._columns.setdefault(plural, []).append(column)
        for name in (name for name in self._kinds if name in chunk):
            column = _context(chunk[name], self._categories.get(name))
            self._context.setdefault(name, []).append(column)

    def take(self) -> Ratings:
        """The ratings that were added since the last call; they are not kept here.

        Raises:
            ValueError: there are none.
        """
        if not self.n:
            raise ValueError("the data set has no ratings")
        return Ratings(**_joined(self._columns), context=_joined(self._context))

    @property
    def ids(self) -> tuple[list[str], list[str]]:
        """The raw ids by code, of users and of items."""
        return self._coders["user"].ids, self._coders["item"].ids

    @property
    def categories(self) -> dict[str, list[str]]:
        """The categories by code, of the context's columns of categories."""
        return {n: coder.ids for n, coder in self._categories.items() if n in self._context}


def collect(chunks: Iterable[pd.DataFrame]) -> tuple[Ratings, list[str], list[str]]:
    """Reads all chunks, without context.

    Returns:
        The ratings with codes for users and items, then the raw ids by code of users and of
        items.

    Raises:
        ValueError: there are no ratings, or as from `Collector.add`.
    """
    found = Collector.of(chunks)
    return found.take(), *found.ids


def _joined(pieces: dict[str, list]) -> dict[str, np.ndarray]:
    """Concatenates each column and frees its pieces, so that peak memory is that of the arrays."""
    found = {}
    for name, parts in pieces.items():
        found[name] = np.concatenate(parts)
        parts.clear()
    return found


def with_pairs(
    ratings: Ratings, user_ids: list[str], item_ids: list[str], rule: SplitRule
) -> Ratings:
    """Adds the `pairs` if the rule reads them.

    Args:
        ratings: With codes for users and items.
        user_ids: Raw ids by code.
        item_ids: Raw ids by code.
        rule: The rule.
    """
    if not rule.needs_pairs:
        return ratings
    users, items = hash_law.of_ids(user_ids), hash_law.of_ids(item_ids)
    pairs = np.empty(len(ratings), np.uint64)
    for start in range(0, len(pairs), hash_law.SLICE):
        at = slice(start, start + hash_law.SLICE)
        pairs[at] = hash_law.of_pairs(users[ratings.users[at]], items[ratings.items[at]])
    return dataclasses.replace(ratings, pairs=pairs)


def to_positions(
    ratings: Ratings, user_ids: list[str], item_ids: list[str], every_user: bool = False
) -> tuple[Ratings, list[str], list[str]]:
    """Replaces codes by positions among the sorted ids that occur, and sorts the ids.

    Args:
        ratings: With codes for users and items.
        user_ids: Raw ids by code.
        item_ids: Raw ids by code.
        every_user: Keep users without a rating, too.
    """
    used = occurs(ratings.users, len(user_ids)) | every_user
    user_ids, users = vocabulary.select(user_ids, used)
    item_ids, items = vocabulary.select(item_ids, occurs(ratings.items, len(item_ids)))
    ratings = dataclasses.replace(ratings, users=users[ratings.users], items=items[ratings.items])
    return ratings, user_ids, item_ids


def _context(column: pd.Series, coder: vocabulary.Coder | None) -> np.ndarray:
    """Codes of categories, -1 where missing; numbers as they are."""
    if coder is None:
        return column.to_numpy(np.float32)
    codes = np.full(len(column), -1, np.int32)
    present = (column.notna() & (column != "")).to_numpy()
    codes[present] = coder.encode(column[present])
    return codes


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
        keep: "first" or "last" by (time, file order); "sum" or "count", which give the last one
            the sum of the values or their number; or "error".
        user_ids: Raw ids by code, for the error.
        item_ids: Raw ids by code, for the error.
        locate: Returns file and line of a rating, given its number from 0; for the error.

    Returns:
        The remaining ratings, still in file order, and how many were dropped.

    Raises:
        ValueError: `keep` is "error" and there are duplicates, or it is "sum" or "count" and
            they are in different parts.
    """
    if keep == "error":
        found = first_repeat(ratings, len(item_ids))
        if found:
            refuse_repeat(found, user_ids, item_ids, locate)
        return ratings, 0
    return merge_duplicates(ratings, keep, len(item_ids))


@dataclasses.dataclass(frozen=True, order=True)
class Repeat:
    """The first pair of user and item, by their codes, that occurs twice.

    Attributes:
        user: Its user's code.
        item: Its item's code.
        first: Number of a rating of the pair.
        second: Number of a later one.
        n: How many ratings in all repeat a pair.
    """

    user: int
    item: int
    first: int
    second: int
    n: int


def first_repeat(ratings: Ratings, n_items: int) -> Repeat | None:
    """The first repeat; None if there is none; ratings are numbered from 0."""
    n = _repeats(_pairs(ratings, n_items))
    if not n:
        return None
    order, same = _by_pair(ratings, n_items)
    i = int(np.argmax(same))
    first, second = sorted((int(order[i]), int(order[i + 1])))
    return Repeat(int(ratings.users[first]), int(ratings.items[first]), first, second, n)


def refuse_repeat(
    found: Repeat, user_ids: list[str], item_ids: list[str], locate: Callable[[int], str]
) -> NoReturn:
    """Raises ValueError about a repeat, with the cure; arguments as of `drop_duplicates`."""
    raise ValueError(
        f"user {user_ids[found.user]!r} rated item {item_ids[found.item]!r} twice: "
        f"{locate(found.first)}, and {locate(found.second)} (duplicates in all: {found.n}); keep "
        "one of each with --data duplicates=last (or first), or add them up with duplicates=sum "
        "(or count)"
    )


def merge_duplicates(ratings: Ratings, keep: str, n_items: int) -> tuple[Ratings, int]:
    """`drop_duplicates` for a `keep` other than "error"."""
    if keep == "count":
        ratings = dataclasses.replace(ratings, values=np.ones(len(ratings), np.float32))
    n = _repeats(_pairs(ratings, n_items))
    if not n:
        return ratings, 0
    order, same = _by_pair(ratings, n_items)
    if keep in ("sum", "count"):
        ratings, keep = _summed(ratings, order, same), "last"
    end = np.ones(1, bool)
    is_kept = np.concatenate([~same, end] if keep == "last" else [end, ~same])
    return ratings.take(np.sort(order[is_kept])), n


def _summed(ratings: Ratings, order: np.ndarray, same: np.ndarray) -> Ratings:
    """Gives the last rating of each pair the pair's sum; `same` marks ratings after a first."""
    if ratings.test is not None:
        parts = ratings.test[order]
        if (same & (parts[1:] != parts[:-1])).any():
            raise ValueError(
                "--data duplicates=sum and count add up within a part, but a pair of user and item "
                "is in two of the given parts; use duplicates=last or first"
            )
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    ends = np.append(starts[1:], len(order)) - 1
    values = ratings.values.copy()
    values[order[ends]] = np.add.reduceat(ratings.values[order].astype(np.float64), starts)
    return dataclasses.replace(ratings, values=values)


def _pairs(ratings: Ratings, n_items: int) -> np.ndarray:
    """The pairs of user and item as numbers, int64 `[n]`."""
    pairs = ratings.users.astype(np.int64)
    pairs *= n_items
    pairs += ratings.items
    return pairs


def _by_pair(ratings: Ratings, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """The order by pair and time, and which ratings after the first have the pair before them."""
    pairs = _pairs(ratings, n_items)
    order = np.lexsort((ratings.times, pairs))  # stable: ties keep file order
    return order, pairs[order[1:]] == pairs[order[:-1]]


def _repeats(numbers: np.ndarray) -> int:
    """How many of the numbers repeat an earlier one; sorts them in place."""
    numbers.sort()
    return int(np.count_nonzero(numbers[1:] == numbers[:-1]))


def apply_filters(ratings: Ratings, config: DataConfig) -> tuple[Ratings, dict[str, int]]:
    """Drops ratings below `min_rating`, then rare items, then users with too few or too many.

    Applying each once, in this order, is the protocol of Liang et al. (2018); `core` repeats the
    counts until nothing more is dropped.

    Returns:
        The remaining ratings and how many were dropped by reason (reasons with 0 left out).

    Raises:
        ValueError: nothing is left.
    """
    ratings, dropped = filter_values(ratings, config)
    n_before = -1
    while n_before != len(ratings):
        n_before = len(ratings)
        ratings, more = filter_counts(ratings, config, np.bincount(ratings.items))
        dropped = {n: dropped.get(n, 0) + more.get(n, 0) for n in dropped | more}
        if not config.core:
            break
    if not len(ratings):
        refuse_nothing(dropped)
    return ratings, dropped


def refuse_nothing(dropped: Mapping[str, int]) -> NoReturn:
    """Raises ValueError about filters that leave no rating."""
    raise ValueError(
        f"no rating passes the filters (dropped: {dropped}); lower --data min_rating, "
        "min_user_ratings or min_item_ratings"
    )


def filter_values(ratings: Ratings, config: DataConfig) -> tuple[Ratings, dict[str, int]]:
    """Drops ratings by their values; returns the others, and the numbers by reason."""
    return _filtered(
        ratings,
        ("min_rating", config.min_rating is not None, lambda r: r.values >= config.min_rating),
        ("drop_rating", config.drop_rating is not None, lambda r: r.values != config.drop_rating),
    )


def filter_counts(
    ratings: Ratings, config: DataConfig, item_counts: np.ndarray
) -> tuple[Ratings, dict[str, int]]:
    """Drops rare items' ratings once, then those of users with too few or too many.

    Args:
        ratings: Of all users, or all those of some of them.
        config: `min_item_ratings`, `min_user_ratings` and `max_user_ratings` are used.
        item_counts: Number of ratings by item, of all users.
    """
    least_item, least = config.min_item_ratings, config.min_user_ratings
    most = config.max_user_ratings
    return _filtered(
        ratings,
        ("min_item_ratings", least_item, lambda r: item_counts[r.items] >= least_item),
        ("min_user_ratings", least, lambda r: _counts(r.users) >= least),
        ("max_user_ratings", most, lambda r: _counts(r.users) <= most),
    )


def _filtered(
    ratings: Ratings, *filters: tuple[str, Any, Callable[[Ratings], np.ndarray]]
) -> tuple[Ratings, dict[str, int]]:
    """Applies those of the filters that are on, one after the other."""
    dropped = {}
    for reason, on, passes in filters:
        if on and len(ratings):
            mask = passes(ratings)
            if n := int(len(mask) - mask.sum()):
                dropped[reason] = n
                ratings = ratings.take(mask)
    return ratings, dropped


def labelled(ratings: Ratings, config: DataConfig) -> Ratings:
    """Turns ratings above `label_above` into 1 and all others into 0, if it is set."""
    if config.label_above is None:
        return ratings
    return dataclasses.replace(ratings, values=np.float32(ratings.values > config.label_above))


def _counts(codes: np.ndarray) -> np.ndarray:
    """The number of occurrences of each entry's code, `[n]`."""
    return np.bincount(codes)[codes] if len(codes) else np.zeros(0, np.int64)
