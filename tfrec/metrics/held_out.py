"""The held-out entries of one batch, checked: no leak, no duplicate, no stray position."""

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
        row: `[N]` which row of the batch an entry belongs to, rising.
        item: `[N]` int64 target positions.
        count: `[batch]` targets of each row.
        width: Columns of a row; `rows * width + item` is the code of an entry.
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
        """`[batch, K]` bool: which of `items` `[batch, K]` are targets of their row."""
        places = np.arange(len(self.rows))[:, np.newaxis] * self.width
        inside = (items >= 0) & (self.rows >= 0)[:, np.newaxis]
        found = np.zeros(items.shape, bool)
        found[inside] = np.isin((places + items)[inside], self.row * self.width + self.item)
        return found


def read(info: DatasetInfo, features: Mapping[str, Any], targets: Mapping[str, Any]) -> HeldOut:
    """Checks a batch and takes its targets out.

    Args:
        info: Of the data the batch comes from.
        features: "user" `[batch]`, -1 for filler rows; "items" `[batch, L]`, the input.
        targets: "target_items" `[batch, M]`, padded with -1.

    Raises:
        ValueError: a target is also in its row's input, or named twice, or a position
            does not exist, or a feature is missing.
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


def _int(arrays: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"the report needs {name!r}; the batch holds {sorted(arrays)}")
    return np.asarray(arrays[name]).astype(np.int64)


def _refuse_outside(name: str, positions: np.ndarray, n: int) -> None:
    wrong = positions[(positions < PAD) | (positions >= n)]
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
            "batch twice); prepare the data anew with duplicates='first' or 'last'"
        )


def _refuse_leak(held_out: HeldOut, inputs: np.ndarray) -> None:
    row, column = np.nonzero(held_out.contains(inputs))
    if row.size:
        raise ValueError(
            f"Evaluation refuses a leaking split: row {held_out.rows[row[0]]} has target item "
            f"{inputs[row[0], column[0]]} in its input, too ({np.unique(row).size} rows of this "
            "batch leak)"
        )
