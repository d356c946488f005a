"""Users and items of interactions, whatever a row of the data is."""

import pathlib
from collections.abc import Iterator

import numpy as np

from tfrec.data import inputs
from tfrec.schema import DatasetInfo

_AT_ONCE = 1 << 16


def read(
    data_dir: str | pathlib.Path, info: DatasetInfo, split: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of users and of items, int32 `[n]` each, some at a time.

    Args:
        data_dir: The prepared data.
        info: Its info.
        split: As for `inputs.histories`: "train", "train+validation", "all" or a held-out part.
    """
    for features, _ in inputs.events(data_dir, info, split, _AT_ONCE, fill=True):
        users, items = features["user"].numpy(), features["item"].numpy()
        yield users[users >= 0], items[users >= 0]


def together(
    data_dir: str | pathlib.Path, info: DatasetInfo, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """What `read` gives, in one piece."""
    users, items = zip(*read(data_dir, info, split), strict=True)
    return np.concatenate(users), np.concatenate(items)


def counts(data_dir: str | pathlib.Path, info: DatasetInfo, split: str) -> np.ndarray:
    """Interactions with each item, int64 `[n_items]`."""
    found = np.zeros(info.n_items, np.int64)
    for _, items in read(data_dir, info, split):
        found += np.bincount(items, minlength=info.n_items)
    return found
