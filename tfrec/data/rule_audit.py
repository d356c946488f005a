"""What rules without learning already answer of a test set.

A split may give its answers away: the items that follow the last input in other histories, or the
items that everyone chose on the day of a test interaction. What a model reaches is to be read
beside these shares.
"""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Iterable

import numpy as np
import scipy.sparse

from tfrec.data import description
from tfrec.data.description import Batch
from tfrec.schema import DatasetInfo

K = 10
MOST = 20_000_000  # training interactions, which are held in memory
ROWS = 10_000  # test rows, the first
_DAY = 86_400


@dataclasses.dataclass(frozen=True)
class Audit:
    """Shares of test rows of which a test item is among K items of a rule, the input left out.

    Attributes:
        rows: Test rows with input and times.
        popularity: Share of them where it is among the most frequent training items.
        day: Among the most frequent training items of the UTC day of the test interaction.
        successors: Among the items that most often follow the last input item in training.
    """

    rows: int
    popularity: float
    day: float
    successors: float


def audit(data_dir: str | pathlib.Path, info: DatasetInfo) -> Audit | None:
    """Counts; None for rows by item, without times or test, or with more than MOST interactions.

    Args:
        data_dir: The prepared data.
        info: Its info.
    """
    if info.rows == "item" or not info.has_times or info.n_ratings.get("train", 0) > MOST:
        return None
    trained: list[Batch] = []
    tested: list[tuple[np.ndarray, Batch]] = []
    for _, parts in description.read_parts(data_dir, info):
        if parts["history"].group == "train":
            trained.append(parts["history"])
        if len(tested) < ROWS:
            tested += _test_rows(info, parts)
    if not tested or not trained:
        return None
    return _counted(info, _Training.of(trained, info.n_items), tested[:ROWS])


def _test_rows(info: DatasetInfo, parts: dict[str, Batch]) -> Iterable[tuple[np.ndarray, Batch]]:
    """The input items, in time order, and the test interactions of rows that have both."""
    test = parts["test"]
    inputs = [parts[part] for part in info.test_history]
    owner, item, time = (
        np.concatenate([getattr(x, name) for x in inputs]) for name in ("row", "column", "time")
    )
    order = np.lexsort((time, owner))
    owner, item = owner[order], item[order]
    for row in np.unique(test.row[test.time > 0]):
        start, stop = np.searchsorted(owner, [row, row + 1])
        if stop > start:
            of = test.row == row
            columns = (getattr(test, x)[of] for x in ("row", "column", "value", "time"))
            yield item[start:stop], Batch(test.group, "test", *columns)


@dataclasses.dataclass(frozen=True)
class _Training:
    """Counts of the training interactions.

    Attributes:
        popular: Items, the most frequent first.
        of_day: Items of each day since 1970, the most frequent first.
        successors: `[n_items, n_items]`, how often one item follows another in a history.
    """

    popular: np.ndarray
    of_day: dict[int, np.ndarray]
    successors: scipy.sparse.csr_matrix

    @classmethod
    def of(cls, batches: list[Batch], n_items: int) -> "_Training":
        row, item, time = (
            np.concatenate([getattr(b, name) for b in batches])
            for name in ("row", "column", "time")
        )
        order = np.lexsort((time, row))
        row, item, day = row[order], item[order], time[order] // _DAY
        same = np.flatnonzero(np.diff(row) == 0)
        ones = np.ones(len(same), np.int32)
        shape = (n_items, n_items)
        follow = scipy.sparse.csr_matrix((ones, (item[same], item[same + 1])), shape)
        by_day = np.argsort(day, kind="stable")
        days, starts = np.unique(day[by_day], return_index=True)
        groups = np.split(item[by_day], starts[1:])
        of_day = {int(d): _by_count(x) for d, x in zip(days, groups, strict=True)}
        return cls(_by_count(item), of_day, follow)

    def following(self, item: int) -> np.ndarray:
        """The items that follow `item`, the most frequent first."""
        found = self.successors[item]
        return found.indices[np.argsort(-found.data, kind="stable")]


def _by_count(items: np.ndarray) -> np.ndarray:
    """Distinct items, the most frequent first."""
    distinct, counts = np.unique(items, return_counts=True)
    return distinct[np.argsort(-counts, kind="stable")]


def _counted(
    info: DatasetInfo, training: _Training, tested: list[tuple[np.ndarray, Batch]]
) -> Audit:
    hits: collections.Counter[str] = collections.Counter()
    following = functools.cache(training.following)
    none = np.zeros(0, np.int64)
    for seen, test in tested:
        hits["popularity"] += _found(training.popular, seen, test.column)
        hits["successors"] += _found(following(int(seen[-1])), seen, test.column)
        days = test.time // _DAY
        hits["day"] += any(
            _found(training.of_day.get(int(day), none), seen, test.column[days == day])
            for day in np.unique(days)
        )
    n = len(tested)
    return Audit(n, *(hits[name] / n for name in ("popularity", "day", "successors")))


def _found(ranked: np.ndarray, seen: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether one of `wanted` is among the first K of `ranked` that are not in `seen`."""
    some = ranked[: K + len(seen)]  # enough: at most len(seen) of them are left out
    return bool(np.isin(some[~np.isin(some, seen)][:K], wanted).any())


def text(found: Audit) -> str:
    """One line."""
    return (
        f"a test item is among the {K} items of a rule for {100 * found.successors:.1f} % "
        f"(successors of the last input), {100 * found.day:.1f} % (popularity on its day), "
        f"{100 * found.popularity:.1f} % (popularity) of {found.rows:,} users"
    )
