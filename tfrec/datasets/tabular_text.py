"""Delimited text of any kind: separator, header and kind of times are sniffed.

pyarrow reads it a block at a time, and only the columns needed. Where it fails, Python's own csv
module reads the file again, slowly, to find the bad line.
"""

import collections
import csv
import dataclasses
import datetime
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

import numpy
import pandas
import pyarrow
import pyarrow.compute
import pyarrow.csv

from tfrec.config import known_names
from tfrec.datasets import bad_line, columns, files, layouts
from tfrec.datasets.roles import SEPARATORS

ANY = layouts.RatingScale(-3e38, 3e38, 0)

_SAMPLE = 50  # lines that are sniffed
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

    def _open(self, stream: io.RawIOBase) -> pyarrow.csv.CSVStreamingReader:
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
            reader, last = _reader(text, self.separator, self.quoted), 0
            try:
                for fields in reader:
                    first, last = last + 1, reader.line_num
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
                f": {len(fields)} columns separated by {_called(self.separator)}, "
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


def sniff(
    file: files.TextFile, wanted: Mapping[str, str], separator: str = "", header: str = ""
) -> TextTable:
    """Infers the format of a file from its first lines.

    Args:
        file: The file.
        wanted: The file's names of our columns: names of its header, or positions from 1. If
            empty, `user`, `item` and, where it has them, `value`, `time`, `title`.
        separator: Key of `SEPARATORS`; inferred if empty.
        header: "yes" or "no"; inferred if empty.

    Raises:
        ValueError: a column is missing, or times of an unknown format.
    """
    lines = _first_lines(file)
    mark = SEPARATORS.get(separator) or _separator(file, lines, wanted)
    quoted = mark in ",;" or any('"' in line for line in lines)
    rows = [row for row in _reader(lines, mark, quoted) if row]
    positions = {name: int(position) - 1 for name, position in wanted.items() if position.isdigit()}
    by_position = bool(wanted) and len(positions) == len(wanted)
    has_header = not by_position or _is_header(rows, positions) if not header else header == "yes"
    if not has_header and not by_position:
        given = ",".join(f"{name}={i}" for i, name in enumerate(wanted or ("user", "item"), 1))
        raise ValueError(
            f"--columns: {file.where} has no header (header=no), so columns go by position, such "
            f"as --columns={given},header=no"
        )
    names = [text.strip() for text in rows[0]]
    if not has_header:
        names = [f"column {i}" for i in range(1, len(names) + 1)]
    if not by_position:
        positions = _by_name(file, wanted, names, mark)
    for name, position in positions.items():
        if not 0 <= position < len(names):
            raise ValueError(
                f"--columns {name}={position + 1}: {file.where} has the columns 1 to {len(names)}, "
                f"separated by {_called(mark)}"
            )
    table = TextTable(file, positions, names, mark, quoted, has_header)
    data = rows[has_header:]
    if not data:
        raise ValueError(f"{file.where} is empty: it has no data lines")
    return (
        dataclasses.replace(table, times=_times(table, data[0])) if "time" in positions else table
    )


def missing_ids(n: int) -> str:
    """The cure for rows without user or item."""
    return (
        f"{n:,} rows have no user or item: leave them out with --data missing=drop "
        "(missing='drop' in Python), or correct them"
    )


def whole(file: files.TextFile) -> pandas.DataFrame:
    """A small file with a header as a frame of texts, "" where empty.

    Raises:
        ValueError: it is empty, damaged, or a line has too many columns.
    """
    mark = _separator(file, _first_lines(file), {})
    with files.naming(file.where), file.opener() as stream:
        try:
            table = pandas.read_csv(
                stream,
                sep=mark,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                index_col=False,
            )
        except (pandas.errors.ParserError, UnicodeDecodeError) as error:
            raise ValueError(f"{file.where}: {error}; correct that line") from None
    return table.rename(columns=lambda name: str(name).strip()).fillna("")


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


def _first_lines(file: files.TextFile) -> list[str]:
    """The first lines that are not blank."""
    with file.opener() as stream:
        text = stream.read(1 << 20).decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines(keepends=True)[: 2 * _SAMPLE] if line.strip()]
    if not lines:
        raise ValueError(f"{file.where} is empty: it has no lines")
    return lines[:_SAMPLE]


def _reader(lines, separator: str, quoted: bool):
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=separator, quoting=quoting)


def _separator(file: files.TextFile, lines: list[str], wanted: Mapping[str, str]) -> str:
    """The separator that gives all lines as many columns or, if names are wanted, gives these."""
    best, most = "", 1
    names = {name.casefold() for name in wanted.values() if not name.isdigit()}
    for mark in SEPARATORS.values():
        rows = [row for row in _reader(lines, mark, quoted='"' in "".join(lines)) if row]
        if names and len(rows[0]) > 1 and names <= {t.strip().casefold() for t in rows[0]}:
            return mark
        (n, times), = collections.Counter(map(len, rows)).most_common(1)  # fmt: skip
        if n > most and times >= 0.8 * len(rows):
            best, most = mark, n
    if not best:
        raise ValueError(
            f"{file.where}, line 1: no separator gives the first lines as many columns ("
            f"{', '.join(SEPARATORS)} were tried): {lines[0].strip()[:60]!r}; give it with "
            f"--columns ...,separator={'|'.join(SEPARATORS)}"
        )
    return best


def _is_header(rows: list[list[str]], positions: Mapping[str, int]) -> bool:
    """Whether the first line has other text in columns of numbers or times."""
    for name, position in positions.items():
        if name in ("value", "time") and position < len(rows[0]):
            text = rows[0][position].strip()
            number = bad_line.field_reason("value", text, ANY) == ""
            if not (number or (name == "time" and time_kind(text))):
                return True
    return False


def _by_name(
    file: files.TextFile, wanted: Mapping[str, str], names: Sequence[str], mark: str
) -> dict[str, int]:
    """Positions of columns given by name, case-insensitively.

    Raises:
        ValueError: a column is missing, or not unique.
    """
    found = [name.casefold() for name in names]
    if not wanted:
        ours = ("user", "item", "value", "time", "title")
        wanted = {name: name for name in ours if name in ("user", "item") or name in found}
    for name, text in wanted.items():
        n = found.count(text.casefold())
        if n != 1:
            raise ValueError(
                f"{file.where}, line 1: {'no' if not n else f'{n} times the'} column {text!r} for "
                f"{name} among the {len(names)} separated by {_called(mark)}: "
                f"{known_names(text, names)[:200]}; give its name with --columns ...,{name}="
                "COLUMN (a name, or a position from 1), and what separates columns with "
                f"separator={'|'.join(SEPARATORS)}"
            )
    return {name: found.index(text.casefold()) for name, text in wanted.items()}


def _called(separator: str) -> str:
    return next(name for name, mark in SEPARATORS.items() if mark == separator)


def _times(table: TextTable, row: list[str]) -> str:
    text = row[table.positions["time"]] if table.positions["time"] < len(row) else ""
    kind = time_kind(text)
    if not kind:
        raise ValueError(
            f"{table.file.where}, line {1 + table.header}, column {table.positions['time'] + 1} "
            f"({table.names[table.positions['time']]}): {text!r} is neither whole seconds since "
            "1970 nor an ISO time (2024-01-31, 2024-01-31T12:30:00, followed by Z or +01:00); "
            "correct the column, give another with --columns ...,time=COLUMN, or leave time= out"
        )
    return kind
