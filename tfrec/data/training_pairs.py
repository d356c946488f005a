"""The pairs of user and item that another model was trained on, as positions in this data."""

import pathlib

import numpy as np

from tfrec.data import inputs, vocabulary
from tfrec.schema import ITEMS_FILE, PAD, USERS_FILE, DatasetInfo

_BATCH = 512


def pairs(data_dir: str | pathlib.Path, info: DatasetInfo, split: str) -> np.ndarray:
    """All pairs of row and column that are targets in a split of `inputs`, int64 `[n, 2]`."""
    found = [np.zeros((0, 2), np.int64)]
    for features, targets in inputs.histories(data_dir, info, split, _BATCH, fill=True):
        rows, columns = features["user"].numpy(), targets["target_items"].numpy()
        row, at = np.nonzero((columns >= 0) & (rows >= 0)[:, None])
        found.append(np.stack([rows[row], columns[row, at]], axis=1))
    return np.concatenate(found).astype(np.int64)


def codes(found: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Pairs `[n, 2]` as distinct numbers, row * n_columns + column, int64 in ascending order."""
    row, column = found.T
    return np.unique(row * info.n_columns + column)


def trained_on(
    old_dir: str | pathlib.Path,
    old: DatasetInfo,
    data_dir: str | pathlib.Path,
    info: DatasetInfo,
    split: str = "train+validation",
) -> np.ndarray:
    """The pairs that a model was trained on in other prepared data, as `codes` of this data.

    Users and items are matched by raw id.

    Args:
        old_dir: The other model's prepared data.
        old: Its info; `rows` must be that of `info`.
        data_dir: This prepared data.
        info: Its info.
        split: The split that the other model was trained on, "train" or "train+validation".
    """
    kinds = (USERS_FILE, ITEMS_FILE) if info.rows == "user" else (ITEMS_FILE, USERS_FILE)
    columns = []
    for file, ids in zip(kinds, pairs(old_dir, old, split).T, strict=True):
        position = {x: n for n, x in enumerate(vocabulary.read(pathlib.Path(data_dir) / file))}
        here = [position.get(x, PAD) for x in vocabulary.read(pathlib.Path(old_dir) / file)]
        columns.append(np.array(here, np.int64)[ids])
    both = np.stack(columns, axis=1)
    return codes(both[(both >= 0).all(1)], info)
