"""Tables of typed columns (Parquet files or frames), converted to the types of our columns."""

import dataclasses
from collections.abc import Iterator

import numpy
import pyarrow
import pyarrow.compute

from tfrec.datasets import bad_line, columns
from tfrec.datasets.tabular_text import ANY, missing_ids, time_kind


@dataclasses.dataclass(frozen=True)
class TypedTable:
    """A table whose columns have types; a subclass provides its batches.

    Attributes:
        columns: The table's names of our columns: user, item and optionally value, time, title,
            part and fields.
        drop: Rows without user or item are left out later; here they have an empty id.
    """

    columns: dict[str, str]
    drop: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def found(self) -> tuple[str, ...]:
        """Our names of the columns that exist."""
        return tuple(self.columns)

    @property
    def where(self) -> str:
        """The table's name in errors."""
        raise NotImplementedError

    @property
    def cure(self) -> str:
        """How to give another column, for errors; `{name}` is our name of it."""
        raise NotImplementedError

    def batches(self) -> Iterator[pyarrow.Table]:
        """Yields the rows in order, with the table's own names."""
        raise NotImplementedError

    def count(self) -> int:
        """The number of rows."""
        raise NotImplementedError

    def frames(self) -> Iterator[pyarrow.Table]:
        """Yields user, item and the other columns, in our types, in file order.

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
                self._raise_error(table, row)
            yield table
            row += len(table)

    def locate(self, number: int) -> str | None:
        """The row in errors, given its number from 0; None if there are fewer."""
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
            if is_id and pyarrow.types.is_floating(
                kind
            ):  # whole numbers with missing ones among them
                column = column.cast(pyarrow.int64())
            if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
                members = column.cast(pyarrow.list_(pyarrow.string()))
                column = pyarrow.compute.binary_join(members, "|")
            return pyarrow.compute.fill_null(column.cast(pyarrow.string()), "")
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
            text = " ".join(str(error).split())
            raise self._error(name, None, f"{kind} cannot be read as {name} ({text})") from None

    def _missing(self, name: str, row: int) -> ValueError:
        """An error with the number of rows without an id; reads the whole table."""
        ids = [self.columns[key] for key in ("user", "item")]
        n = 0
        for batch in self.batches():
            empty = [_is_empty(batch[column]) for column in ids]
            n += pyarrow.compute.sum(pyarrow.compute.or_(*empty)).as_py() or 0
        return ValueError(
            f"{self.where}, row {row + 1}, column {self.columns[name]}: the {name} id is missing; "
            f"{missing_ids(n)}"
        )

    def _raise_error(self, table: pyarrow.Table, row: int) -> None:
        for name in self.columns:
            for i, value in enumerate(table[name].to_pylist()):
                if not value and name in ("user", "item"):
                    if self.drop:
                        continue
                    raise self._missing(name, row + i)
                if reason := bad_line.field_reason(name, str(value), ANY):
                    raise self._error(name, row + i, reason)

    def _error(self, name: str, row: int | None, reason: str) -> ValueError:
        at = "" if row is None else f", row {row + 1}"
        return ValueError(
            f"{self.where}{at}, column {self.columns[name]}: {reason}; correct it, or give "
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
