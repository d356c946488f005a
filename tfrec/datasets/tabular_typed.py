"""Batches of typed columns, of Parquet files or of frames, as user, item, value, time and title."""

import dataclasses
from collections.abc import Iterator

import numpy
import pyarrow
import pyarrow.compute

from tfrec.datasets import columns, complaints
from tfrec.datasets.tabular_text import ANY, missing_ids, time_kind


@dataclasses.dataclass(frozen=True)
class TypedTable:
    """A table whose columns have types; a subclass says where its batches come from.

    Attributes:
        columns: The table's names of our columns: user and item, and where there are some value,
            time, title, part and fields.
        drop: Rows without user or item will be left out; here they have an empty id.
    """

    columns: dict[str, str]
    drop: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def found(self) -> tuple[str, ...]:
        """Which of our columns there are."""
        return tuple(self.columns)

    @property
    def where(self) -> str:
        """What errors call the table."""
        raise NotImplementedError

    @property
    def cure(self) -> str:
        """How to name another column; `{name}` is ours."""
        raise NotImplementedError

    def batches(self) -> Iterator[pyarrow.Table]:
        """Yields the rows in order, with the table's own names."""
        raise NotImplementedError

    def count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def frames(self) -> Iterator[pyarrow.Table]:
        """Yields user, item and what else is wanted, in our types, in file order.

        Raises:
            ValueError: a value that is missing or of the wrong kind, with its row.
        """
        row = 0
        for batch in self.batches():
            table = pyarrow.table(
                {
                    name: self._column(batch[column], name, row)
                    for name, column in self.columns.items()
                }
            )
            if not columns.ratings_are_good(table, ANY, self.drop):
                self._complain(table, row)
            yield table
            row += len(table)

    def locate(self, number: int) -> str | None:
        """The place of a row, counted from 0; None if there are fewer."""
        return f"{self.where}, row {number + 1}" if number < self.count() else None

    def _column(self, column: pyarrow.ChunkedArray, name: str, row: int) -> pyarrow.ChunkedArray:
        """A column in our type."""
        kind, is_id = column.type, name in ("user", "item")
        if column.null_count and (name in ("value", "time") or (is_id and not self.drop)):
            missing = row + int(numpy.argmax(column.is_null().to_numpy()))
            if is_id:
                raise self._missing(name, missing)
            raise self._error(name, missing, "the value is missing; fill or drop such rows")
        try:
            if name == "time":
                return _seconds(column)
            if name == "value":
                return column.cast(pyarrow.float32(), safe=False)
            if is_id and pyarrow.types.is_floating(kind):  # whole numbers beside missing ones
                column = column.cast(pyarrow.int64())
            if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
                members = column.cast(pyarrow.list_(pyarrow.string()))
                column = pyarrow.compute.binary_join(members, "|")
            return pyarrow.compute.fill_null(column.cast(pyarrow.string()), "")
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
            text = " ".join(str(error).split())
            raise self._error(name, None, f"{kind} cannot be read as {name} ({text})") from None

    def _missing(self, name: str, row: int) -> ValueError:
        """Counts the rows without an id; reads all of them."""
        ids = [self.columns[key] for key in ("user", "item")]
        n = 0
        for batch in self.batches():
            empty = [_is_empty(batch[column]) for column in ids]
            n += pyarrow.compute.sum(pyarrow.compute.or_(*empty)).as_py() or 0
        return ValueError(
            f"{self.where}, row {row + 1}, column {self.columns[name]}: the {name} id is missing; "
            f"{missing_ids(n)}"
        )

    def _complain(self, table: pyarrow.Table, row: int) -> None:
        for name in self.columns:
            for i, value in enumerate(table[name].to_pylist()):
                if not value and name in ("user", "item"):
                    if self.drop:
                        continue
                    raise self._missing(name, row + i)
                if reason := complaints.field_reason(name, str(value), ANY):
                    raise self._error(name, row + i, reason)

    def _error(self, name: str, row: int | None, reason: str) -> ValueError:
        place = "" if row is None else f", row {row + 1}"
        return ValueError(
            f"{self.where}{place}, column {self.columns[name]}: {reason}; mend it, or name "
            f"another column with {self.cure.format(name=name)}"
        )


def _is_empty(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    is_text = pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)
    if not is_text:
        return column.is_null()
    return pyarrow.compute.equal(pyarrow.compute.fill_null(column, ""), "")


def _seconds(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Whole seconds since 1970, of such numbers, dates, timestamps or ISO texts."""
    if pyarrow.types.is_integer(column.type):
        return column.cast(pyarrow.int64())
    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        kind = time_kind(str(column[0]))
        if kind == "seconds":
            return column.cast(pyarrow.int64())
        column = column.cast(pyarrow.timestamp("us", "UTC" if kind == "zoned" else None))
    micros = column.cast(pyarrow.timestamp("us")).cast(pyarrow.int64()).to_numpy()
    return pyarrow.chunked_array([pyarrow.array(numpy.floor_divide(micros, 1_000_000))])
