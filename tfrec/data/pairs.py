"""Users and items of interactions, for data with rows by user or by item alike."""

import collections
import pathlib
from collections.abc import Iterator

import numpy as np

from tfrec.data import inputs
from tfrec.schema import DatasetInfo

_AT_ONCE = 1 << 16
_DAY = 86_400


def read(
    data_dir: str | pathlib.Path, info: DatasetInfo, split: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields positions of users and of items, int32 `[n]` each, in batches.

    Args:
        data_dir: The prepared data.
        info: Its info.
        split: As for `inputs.histories`: "train", "train+validation", "all" or a held-out part.
    """
    for features, _ in inputs.events(data_dir, info, split, _AT_ONCE, fill=True):
        users, items = features["user"].numpy(), features["item"].numpy()
        yield users[users >= 0], items[users >= 0]


def read_all(
    data_dir: str | pathlib.Path, info: DatasetInfo, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """All that `read` yields, concatenated."""
    users, items = zip(*read(data_dir, info, split), strict=True)
    return np.concatenate(users), np.concatenate(items)


def counts(data_dir: str | pathlib.Path, info: DatasetInfo, split: str) -> np.ndarray:
    """Interactions with each item, int64 `[n_items]`."""
    found = np.zeros(info.n_items, np.int64)
    for _, items in read(data_dir, info, split):
        found += np.bincount(items, minlength=info.n_items)
    return found


def recent_counts(
    data_dir: str | pathlib.Path, info: DatasetInfo, split: str, share: float
) -> np.ndarray:
    """Interactions with each item among the most recent ones, int64 `[n_items]`.

    Args:
        data_dir: The prepared data.
        info: Its info.
        split: As for `read`.
        share: The most recent interactions are those of the last whole days (UTC) that hold at
            least this share of all.

    Returns:
        Zeros where the data has no times.
    """
    found = np.zeros(info.n_items, np.int64)
    if not info.has_times:
        return found
    by_day: collections.Counter[int] = collections.Counter()
    for _, days in _items_and_days(data_dir, info, split):
        for day, n in zip(*np.unique(days, return_counts=True), strict=True):
            by_day[int(day)] += int(n)
    newest = np.array(sorted(by_day, reverse=True))
    so_far = np.cumsum([by_day[day] for day in newest])
    first = newest[np.searchsorted(so_far, share * so_far[-1])]
    for items, days in _items_and_days(data_dir, info, split):
        found += np.bincount(items[days >= first], minlength=info.n_items)
    return found


def _items_and_days(
    data_dir: str | pathlib.Path, info: DatasetInfo, split: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields positions of items and days since 1970, `[n]` each, in batches."""
    for features, _ in inputs.events(data_dir, info, split, _AT_ONCE, fill=True, context=("time",)):
        real = features["user"].numpy() >= 0
        yield features["item"].numpy()[real], features["time"].numpy()[real] // _DAY
