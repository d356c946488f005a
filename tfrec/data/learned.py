"""Which ratings another model has learned from, as positions in these data."""

import pathlib

import numpy as np

from tfrec.data import inputs, vocabulary
from tfrec.schema import ITEMS_FILE, PAD, USERS_FILE, DatasetInfo

_BATCH = 512


def pairs(data_dir: str | pathlib.Path, info: DatasetInfo, split: str) -> np.ndarray:
    """All pairs of row and column that `split` of `inputs` has as targets, int64 `[n, 2]`."""
    found = [np.zeros((0, 2), np.int64)]
    for features, targets in inputs.histories(data_dir, info, split, _BATCH, fill=True):
        rows, columns = features["user"].numpy(), targets["target_items"].numpy()
        row, at = np.nonzero((columns >= 0) & (rows >= 0)[:, None])
        found.append(np.stack([rows[row], columns[row, at]], axis=1))
    return np.concatenate(found).astype(np.int64)


def codes(found: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Pairs `[n, 2]` as numbers, row * n_columns + column, int64 and rising."""
    row, column = found.T
    return np.unique(row * info.n_columns + column)


def learned_by(
    old_dir: str | pathlib.Path,
    old: DatasetInfo,
    data_dir: str | pathlib.Path,
    info: DatasetInfo,
    split: str = "train+validation",
) -> np.ndarray:
    """What a model on other prepared data was trained on, as `codes` of these data.

    Users and items are matched by raw id.

    Args:
        old_dir: The other model's prepared data.
        old: Their info; its rows are of the same kind as those of `info`.
        data_dir: These prepared data.
        info: Their info.
        split: What the other model was trained on, "train" or "train+validation".
    """
    kinds = (USERS_FILE, ITEMS_FILE) if info.rows == "user" else (ITEMS_FILE, USERS_FILE)
    columns = []
    for file, ids in zip(kinds, pairs(old_dir, old, split).T, strict=True):
        position = {x: n for n, x in enumerate(vocabulary.read(pathlib.Path(data_dir) / file))}
        here = [position.get(x, PAD) for x in vocabulary.read(pathlib.Path(old_dir) / file)]
        columns.append(np.array(here, np.int64)[ids])
    both = np.stack(columns, axis=1)
    return codes(both[(both >= 0).all(1)], info)
