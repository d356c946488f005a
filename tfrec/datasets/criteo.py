"""Criteo's display advertising data: rows of a click or none, 13 numbers and 26 categories.

From the Display Advertising Challenge (Kaggle, 2014), 45,840,617 rows over seven days; the
challenge's own test rows have no labels and are not read. Two layouts: as distributed,
`label TAB I1 ... I13 TAB C1 ... C26` without a header, and the same with a first line that
names the columns (`label,I1,...,C26`, in any order, possibly with others). Empty is missing.
"""

import pathlib
import re
from collections.abc import Iterable, Iterator

import numpy
import pandas

from tfrec.datasets import columns, files, layouts
from tfrec.datasets.raw_dataset import RawDataset

BLOCK = 1000  # rows that are stored as one user

_NUMBERS = tuple(f"I{i}" for i in range(1, 14))
_CATEGORIES = tuple(f"C{i}" for i in range(1, 27))
_COLUMNS = ("value", *_NUMBERS, *_CATEGORIES)
_ENDINGS = (".txt", ".csv", ".tsv", ".gz")
_NOT_ROWS = re.compile(r"(^|/)(\.|test\.|readme|license)|\.tar\.gz$", re.IGNORECASE)


def read(name: str, found: files.Files, scale: layouts.RatingScale, fold: str | None) -> RawDataset:
    """Reads labelled rows.

    A row has neither a user nor an item. So that it can be stored like other ratings, `user` is
    the number of its block of 1,000 consecutive rows and `item` its position in the
    block, "0" to "999"; `has_ids` is False, and models must not read them. `value` is the
    label; `time` is unknown. The fields are `I1` to `I13` (float32, NaN where missing) and
    `C1` to `C26` (str, "" where missing).

    Args:
        name: Name of the data set.
        found: `train.txt` (or `.csv`, compressed or not), or else all `.txt`, `.csv`, `.tsv` and
            `.gz` files there except `test.*` and texts about the data; in order of names.
        scale: The labels.
        fold: Must be None.

    Raises:
        FileNotFoundError: there is no file of rows.
        ValueError: `fold` is given, or a file is damaged or malformed.
    """
    if fold is not None:
        raise ValueError(f"--data split=folds: {name} comes without folds; use --split=random")
    rows = _row_files(found)

    def chunks() -> Iterator[pandas.DataFrame]:
        return _with_ids(
            frame for file in rows for frame in columns.read_ratings(file, _layout(file), scale)
        )

    return RawDataset(
        name=name,
        chunks=chunks,
        fingerprint=files.fingerprint(rows),
        rating_min=scale.minimum,
        rating_max=scale.maximum,
        rating_step=scale.step,
        has_times=False,
        kinds=dict.fromkeys(_NUMBERS, "number") | dict.fromkeys(_CATEGORIES, "category"),
        has_ids=False,
    )


def _row_files(found: files.Files) -> list[files.TextFile]:
    names = [n for n in found.names if n.endswith(_ENDINGS) and not _NOT_ROWS.search(n)]
    train = [n for n in names if pathlib.PurePosixPath(n).name.startswith("train.")]
    if not names:
        cure = "unpack train.txt from the archive and pass it, or its folder, with --raw"
        raise found.missing("Criteo rows", cure)
    return [found.file(n) for n in train or names]


def _layout(file: files.TextFile) -> layouts.Layout:
    """Tabs or commas, with or without a header, according to the first line."""
    line = file.first_line()
    separator = "\t" if "\t" in line else ","
    names = ("label", *_NUMBERS, *_CATEGORIES)
    has_header = any(field.strip('" ') in names for field in line.split(separator))
    return layouts.Layout(
        _COLUMNS,
        separator,
        header=names if has_header else (),
        quoted=separator == ",",
        numbers=_NUMBERS,
    )


def _with_ids(frames: Iterable[pandas.DataFrame]) -> Iterator[pandas.DataFrame]:
    """Adds users and items, which number the rows of all frames."""
    first = 0
    for frame in frames:
        row = numpy.arange(first, first + len(frame))
        yield frame.assign(user=(row // BLOCK).astype(str), item=(row % BLOCK).astype(str))
        first += len(frame)
