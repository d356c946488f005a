"""Reads delimited text into frames, a block of lines at a time; `bad_line` makes the errors."""

from collections.abc import Iterable, Iterator

import numpy
import pandas
import pyarrow
import pyarrow.compute
import pyarrow.csv

from tfrec.datasets import bad_line, files, layouts

CHUNK_ROWS = 1_000_000
_UNIT = "\x1f"  # occurs in no file; replaces separators of several bytes

_TYPES = {"value": pyarrow.float32(), "time": pyarrow.int64()}


def read_ratings(
    file: files.TextFile, layout: layouts.Layout, scale: layouts.RatingScale
) -> Iterator[pandas.DataFrame]:
    """Yields the ratings of one file: the layout's columns and a time, in file order.

    Raises:
        ValueError: a bad line; the error gives its number, the column and the cure.
    """
    for first_line, block, columns in _blocks(file, layout):
        try:
            table = _parse(block, columns, layout)
            table = table.select(layout.columns)
            good = ratings_are_good(table, scale) and _are_finite(table, layout.numbers)
        except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
            good, problem = False, str(error)
        else:
            problem = "a value is out of range"
        if not good:
            bad_line.raise_error(file.where, first_line, block, columns, layout, scale, problem)
        frame = table.to_pandas()
        if "time" not in frame:
            frame["time"] = numpy.zeros(len(frame), numpy.int64)
        yield frame


def read_table(file: files.TextFile, layout: layouts.Layout) -> pandas.DataFrame:
    """A small file (users, items) as a frame of strings.

    Raises:
        ValueError: a bad line; the error gives its number.
    """
    frames = []
    for first_line, block, columns in _blocks(file, layout):
        try:
            table = _parse(block, columns, layout)
        except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
            bad_line.raise_error(file.where, first_line, block, columns, layout, None, str(error))
        frames.append(table.select(layout.columns).to_pandas())
    return pandas.concat(frames, ignore_index=True)


def ratings_are_good(
    table: pyarrow.Table, scale: layouts.RatingScale, empty_ids: bool = False
) -> bool:
    """Whether all values and times (if any) are in their ranges, and no id is empty.

    Args:
        table: Rows.
        scale: The range of the values.
        empty_ids: Allow empty ids.
    """
    for name in ("user", "item"):
        if (
            not empty_ids
            and name in table.column_names
            and pyarrow.compute.any(pyarrow.compute.equal(table[name], "")).as_py()
        ):
            return False
    good = True
    if "value" in table.column_names:
        value = table["value"].to_numpy()
        good = ((value >= scale.minimum) & (value <= scale.maximum)).all()  # false for NaN
        if scale.labels:
            good &= ((value == scale.minimum) | (value == scale.maximum)).all()
    if "time" in table.column_names:
        time = table["time"].to_numpy()
        good &= ((time >= 0) & (time < layouts.LAST_TIME)).all()
    return bool(good)


def _are_finite(table: pyarrow.Table, numbers: Iterable[str]) -> bool:
    """Whether all numbers are finite; missing ones are ignored."""
    finite = (pyarrow.compute.all(pyarrow.compute.is_finite(table[name])) for name in numbers)
    return all(found.as_py() is not False for found in finite)  # None: all are missing


def gather(frames: Iterable[pandas.DataFrame]) -> Iterator[pandas.DataFrame]:
    """Concatenates small frames to chunks of about `CHUNK_ROWS` rows."""
    held: list[pandas.DataFrame] = []
    rows = 0
    for frame in frames:
        held.append(frame)
        rows += len(frame)
        if rows >= CHUNK_ROWS:
            yield pandas.concat(held, ignore_index=True)
            held, rows = [], 0
    if held:
        yield pandas.concat(held, ignore_index=True)


def _blocks(
    file: files.TextFile, layout: layouts.Layout
) -> Iterator[tuple[int, bytes, tuple[str, ...]]]:
    """Yields (first line number, lines, columns) without the header line."""
    columns = _columns(file, layout) if layout.header else layout.columns
    empty = True
    for first_line, block in file.blocks():
        if layout.header and first_line == 1:
            first_line, block = 2, block.partition(b"\n")[2]
        if block.strip():
            empty = False
            yield first_line, block, columns
    if empty:
        raise ValueError(f"{file.where} is empty: it has no data lines; get the data set again")


def _columns(file: files.TextFile, layout: layouts.Layout) -> tuple[str, ...]:
    """The columns in file order; those that the layout lacks keep the file's names."""
    line = file.first_line(layout.encoding)
    found = [name.strip('" ') for name in line.split(layout.separator)]
    for name in layout.header:
        if name not in found:
            raise ValueError(
                f"{file.where}, line 1: no column {name!r} (found: {', '.join(found)[:120]}); "
                f"the first line must be {layout.separator.join(layout.header)}"
            )
    ours = dict(zip(layout.header, layout.columns, strict=True))
    return tuple(ours.get(name, f"file:{name}") for name in found)


def _parse(block: bytes, columns: tuple[str, ...], layout: layouts.Layout) -> pyarrow.Table:
    """Parses lines to columns; raises `ArrowInvalid`, which does not give the line."""
    separator = layout.separator
    types = _TYPES | dict.fromkeys(layout.numbers, pyarrow.float32())
    if layout.encoding != "utf-8":
        block = block.decode(layout.encoding).encode()
    if len(separator) > 1:
        block, separator = block.replace(separator.encode(), _UNIT.encode()), _UNIT
    return pyarrow.csv.read_csv(
        pyarrow.BufferReader(block),
        pyarrow.csv.ReadOptions(column_names=columns),
        pyarrow.csv.ParseOptions(delimiter=separator, quote_char='"' if layout.quoted else False),
        pyarrow.csv.ConvertOptions(
            column_types={name: types.get(name, pyarrow.string()) for name in columns},
            null_values=[""] if layout.numbers else [],
            strings_can_be_null=False,
        ),
    )
