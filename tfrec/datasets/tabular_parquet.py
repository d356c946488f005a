"""Parquet tables: batches of rows, only the columns that are needed."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from tfrec.config import known_names
from tfrec.datasets import columns, complaints, files
from tfrec.datasets.tabular_text import ANY, time_kind

_ROWS = 1 << 18  # a batch

Batches = Callable[[files.TextFile, list[str]], Iterable[pyarrow.Table]]


def batches(file: files.TextFile, names: list[str]) -> Iterator[pyarrow.Table]:
    """Yields the named columns, through pyarrow.

    Raises:
        ValueError: the file is damaged.
    """
    with files.naming(file.where), file.opener() as stream:
        for batch in pyarrow.parquet.ParquetFile(stream).iter_batches(_ROWS, columns=names):
            yield pyarrow.Table.from_batches([batch])


@dataclasses.dataclass(frozen=True)
class ParquetTable:
    """One file.

    Attributes:
        file: The file.
        places: The file's columns by our names.
        read: What reads it.
    """

    file: files.TextFile
    places: dict[str, str]
    read: Batches = batches

    def frames(self) -> Iterator[pyarrow.Table]:
        """Yields user, item and what else is wanted, in our types, in file order.

        Raises:
            ValueError: a value that is missing or of the wrong kind, with its row.
        """
        row = 0
        for batch in self.read(self.file, list(self.places.values())):
            table = pyarrow.table(
                {
                    name: self._column(batch[column], name, row)
                    for name, column in self.places.items()
                }
            )
            if not columns.ratings_are_good(table, ANY):
                self._complain(table, row)
            yield table
            row += len(table)

    def locate(self, number: int) -> str | None:
        """The place of a row, counted from 0; None if there are fewer."""
        return f"{self.file.where}, row {number + 1}" if number < self.count() else None

    def count(self) -> int:
        """How many rows there are."""
        with self.file.opener() as stream:
            return pyarrow.parquet.ParquetFile(stream).metadata.num_rows

    def _column(self, column: pyarrow.ChunkedArray, name: str, row: int) -> pyarrow.ChunkedArray:
        """A column in our type."""
        if column.null_count:
            if name == "title":
                return pyarrow.compute.fill_null(column.cast(pyarrow.string()), "")
            missing = int(numpy.argmax(column.is_null().to_numpy()))
            raise self._error(name, row + missing, "the value is missing; fill or drop such rows")
        kind = column.type
        try:
            if name == "time":
                return _seconds(column)
            if name == "value":
                return column.cast(pyarrow.float32(), safe=False)
            if pyarrow.types.is_floating(kind):  # whole numbers beside missing ones become these
                column = column.cast(pyarrow.int64())
            return column.cast(pyarrow.string())
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
            text = " ".join(str(error).split())
            raise self._error(name, None, f"{kind} cannot be read as {name} ({text})") from None

    def _complain(self, table: pyarrow.Table, row: int) -> None:
        for name in self.places:
            for i, value in enumerate(table[name].to_pylist()):
                if reason := complaints.field_reason(name, str(value), ANY):
                    raise self._error(name, row + i, reason)

    def _error(self, name: str, row: int | None, reason: str) -> ValueError:
        place = "" if row is None else f", row {row + 1}"
        return ValueError(
            f"{self.file.where}{place}, column {self.places[name]}: {reason}; mend it, or name "
            f"another column with --columns ...,{name}=COLUMN"
        )


def look(file: files.TextFile, wanted: Mapping[str, str], read: Batches) -> ParquetTable:
    """Finds the wanted columns; empty: `user`, `item` and, where there, `value`, `time`, `title`.

    Raises:
        ValueError: it is no Parquet file, or a column is not there.
    """
    with files.naming(file.where), file.opener() as stream:
        names = pyarrow.parquet.ParquetFile(stream).schema_arrow.names
    if not wanted:
        ours = ("user", "item", "value", "time", "title")
        wanted = {name: name for name in ours if name in ("user", "item") or name in names}
    for name, column in wanted.items():
        if column not in names:
            raise ValueError(
                f"{file.where}: no column {column!r} for {name}; "
                f"{known_names(column, names)[:200]}; say which it is with --columns ...,"
                f"{name}=COLUMN"
            )
    return ParquetTable(file, dict(wanted), read)


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
