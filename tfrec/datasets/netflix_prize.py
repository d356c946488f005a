"""The Netflix Prize's files: `mv_*.txt`, `combined_data_*.txt` and `movie_titles`.

A line "1234:" starts an item; every line below it is `user,rating,YYYY-MM-DD`.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import NoReturn

import numpy
import pandas
import pyarrow
import pyarrow.compute
import pyarrow.csv

from tfrec.datasets import bad_line, columns, files, layouts

_RATINGS = re.compile(r"(mv_\d+|combined_data_\d+)\.txt(\.gz)?$")
_TITLES = ("movie_titles.txt", "movie_titles.csv")
_COLUMNS = {"user": pyarrow.string(), "value": pyarrow.float32(), "time": pyarrow.timestamp("s")}
_ITEM = re.compile(rb"[^,:]+:$")
_RATING = layouts.Layout(("user", "value", "time"), ",")


def rating_files(found: files.Files) -> list[files.TextFile]:
    """The Prize's files of ratings, by number; [] if there are none."""
    names = [n for n in found.names if _RATINGS.match(pathlib.PurePosixPath(n).name)]
    names.sort(key=lambda n: int(re.findall(r"\d+", pathlib.PurePosixPath(n).name)[0]))
    return [found.file(n) for n in names]


def titles(found: files.Files) -> tuple[pandas.DataFrame, list[files.TextFile]]:
    """Items with title and year, and the file they are from; both empty if it is missing."""
    file = next((file for name in _TITLES if (file := found.find(name))), None)
    if file is None:
        return no_titles(), []
    rows = []
    for number, line in enumerate(file.read().decode("latin-1").splitlines(), start=1):
        fields = line.split(",", 2)  # a title may hold commas
        if len(fields) != 3:
            raise ValueError(
                f"{file.where}, line {number}: expected item,year,title, found {line[:60]!r}; "
                f"{bad_line.CURE}"
            )
        rows.append((fields[0], fields[2], "", fields[1] if fields[1].isdigit() else ""))
    return pandas.DataFrame(rows, columns=["item", "title", "genres", "year"], dtype="str"), [file]


def no_titles() -> pandas.DataFrame:
    """An empty frame of items."""
    return pandas.DataFrame({name: pandas.Series([], dtype="str") for name in ("item",)})


def read_ratings(file: files.TextFile, scale: layouts.RatingScale) -> Iterator[pandas.DataFrame]:
    """Yields user, item, value and time, in file order; dates become seconds at midnight UTC.

    Raises:
        ValueError: a bad line; the error gives its number.
    """
    item = ""
    for first_line, block in file.blocks():
        try:
            table, item = _parse(block, item)
            good = columns.ratings_are_good(table, scale)
        except pyarrow.ArrowInvalid:
            good = False
        if not good:
            _raise_error(file.where, first_line, block, item, scale)
        if len(table):
            yield table.to_pandas()


def is_rating(line: bytes) -> bool:
    """Whether a line is neither empty nor "1234:"."""
    return bool(line) and not line.endswith(b":")


def _parse(block: bytes, item: str) -> tuple[pyarrow.Table, str]:
    """Parses lines to columns; "1234:" is read as a row without value and time.

    Args:
        block: Whole lines.
        item: The current item at the start of the block; "" at the start of the file.

    Returns:
        The ratings, and the current item at the end of the block.
    """
    block = (block.replace(b"\r\n", b"\n") + b"\n").replace(b":\n", b":,,\n")
    rows = pyarrow.csv.read_csv(
        pyarrow.BufferReader(block),
        pyarrow.csv.ReadOptions(column_names=list(_COLUMNS)),
        pyarrow.csv.ParseOptions(quote_char=False),
        pyarrow.csv.ConvertOptions(column_types=_COLUMNS, null_values=[""]),
    ).combine_chunks()
    opens = pyarrow.compute.ends_with(rows["user"], ":").to_numpy()
    for name in ("value", "time"):
        if not numpy.array_equal(rows[name].is_null().to_numpy(), opens):
            raise pyarrow.ArrowInvalid(f"{name} is missing")
    opened = pyarrow.compute.utf8_rtrim(rows["user"].filter(opens), ":").to_pylist()
    which = numpy.cumsum(opens)[~opens]
    items = pyarrow.array([item, *opened], pyarrow.string()).take(which)
    ratings = rows.filter(~opens)
    seconds = ratings["time"].cast(pyarrow.int64())
    columns_ = {"user": ratings["user"], "item": items, "value": ratings["value"]}
    return pyarrow.table({**columns_, "time": seconds}), (opened or [item])[-1]


def _raise_error(
    where: str, first_line: int, block: bytes, item: str, scale: layouts.RatingScale
) -> NoReturn:
    """Raises `ValueError` with the number of the first bad line of `block`."""
    for number, raw in enumerate(block.split(b"\n"), start=first_line):
        raw = raw.rstrip(b"\r")
        if _ITEM.match(raw):
            item = raw.decode("utf-8", "replace")
        elif raw and (reason := _reason(raw.decode("utf-8", "replace"), item, scale)):
            raise ValueError(f"{where}, line {number}{reason}; {bad_line.CURE}")
    raise ValueError(f"{where}, from line {first_line}: cannot be read; {bad_line.CURE}")


def _reason(line: str, item: str, scale: layouts.RatingScale) -> str:
    if not item:
        return f": {line[:40]!r} comes before any 'item:' line"
    fields = line.split(",")
    if len(fields) != 3:
        return f": expected 'item:' or user,rating,YYYY-MM-DD, found {line[:60]!r}"
    for number, name in enumerate(("user", "value"), start=1):
        if reason := bad_line.field_reason(name, fields[number - 1], scale):
            return f", column {number} ({name}): {reason}"
    if pandas.isna(pandas.to_datetime(fields[2], format="%Y-%m-%d", errors="coerce")):
        return f", column 3 (time): {fields[2]!r} is not a date YYYY-MM-DD"
    return ""
