"""Tables of delimited text of any kind; `text_format` infers separator, header and times.

pyarrow reads it a block at a time, and only the columns needed. Where it fails, Python's own csv
module reads the file again, slowly, to find the bad line.
"""

import csv
import dataclasses
import datetime
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any, NoReturn

import numpy
import pyarrow
import pyarrow.compute
import pyarrow.csv

from tfrec.datasets import bad_line, columns, files, layouts
from tfrec.datasets.roles import SEPARATORS

ANY = layouts.RatingScale(-3e38, 3e38, 0)

_TIMES = {
    "seconds": pyarrow.int64(),
    "day": pyarrow.timestamp("us"),
    "zoned": pyarrow.timestamp("us", "UTC"),
}
_COMPACT = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")


@dataclasses.dataclass(frozen=True)
class TextTable:
    """One file and its format.

    Attributes:
        file: The file.
        positions: Positions, from 0, of the columns to read, by our names.
        names: The file's names of all columns, or "column 1" ... without a header.
        separator: One character.
        quoted: Fields may be in double quotes.
        header: Whether the first line is a header.
        times: "seconds", "day" (ISO without a zone) or "zoned".
        drop: Rows without user or item are left out later; here they have an empty id.
    """

    file: files.TextFile
    positions: dict[str, int]
    names: list[str]
    separator: str
    quoted: bool
    header: bool
    times: str = "seconds"
    drop: bool = False

    @property
    def found(self) -> tuple[str, ...]:
        """Our names of the columns that exist."""
        return tuple(self.positions)

    def frames(self) -> Iterator[pyarrow.Table]:
        """Yields the columns of `positions`, blocks of lines in file order; times in seconds.

        Raises:
            ValueError: a bad line; the error gives its number.
        """
        try:
            with self.file.opener() as stream:
                for batch in self._open(stream):
                    table = pyarrow.Table.from_batches([batch]).rename_columns(list(self.positions))
                    table = _in_seconds(table)
                    if _breaks(table) or not columns.ratings_are_good(table, ANY, self.drop):
                        raise pyarrow.ArrowInvalid("a value is out of range")
                    yield table
        except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
            self._raise_error(" ".join(str(error).split()))

    def locate(self, number: int) -> str | None:
        """File and line of a row, given its number from 0; None if there are fewer."""
        found = next(itertools.islice(self._lines(), number, None), None)
        return f"{self.file.where}, line {found[0]}" if found else None

    def count(self) -> int:
        """The number of rows."""
        return sum(1 for _ in self._lines())

    def _open(self, stream: IO[bytes]) -> pyarrow.csv.CSVStreamingReader:
        types = {"value": pyarrow.float32(), "time": _TIMES[self.times]}
        numbers = [str(position) for position in range(len(self.names))]
        wanted = {str(position): name for name, position in self.positions.items()}
        return pyarrow.csv.open_csv(
            stream,
            pyarrow.csv.ReadOptions(
                block_size=files.BLOCK_BYTES, column_names=numbers, skip_rows=int(self.header)
            ),
            pyarrow.csv.ParseOptions(
                delimiter=self.separator,
                quote_char='"' if self.quoted else False,
                newlines_in_values=self.quoted,
            ),
            pyarrow.csv.ConvertOptions(
                column_types={n: types.get(name, pyarrow.string()) for n, name in wanted.items()},
                include_columns=list(wanted),
                null_values=[],
                strings_can_be_null=False,
            ),
        )

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yields (number of the first line, fields) of each row, slowly."""
        with self.file.opener() as stream:
            text = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")
            rows, last = reader(text, self.separator, self.quoted), 0
            try:
                for fields in rows:
                    first, last = last + 1, rows.line_num
                    if fields and not (self.header and first == 1):
                        yield first, fields
            except csv.Error as error:
                raise ValueError(
                    f"{self.file.where}, from line {last + 1}: {error}; is a quote not closed?"
                ) from None

    def _raise_error(self, problem: str) -> NoReturn:
        """Raises `ValueError` with the number of the first bad line."""
        for line, fields in self._lines():
            if reason := self._reason(fields):
                raise ValueError(f"{self.file.where}, line {line}{reason}")
        raise ValueError(f"{self.file.where}: {problem}")

    def _reason(self, fields: list[str]) -> str:
        """What is wrong with a row, starting with the column, and the cure; "" if nothing is."""
        if len(fields) != len(self.names):
            text = self.separator.join(fields)[:60]
            return (
                f": {len(fields)} columns separated by {called(self.separator)}, "
                f"{len(self.names)} are expected: {text!r}; correct that line (a field that holds "
                "the separator must be in double quotes), or give another one with --columns ...,"
                f"separator={'|'.join(SEPARATORS)}"
            )
        for name, position in self.positions.items():
            if self.drop and name in ("user", "item") and not fields[position]:
                continue
            reason = self._field_reason(name, fields[position])
            if reason and name in ("user", "item") and not fields[position]:
                return (
                    f", column {position + 1} ({self.names[position]}): {reason}; {self._missing()}"
                )
            if reason:
                cure = f"correct that line, or give another column with --columns ...,{name}=COLUMN"
                return f", column {position + 1} ({self.names[position]}): {reason}; {cure}"
        return ""

    def _missing(self) -> str:
        """The number of rows without an id, and the cure."""
        positions = (self.positions["user"], self.positions["item"])
        n = sum("" in (row[i] for i in positions if i < len(row)) for _, row in self._lines())
        return missing_ids(n)

    def _field_reason(self, name: str, text: str) -> str:
        if text != text.encode("utf-8", "replace").decode():
            return "not utf-8 text"
        if name in ("user", "item") and len(text.splitlines()) > 1:
            return f"{text[:40]!r} holds a line break; is a quote not closed?"
        if name != "time":
            return bad_line.field_reason(name, text, ANY)
        if self.times == "seconds":
            late = " (milliseconds? divide them by 1000)" if len(text) > 11 else ""
            reason = bad_line.field_reason(name, text, ANY)
            return reason + late if reason else ""
        if time_kind(text) != self.times:
            return f"{text!r} is not a time like those before it (ISO, such as 2024-01-31T12:30:00)"
        year = text[:4]
        return "" if "1970" <= year < "2106" else f"{text!r} is not a time from 1970 on"


def missing_ids(n: int) -> str:
    """The cure for rows without user or item."""
    return (
        f"{n:,} rows have no user or item: leave them out with --data missing=drop "
        "(missing='drop' in Python), or correct them"
    )


def time_kind(text: str) -> str:
    """The format of a time: "seconds", "day" or "zoned"; "" if unknown."""
    if _COMPACT.fullmatch(text):
        return ""  # 20240131 is a day, not a second of August 1970
    if text.isdigit():
        return "seconds"
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return ""
    return "zoned" if found.tzinfo else "day"


def _breaks(table: pyarrow.Table) -> bool:
    """Whether an id holds a line break."""
    found = (pyarrow.compute.match_substring(table[name], "\n") for name in ("user", "item"))
    return any(pyarrow.compute.any(column).as_py() for column in found)


def _in_seconds(table: pyarrow.Table) -> pyarrow.Table:
    if "time" not in table.column_names or table["time"].type == pyarrow.int64():
        return table
    micros = table["time"].cast(pyarrow.int64()).to_numpy()
    position = table.column_names.index("time")
    return table.set_column(position, "time", pyarrow.array(numpy.floor_divide(micros, 1_000_000)))


def reader(lines: Iterable[str], separator: str, quoted: bool) -> Any:
    """Python's reader of lines, slow, but it knows their numbers."""
    return csv.reader(
        lines, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    )


def called(separator: str) -> str:
    """The name of a separator in `SEPARATORS`."""
    return next(name for name, mark in SEPARATORS.items() if mark == separator)
