"""Santander Product Recommendation (Kaggle 2016): which products a bank's customers add.

`train_ver2.csv` has a row for each customer and month: 13.6 million rows, about 956,000 customers,
24 products, January 2015 to May 2016. Its rows are states, but additions are recommended. So the
file is read once, in order of months, with a small state for each customer, and becomes events:
a product that a customer holds, and the month in which it was added.
"""

import collections
import pathlib
import re
from collections.abc import Iterator

import numpy
import pandas
import tqdm

from tfrec.datasets import columns, files, layouts
from tfrec.datasets import santander_layout as layout
from tfrec.datasets.raw_dataset import RawDataset

_ROWS = re.compile(r"\.csv(\.gz)?$")
_NOT_ROWS = re.compile(r"(^|/)(\.|test|sample_sub)", re.IGNORECASE)
_ITEMS = numpy.array(list(layout.PRODUCTS), object)


def read(name: str, found: files.Files, scale: layouts.RatingScale, fold: str | None) -> RawDataset:
    """Reads the months into events of value 1.

    A product is added in a month if the customer holds it then and did not in the previous row.
    Each pair of customer and product gives at most one event, its latest addition; `time` is the
    first day of that month (UTC). Products in a customer's first row were added at an unknown
    time; theirs is the month before.

    Products that were given up give no events, except those given up in the file's last month:
    with `--split=month` that month is the test, whose input must be what was held before it.
    Hence the test is that of the competition: given the products of the month before, which ones
    are added? For the same reason `users` has each customer's fields as of two months before the
    last one, the last in training; customers who joined later have none.

    Args:
        name: Name of the data set.
        found: `train_ver2.csv`, or monthly parts of it in order of names; compressed or not.
        scale: Not used: every value is 1.
        fold: Must be None.

    Raises:
        FileNotFoundError: there is no file of rows.
        ValueError: `fold` is given, months out of order, two rows of a customer in one month, or
            a damaged or malformed file.
    """
    if fold is not None:
        raise ValueError(f"--data split=folds: {name} comes without folds; use --split=month")
    rows = _row_files(found)
    customers = _Customers()
    with tqdm.tqdm(desc=f"reading {name}", unit=" rows", unit_scale=True, disable=None) as bar:
        for file in rows:
            _read_into(customers, file, bar)
    ids, added = customers.additions()
    return RawDataset(
        name=name,
        chunks=lambda: columns.gather(_events(ids, added)),
        users=customers.table(),
        items=pandas.DataFrame({"item": _ITEMS, "title": list(layout.PRODUCTS.values())}),
        fingerprint=files.fingerprint(rows),
        rating_min=scale.minimum,
        rating_max=scale.maximum,
        rating_step=scale.step,
        has_times=True,
        kinds={name: field.kind for name, field in layout.FIELDS.items()} | {"title": "text"},
    )


def _row_files(found: files.Files) -> list[files.TextFile]:
    names = [n for n in found.names if _ROWS.search(n) and not _NOT_ROWS.search(n)]
    whole = [n for n in names if pathlib.PurePosixPath(n).name.startswith("train_ver2.")]
    if not names:
        cure = "pass train_ver2.csv, or its folder, with --raw"
        raise found.missing("rows of customers", cure)
    return [found.file(n) for n in whole[:1] or names]


def _read_into(customers: "_Customers", file: files.TextFile, bar: tqdm.tqdm) -> None:
    """Adds all rows of a file, month by month."""
    names = layout.header(file)
    for first_line, block in file.blocks():
        if first_line == 1:
            first_line, block = 2, block.partition(b"\n")[2]
        if block.strip():
            rows = layout.parse(file, names, first_line, block)
            starts = numpy.flatnonzero(numpy.diff(rows.months, prepend=-1))
            for start, end in zip(starts, [*starts[1:], len(rows.months)], strict=True):
                customers.add(rows, int(start), int(end))
            bar.update(len(rows.months))
    if not customers.month:
        raise ValueError(f"{file.where} is empty: it has no data lines; get the data set again")


