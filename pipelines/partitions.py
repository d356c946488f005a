"""Prepares spans by partitions of users, in bounded memory; see `tfrec.data.partitioned`."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.parquet

from tfrec.config import DataConfig
from tfrec.data import partitioned, partitions, prepare, protocol, vocabulary
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.ratings import Ratings
from tfrec.schema import DatasetInfo

from . import engine
from .spans import Span, read_chunk


def number(spans: Sequence[Span], data: DataConfig, wanted: int) -> int:
    """The number of partitions; 1: in memory.

    Args:
        spans: The spans.
        data: Settings of preparing.
        wanted: The number to use; 0: 1 if the ratings take less than half of the memory.

    Raises:
        ValueError: several are wanted, but this data cannot be divided.
    """
    n = sum(span.about["n"] for span in spans)
    has_ids = all(span.about["has_ids"] for span in spans)
    divided = partitioned.is_wanted(n, wanted) and partitioned.is_possible(
        data, has_ids, _columns(spans), wanted
    )
    return partitioned.number(n, wanted) if divided else 1


def _columns(spans: Sequence[Span]) -> set[str]:
    files = [file for span in spans for file in span.files[:1]]
    return {name for file in files for name in pyarrow.parquet.read_schema(file).names}


@dataclasses.dataclass(frozen=True)
class _Chunk:
    """A chunk to cut: its file, its number, its span's codes, and what comes before it."""

    directory: str
    span: str
    codes: int
    file: str
    number: int
    first: int


def write(
    directory: pathlib.Path,
    spans: Sequence[Span],
    raw: RawDataset,
    data: DataConfig,
    engine: engine.Engine,
    n: int,
) -> DatasetInfo:
    """Writes what `prepare.write` writes, in n partitions.

    Args:
        directory: An empty directory, which all workers can access.
        spans: The spans in order.
        raw: The spans as one data set.
        data: Settings of preparing.
        engine: Runs the tasks.
        n: Number of partitions.

    Raises:
        ValueError: the settings do not fit this data set, or the data is invalid.
    """
    protocol.check_source(data, raw)
    work = directory / "partitions"
    coders = {name: vocabulary.Coder(name) for name in ("user", "item")}
    work.mkdir()
    chunks, first = [], 0
    for index, span in enumerate(spans):
        for name, coder in coders.items():
            codes = coder.encode(pd.Series(span.texts(name), dtype=object))
            np.save(work / f"{name}_codes-{index}.npy", codes)
        for file in span.files:
            head = (str(work), str(span.directory), index, str(file))
            chunks.append(_Chunk(*head, number=len(chunks), first=first))
            first += pyarrow.parquet.read_metadata(file).num_rows
    if not first:
        raise ValueError("the data set has no ratings")
    source = partitioned.Source(work, n, *(coder.ids for coder in coders.values()))
    source.start(data)
    engine.map(_cut, chunks)
    preparation = partitioned.Preparation(source, raw, data, engine.map, engine.combine)
    info = preparation.write(directory)
    prepare.write_info(directory, info)
    return info


def _cut(chunk: _Chunk) -> int:
    """Checks a chunk and divides it by partition; returns its number of ratings."""
    span, frame = Span.load(chunk.span), read_chunk(chunk.file)
    finite = np.isfinite(frame["value"].to_numpy(np.float32))
    if not finite.all():
        raise ValueError(
            f"rating {chunk.first + int(np.argmin(finite)) + 1}: value "
            f"{frame['value'].iloc[int(np.argmin(finite))]} is not a finite number"
        )
    columns = {}
    for name in ("user", "item"):
        codes = np.load(f"{chunk.directory}/{name}_codes-{chunk.codes}.npy", mmap_mode="r")
        span.check_codes(name, frame, len(codes))
        column = frame[name].to_numpy()
        if column.min() < 0:
            row = chunk.first + int(np.argmin(column)) + 1
            raise ValueError(f"rating {row}: the {name} id is missing")
        columns[f"{name}s"] = codes[column]
    columns |= {"values": frame["value"].to_numpy(np.float32)}
    columns |= {"times": frame["time"].to_numpy(np.int64)}
    partitions.cut(pathlib.Path(chunk.directory), chunk.number, Ratings(**columns), chunk.first)
    return len(frame)
