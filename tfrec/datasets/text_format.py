"""Infers the format of delimited text from its first lines: separator, header, kind of times."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import pandas

from tfrec.config import known_names
from tfrec.datasets import bad_line, files
from tfrec.datasets.roles import SEPARATORS
from tfrec.datasets.tabular_text import ANY, TextTable, called, reader, time_kind

_SAMPLE = 50  # lines that are read


def infer(
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
    rows = [row for row in reader(lines, mark, quoted) if row]
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
                f"separated by {called(mark)}"
            )
    table = TextTable(file, positions, names, mark, quoted, has_header)
    data = rows[has_header:]
    if not data:
        raise ValueError(f"{file.where} is empty: it has no data lines")
    return (
        dataclasses.replace(table, times=_times(table, data[0])) if "time" in positions else table
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


def _first_lines(file: files.TextFile) -> list[str]:
    """The first lines that are not blank."""
    with file.opener() as stream:
        text = stream.read(1 << 20).decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines(keepends=True)[: 2 * _SAMPLE] if line.strip()]
    if not lines:
        raise ValueError(f"{file.where} is empty: it has no lines")
    return lines[:_SAMPLE]


def _separator(file: files.TextFile, lines: list[str], wanted: Mapping[str, str]) -> str:
    """The separator that gives all lines as many columns or, if names are wanted, gives these."""
    best, most = "", 1
    names = {name.casefold() for name in wanted.values() if not name.isdigit()}
    for mark in SEPARATORS.values():
        rows = [row for row in reader(lines, mark, quoted='"' in "".join(lines)) if row]
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
                f"{name} among the {len(names)} separated by {called(mark)}: "
                f"{known_names(text, names)[:200]}; give its name with --columns ...,{name}="
                "COLUMN (a name, or a position from 1), and what separates columns with "
                f"separator={'|'.join(SEPARATORS)}"
            )
    return {name: found.index(text.casefold()) for name, text in wanted.items()}


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
