"""The held-out entries of batches, checked for leaks, duplicates and invalid positions."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec.schema import PAD, DatasetInfo


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The targets of a batch as flat arrays, and the rows they belong to.

    Attributes:
        rows: `[batch]` int64 row ids; -1 marks filler rows, which have no entries below.
        row: `[N]` index of an entry's row in the batch, ascending.
        item: `[N]` int64 target positions.
        count: `[batch]` targets of each row.
        width: Number of columns; `rows * width + item` is the code of an entry.
    """

    rows: np.ndarray
    row: np.ndarray
    item: np.ndarray
    count: np.ndarray
    width: int

    @property
    def codes(self) -> np.ndarray:
        """`[N]` int64, one number for each pair of row id and item."""
        return self.rows[self.row] * self.width + self.item

    def contains(self, items: np.ndarray) -> np.ndarray:
        """`[batch, K]` bool: whether each of `items` `[batch, K]` is a target of its row."""
        offsets = np.arange(len(self.rows))[:, np.newaxis] * self.width
        inside = (items >= 0) & (self.rows >= 0)[:, np.newaxis]
        found = np.zeros(items.shape, bool)
        found[inside] = np.isin((offsets + items)[inside], self.row * self.width + self.item)
        return found


def read(info: DatasetInfo, features: Mapping[str, Any], targets: Mapping[str, Any]) -> HeldOut:
    """Checks a batch and extracts its targets.

    Args:
        info: The info of the batch's data.
        features: "user" `[batch]`, -1 for filler rows; "items" `[batch, L]`, the input.
        targets: "target_items" `[batch, M]`, padded with -1.

    Raises:
        ValueError: a target is also in its row's input, or repeated, or a position does not
            exist, or a feature is missing.
    """
    rows, inputs = _int(features, "user"), _int(features, "items")
    items = _int(targets, "target_items")
    if rows.ndim != 1 or items.ndim != 2 or inputs.ndim != 2:
        raise ValueError(
            f"expected user [batch], items [batch, L], target_items [batch, M]; got "
            f"{list(rows.shape)}, {list(inputs.shape)}, {list(items.shape)}"
        )
    _refuse_outside("user", rows, info.n_rows)
    _refuse_outside("items", inputs, info.n_columns)
    _refuse_outside("target_items", items, info.n_columns)
    row, column = np.nonzero((items != PAD) & (rows != PAD)[:, np.newaxis])
    count = np.bincount(row, minlength=len(rows))
    held_out = HeldOut(rows, row, items[row, column], count, info.n_columns)
    _refuse_duplicates(held_out)
    _refuse_leak(held_out, inputs)
    return held_out


@dataclasses.dataclass(frozen=True)
class Events:
    """The events of a batch, without fillers.

    Attributes:
        codes: `[N]` int64, one number for each pair of user and item, the same as in
            `HeldOut.codes`.
        value: `[N]` float64, ratings or labels.
        score: `[N]` float64, finite.
    """

    codes: np.ndarray
    value: np.ndarray
    score: np.ndarray


def read_events(
    info: DatasetInfo, features: Mapping[str, Any], targets: Mapping[str, Any], scores: Any
) -> Events:
    """Checks a batch of events and drops fillers.

    Args:
        info: The info of the batch's data.
        features: "user" `[batch]` int, -1 for fillers; "item" `[batch]` int. They do not depend
            on `info.rows`.
        targets: "value" `[batch]` float.
        scores: `[batch]` float.

    Raises:
        ValueError: wrong shapes, a position that does not exist, a repeated event, a score
            that is not a finite number, or a feature is missing.
    """
    user, item = _int(features, "user"), _int(features, "item")
    value, score = (x.astype(np.float64) for x in (_get(targets, "value"), np.asarray(scores)))
    for name, array in {"user": user, "item": item, "value": value, "scores": score}.items():
        if array.shape != (user.size,):
            raise ValueError(f"{name} must be [{user.size}], got {list(array.shape)}")
    _refuse_outside("user", user, info.n_users)
    real = np.flatnonzero(user != PAD)
    user, item, value, score = user[real], item[real], value[real], score[real]
    _refuse_outside("item", item, info.n_items, lowest=0)
    _refuse_diverged(user, item, score)
    row, column = (user, item) if info.rows == "user" else (item, user)
    events = Events(row * info.n_columns + column, value, score)
    by_user(info, events.codes)
    return events


def by_user(info: DatasetInfo, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users and items of `codes` `[N]`, sorted by user, then item; and the sorting order.

    Raises:
        ValueError: a code is repeated.
    """
    row, column = np.divmod(codes, info.n_columns)
    user, item = (row, column) if info.rows == "user" else (column, row)
    order = np.lexsort((item, user))
    user, item = user[order], item[order]
    twice = np.flatnonzero((user[1:] == user[:-1]) & (item[1:] == item[:-1]))
    if twice.size:
        raise ValueError(
            f"the rating of user {user[twice[0]]} on item {item[twice[0]]} was evaluated "
            "twice: is a row in more than one batch, or an event repeated?"
        )
    return user, item, order


def groups(user: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The start of each user's entries in sorted `user`, and each entry's number of group."""
    starts = np.append(True, user[1:] != user[:-1])
    return np.flatnonzero(starts), np.cumsum(starts) - 1


def _get(arrays: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"the report needs {name!r}; the batch holds {sorted(arrays)}")
    return np.asarray(arrays[name])


def _int(arrays: Mapping[str, Any], name: str) -> np.ndarray:
    return _get(arrays, name).astype(np.int64)


def _refuse_outside(name: str, positions: np.ndarray, n: int, lowest: int = PAD) -> None:
    wrong = positions[(positions < lowest) | (positions >= n)]
    if wrong.size:
        raise ValueError(
            f"{name} {wrong[0]} is not a position in [0, {n}): the batch and info.json "
            "come from different data"
        )


def _refuse_duplicates(held_out: HeldOut) -> None:
    codes = np.sort(held_out.codes)
    twice = codes[1:][codes[1:] == codes[:-1]]
    if twice.size:
        row, item = divmod(int(twice[0]), held_out.width)
        raise ValueError(
            f"row {row} has the target item {item} twice (in one list, or the row is in the "
            "batch twice); prepare the data again with duplicates='first' or 'last'"
        )


def _refuse_leak(held_out: HeldOut, inputs: np.ndarray) -> None:
    row, column = np.nonzero(held_out.contains(inputs))
    if row.size:
        raise ValueError(
            f"Evaluation refuses a leaking split: row {held_out.rows[row[0]]} has target item "
            f"{inputs[row[0], column[0]]} in its input ({np.unique(row).size} rows of this "
            "batch leak)"
        )


def _refuse_diverged(user: np.ndarray, item: np.ndarray, score: np.ndarray) -> None:
    wrong = np.flatnonzero(~np.isfinite(score))
    if wrong.size:
        raise ValueError(
            f"the prediction of user {user[wrong[0]]} for item {item[wrong[0]]} is "
            f"{score[wrong[0]]}: the model diverged"
        )
