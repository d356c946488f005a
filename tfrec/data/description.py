"""Statistics of a prepared directory, counted in two passes over its records.

Memory grows with the number of users and items, not with the number of ratings.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfrec import schema
from tfrec.data import records
from tfrec.schema import DatasetInfo

GRID = 40  # cells of the density map in each direction
_ROWS = 4096  # parsed in one step
_BINS = 40  # of a histogram of values without a known step
_TRAIN = ("train", "history")


@dataclasses.dataclass(frozen=True)
class Batch:
    """One part of some rows, all ratings in flat arrays.

    Attributes:
        group: File group.
        part: One of `schema.PARTS`.
        row: int64 `[n]`, the position of the rating's row (user or item).
        column: int64 `[n]`, the position of its column.
        value: float32 `[n]`.
        time: int64 `[n]`, seconds since 1970, 0 where unknown.
    """

    group: str
    part: str
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    time: np.ndarray


class Description:
    """Statistics of a prepared directory.

    Attributes:
        info: Its info.
        lists: Ratings by (group, part).
        values: `[parts, bins]`, ratings by value.
        edges: `[bins + 1]`, the edges of those bins.
        months: Calendar months since 1970 and `[3]` ratings by part.
        first: Earliest time by (group, part), unknown times left out.
        last: Latest time.
        row_counts: int64 `[n_rows]`, all ratings of a row.
        column_counts: int64 `[n_columns]`.
        train_counts: int64 `[n_columns]`, training ratings only.
        test_counts: int64 `[n_columns]`, test ratings only.
        twice: Number of duplicated ratings by where they are: in two parts ("history and test"),
            or twice in one ("test").
        rows_twice: Rows that are stored more than once.
        without_history: Rows with test ratings but no input.
        before_own: Test ratings earlier than the latest input of their row.
        neighbours: Pairs of neighbouring ratings of a row in time order, all parts together.
        neighbours_tied: Pairs among them with one and the same time.
        tied_with_own: Test ratings with the time of the latest input of their row, so that the
            order inside ties decides which of them is held out.
        before_train: Test ratings earlier than the latest training rating of all.
        density: float `[cells, cells]`, share of filled pairs, at most GRID cells each way; rows
            and columns with the most ratings first.
    """

    def __init__(self, data_dir: str | pathlib.Path, info: DatasetInfo) -> None:
        """Reads everything.

        Raises:
            FileNotFoundError: record files are missing.
        """
        self.info = info
        self.edges = _edges(info)
        self.values = np.zeros((len(schema.PARTS), len(self.edges) - 1), np.int64)
        self.lists: dict[tuple[str, str], int] = {}
        self.months: dict[int, np.ndarray] = {}
        self.first: dict[tuple[str, str], int] = {}
        self.last: dict[tuple[str, str], int] = {}
        self.row_counts = np.zeros(info.n_rows, np.int64)
        self.column_counts, self.train_counts, self.test_counts = (
            np.zeros(info.n_columns, np.int64) for _ in range(3)
        )
        self.twice: dict[str, int] = {}
        self.without_history = self.before_own = self.before_train = 0
        self.neighbours = self.neighbours_tied = self.tied_with_own = 0
        stored = np.zeros(info.n_rows, np.int64)
        for rows, parts in read_parts(data_dir, info):
            stored += np.bincount(rows, minlength=info.n_rows)
            for batch in parts.values():
                self._count(batch)
            self._find_overlaps(parts)
            self._compare_with_history(rows, parts)
            self._count_ties(parts)
        self.rows_twice = int((stored > 1).sum())
        self.density = self._second_pass(data_dir)

    @property
    def has_times(self) -> bool:
        """Whether any time is known."""
        return bool(self.last)

    @property
    def cold_columns(self) -> tuple[int, int]:
        """Columns that are tested but not trained on, and the test ratings on them."""
        cold = (self.test_counts > 0) & (self.train_counts == 0)
        return int(cold.sum()), int(self.test_counts[cold].sum())

    def _count(self, batch: Batch) -> None:
        key, p = (batch.group, batch.part), schema.PARTS.index(batch.part)
        self.lists[key] = self.lists.get(key, 0) + len(batch.row)
        self.row_counts += np.bincount(batch.row, minlength=self.info.n_rows)
        counts = np.bincount(batch.column, minlength=self.info.n_columns)
        self.column_counts += counts
        if key == _TRAIN:
            self.train_counts += counts
        if batch.part == "test":
            self.test_counts += counts
        inside = np.clip(batch.value, self.edges[0], self.edges[-1])
        self.values[p] += np.histogram(inside, self.edges)[0]
        time = batch.time[batch.time > 0]
        if len(time):
            self.first[key] = min(self.first.get(key, 2**62), int(time.min()))
            self.last[key] = max(self.last.get(key, 0), int(time.max()))
            months = time.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
            for month, n in zip(*np.unique(months, return_counts=True), strict=True):
                self.months.setdefault(int(month), np.zeros(3, np.int64))[p] += n

    def _find_overlaps(self, parts: dict[str, Batch]) -> None:
        """Counts ratings that are in two lists, or twice in one."""
        codes = {n: b.row * self.info.n_columns + b.column for n, b in parts.items()}
        for i, (name, ours) in enumerate(codes.items()):
            self._add_twice(name, len(ours) - len(np.unique(ours)))
            for other in list(codes)[i + 1 :]:
                self._add_twice(f"{name} and {other}", len(np.intersect1d(ours, codes[other])))

    def _add_twice(self, where: str, n: int) -> None:
        if n:
            self.twice[where] = self.twice.get(where, 0) + n

    def _compare_with_history(self, rows: np.ndarray, parts: dict[str, Batch]) -> None:
        """Counts test rows without input, and test ratings earlier than their row's input."""
        test, n = parts["test"], self.info.n_rows
        latest = np.full(n, -1, np.int64)
        for part in self.info.test_history:
            np.maximum.at(latest, parts[part].row, parts[part].time)
        self.without_history += int((latest[np.unique(test.row)] < 0).sum())
        self.before_own += int(((test.time < latest[test.row]) & (test.time > 0)).sum())
        self.tied_with_own += int(((test.time == latest[test.row]) & (test.time > 0)).sum())

    def _count_ties(self, parts: dict[str, Batch]) -> None:
        """Counts neighbouring ratings of a row with equal times; unknown times are left out."""
        rows, times = (
            np.concatenate([getattr(batch, name) for batch in parts.values()])
            for name in ("row", "time")
        )
        order = np.lexsort((times, rows))
        order = order[times[order] > 0]
        same_row = np.diff(rows[order]) == 0
        self.neighbours += int(same_row.sum())
        self.neighbours_tied += int((same_row & (np.diff(times[order]) == 0)).sum())

    def _second_pass(self, data_dir: str | pathlib.Path) -> np.ndarray:
        """Counts what needs the totals: density map, test ratings before the end of training."""
        row_cell, column_cell = _cells(self.row_counts), _cells(self.column_counts)
        height, width = (int(cell.max()) + 1 for cell in (row_cell, column_cell))
        found = np.zeros(height * width, np.int64)
        end = self.last.get(_TRAIN, 0)
        for _, parts in read_parts(data_dir, self.info):
            for batch in parts.values():
                cells = row_cell[batch.row] * width + column_cell[batch.column]
                found += np.bincount(cells, minlength=height * width)
            time = parts["test"].time
            self.before_train += int(((time < end) & (time > 0)).sum())
        pairs = np.outer(np.bincount(row_cell), np.bincount(column_cell))
        return found.reshape(height, width) / pairs