class _Customers:
    """The state of every customer after the rows read so far.

    Attributes:
        month: The latest month, counted from January 1970.
    """

    def __init__(self) -> None:
        self.month = 0
        self._positions: dict[str, int] = {}
        self._texts: dict[str, dict[str, int]] = {name: {"": 0} for name in layout.FIELDS}
        # By position. `added` is the month of a product's latest addition, 0 where it is not
        # held; a product given up in the latest row stays in it until the next one.
        self._added = numpy.zeros((0, len(_ITEMS)), numpy.int16)
        self._held = numpy.zeros((0, len(_ITEMS)), bool)
        self._seen = numpy.zeros(0, numpy.int16)
        self._fields = numpy.zeros((0, len(layout.FIELDS)), numpy.int32)
        self._before: collections.deque[numpy.ndarray] = collections.deque(maxlen=2)

    def add(self, rows: layout.Rows, start: int, end: int) -> None:
        """Adds the rows from `start` up to `end`, all of one month."""
        month = int(rows.months[start])
        if month < self.month:
            raise ValueError(
                f"{rows.locate(start)}: {_name(month)} comes after {_name(self.month)}; sort the "
                "rows by fecha_dato"
            )
        if month > self.month:
            if self.month:
                self._before.append(self._fields.copy())
            self.month = month
        at = self._positions_of(rows.customers[start:end])
        self._refuse_twice(rows, start, at)
        held, before = rows.held[start:end], self._held[at]
        first = self._seen[at] == 0
        added = numpy.where(before, self._added[at], 0)
        new = held & ~before
        added[new] = numpy.where(first, month - 1, month)[new.nonzero()[0]]
        self._added[at], self._held[at], self._seen[at] = added, held, month
        for index, (name, (texts, codes)) in enumerate(rows.fields.items()):
            known = self._texts[name]
            ours = [known.setdefault(text, len(known)) for text in texts]
            self._fields[at, index] = numpy.array(ours, numpy.int32)[codes[start:end]]

    def _positions_of(self, customers: numpy.ndarray) -> numpy.ndarray:
        """Positions of raw ids; extends the arrays for new ones."""
        positions = self._positions
        at = [positions.setdefault(raw_id, len(positions)) for raw_id in customers]
        missing = len(positions) - len(self._seen)
        if missing:
            for name in ("_added", "_held", "_seen", "_fields"):
                old = getattr(self, name)
                more = numpy.zeros((missing, *old.shape[1:]), old.dtype)
                setattr(self, name, numpy.concatenate([old, more]))
        return numpy.array(at, numpy.int64)

    def _refuse_twice(self, rows: layout.Rows, start: int, at: numpy.ndarray) -> None:
        order = numpy.argsort(at, kind="stable")
        again = numpy.zeros(len(at), bool)
        again[order[1:]] = at[order[1:]] == at[order[:-1]]
        again |= self._seen[at] == self.month
        if again.any():
            row = start + int(numpy.argmax(again))
            raise ValueError(
                f"{rows.locate(row)}: a second row of customer {rows.customers[row]!r} in "
                f"{_name(self.month)}; leave one out"
            )

    def table(self) -> pandas.DataFrame:
        """All customers with their fields as of two months before the last, in clean text."""
        fields = self._before[0] if self._before else self._fields
        ids = list(self._positions)
        known = numpy.zeros((len(ids), fields.shape[1]), numpy.int32)
        known[: len(fields)] = fields
        columns_ = {
            name: numpy.array(list(self._texts[name]), object)[known[:, index]]
            for index, name in enumerate(layout.FIELDS)
        }
        return pandas.DataFrame({"user": ids, **columns_})

    def additions(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Raw ids `[n]`, and the month of each product's latest addition, int16 `[n, 24]`.

        0 where it is not held; products given up in the file's last month count as held.
        """
        gone = (self._seen < self.month)[:, numpy.newaxis] & ~self._held
        return numpy.array(list(self._positions), object), numpy.where(gone, 0, self._added)


def _events(ids: numpy.ndarray, added: numpy.ndarray) -> Iterator[pandas.DataFrame]:
    """The additions as frames, customer by customer in order of appearance."""
    step = columns.CHUNK_ROWS // 4
    for start in range(0, len(ids), step):
        at, product = added[start : start + step].nonzero()
        months = added[start + at, product].astype("datetime64[M]")
        yield pandas.DataFrame(
            {
                "user": ids[start + at],
                "item": _ITEMS[product],
                "value": numpy.ones(len(at), numpy.float32),
                "time": months.astype("datetime64[s]").astype(numpy.int64),
            }
        )


def _name(month: int) -> str:
    return str(numpy.datetime64(month, "M"))
