"""Parquet tables, read in batches of rows and only the columns needed."""

import dataclasses
from collections.abc import Iterator, Mapping

import pyarrow
import pyarrow.parquet

from tfrec.config import known_names
from tfrec.datasets import files
from tfrec.datasets.tabular_typed import TypedTable

_ROWS = 1 << 18  # a batch


@dataclasses.dataclass(frozen=True)
class ParquetTable(TypedTable):
    """One file.

    Attributes:
        file: The file.
    """

    file: files.TextFile

    cure = "--columns ...,{name}=COLUMN"

    @property
    def where(self) -> str:
        return self.file.where

    def batches(self) -> Iterator[pyarrow.Table]:
        with files.naming(self.where), self.file.opener() as stream:
            opened, names = pyarrow.parquet.ParquetFile(stream), list(self.columns.values())
            for batch in opened.iter_batches(_ROWS, columns=names):
                yield pyarrow.Table.from_batches([batch])

    def count(self) -> int:
        with self.file.opener() as stream:
            return pyarrow.parquet.ParquetFile(stream).metadata.num_rows


def open_table(file: files.TextFile, wanted: Mapping[str, str]) -> ParquetTable:
    """Opens a file with some columns; by default `user`, `item` and `value`, `time`, `title`.

    Raises:
        ValueError: it is not a Parquet file, or a column is missing.
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
                f"{known_names(column, names)[:200]}; give its name with --columns ...,"
                f"{name}=COLUMN"
            )
    return ParquetTable(dict(wanted), file)