def _edges(info: DatasetInfo) -> np.ndarray:
    """Edges of the bins of values: a bin for each possible rating where these are few."""
    low, high, step = info.rating_min, info.rating_max, info.rating_step
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    if step and (high - low) / step <= _BINS:
        return np.arange(low - step / 2, high + step, step)
    return np.linspace(low, high, _BINS + 1)


def _cells(counts: np.ndarray) -> np.ndarray:
    """The cell of each row (or column) of the density map, those with the most first."""
    n, cells = len(counts), np.empty(len(counts), np.int64)
    cells[np.argsort(-counts, kind="stable")] = np.arange(n) * min(GRID, n) // n
    return cells


def read_parts(
    data_dir: str | pathlib.Path, info: DatasetInfo
) -> Iterator[tuple[np.ndarray, dict[str, Batch]]]:
    """Yields the rows of some records, and their parts."""
    spec: dict = {"user": tf.io.FixedLenFeature([], tf.int64)}
    for part in schema.PARTS:
        items, values, times = schema.feature_names(part)
        for name, dtype in ((items, tf.int64), (values, tf.float32), (times, tf.int64)):
            spec[name] = tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
    for group in info.groups:
        paths = records.files(data_dir, info, [group])
        with records.naming_damage(data_dir, info):
            for serialized in tf.data.TFRecordDataset(paths).batch(_ROWS).prefetch(1):
                parsed = tf.io.parse_example(serialized, spec)
                rows = parsed["user"].numpy()
                yield rows, {part: _batch(group, part, rows, parsed) for part in schema.PARTS}


def _batch(group: str, part: str, rows: np.ndarray, parsed: dict) -> Batch:
    items, values, times = (parsed[name] for name in schema.feature_names(part))
    flat = (x.flat_values.numpy() for x in (items, values, times))
    return Batch(group, part, np.repeat(rows, items.row_lengths().numpy()), *flat)
