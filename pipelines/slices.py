"""Slices of the test set: by history length, by user group, rare and new items."""

import dataclasses
import pathlib

import numpy as np

from tfrec.data import inputs, vocabulary
from tfrec.schema import ITEMS_FILE, USER_FIELDS_FILE, DatasetInfo

RARE = 10  # training ratings; items with fewer are rare
_LENGTHS = (0, 20, 50, 100, 200)  # lengths of users' histories at which slices start
_MOST_GROUPS = 12  # values of a user field, at most, for slices by its values
_BATCH = 512


@dataclasses.dataclass(frozen=True)
class Slices:
    """Names and members.

    Attributes:
        users: By name, bool `[n_users]`.
        items: By name, bool `[n_items]`.
    """

    users: dict[str, np.ndarray]
    items: dict[str, np.ndarray]


def of(data_dir: pathlib.Path, info: DatasetInfo, known_items: set[str] | None) -> Slices:
    """The non-empty slices of a prepared data set.

    Args:
        data_dir: Prepared data.
        info: Its info.
        known_items: Raw ids of the items that the blessed model knows; None if there is none.
    """
    by_user, by_item = counts(data_dir, info)
    ends = [*_LENGTHS[1:], np.inf]
    users = {
        f"history {low} to {high - 1:g}" if high < np.inf else f"history from {low}": (
            (by_user >= low) & (by_user < high)
        )
        for low, high in zip(_LENGTHS, ends, strict=True)
    }
    file = data_dir / USER_FIELDS_FILE
    if file.exists():
        table = vocabulary.read_table(file)
        for column in table.columns[1:]:
            values = sorted(set(table[column]) - {""})
            if 1 < len(values) <= _MOST_GROUPS:
                users |= {f"{column}={v}": (table[column] == v).to_numpy() for v in values}
    items = {f"items with under {RARE} ratings": by_item < RARE}
    if known_items is not None:
        ids = vocabulary.read(data_dir / ITEMS_FILE)
        items["new items"] = np.array([raw_id not in known_items for raw_id in ids])
    return Slices(
        {name: members for name, members in users.items() if members.any()},
        {name: members for name, members in items.items() if members.any()},
    )


def counts(data_dir: pathlib.Path, info: DatasetInfo) -> tuple[np.ndarray, np.ndarray]:
    """Known ratings by user (training, and the input of held-out users), and training by item."""
    row, column = np.zeros(info.n_rows, np.int64), np.zeros(info.n_columns, np.int64)
    for split in ("train", "test"):
        if split == "test" and len(info.groups) == 1:
            continue
        for features, _ in inputs.histories(data_dir, info, split, _BATCH, fill=True):
            items = features["items"].numpy()
            real = features["user"].numpy() >= 0
            row[features["user"].numpy()[real]] += (items[real] >= 0).sum(1)
            if split == "train":
                column += np.bincount(items[items >= 0], minlength=len(column))
    return (row, column) if info.rows == "user" else (column, row)
