"""Writes rows block by block: ratings are scattered to blocks, sorted, encoded and gathered.

Once each rating is assigned to a part of a row, no step needs all ratings in memory: `scatter`
splits them into blocks of consecutive rows on disk, `encode` makes the records of one block,
`gather` writes one record file. The latter two take a small task each, so that they run one
after the other here or in parallel in the workers of a pipeline, and write the same bytes.
How rows are divided into blocks changes no record file: `tfrec.data.partitions` has its own.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tfrec import schema
from tfrec.data import example_encoding, record_file
from tfrec.data.ratings import Ratings

_RATINGS = 1_000_000  # in a block; sorting and encoding it takes about 100 MB
_SLICE = 4_000_000  # ratings scattered in one step
_HELD = 1 << 25  # bytes of records that are held while a file is gathered
_CUT = "cut.json"
_BLOCKS = "block_of_row.npy"

Run = Callable[[Callable[[Any], Any], list[Any]], list[Any]]
"""Applies a function to each task and returns the results in order."""


def in_process(function: Callable[[Any], Any], tasks: list[Any]) -> list[Any]:
    """The plain `Run`: one task after the other."""
    return [function(task) for task in tasks]


def combine_in_process(
    function: Callable[[Any], Any],
    merge: Callable[[Any, Any], Any],
    tasks: Iterable[tuple[str, Any]],
) -> dict[str, Any]:
    """One task after the other; merges their results by key."""
    merged: dict[str, Any] = {}
    for key, task in tasks:
        result = function(task)
        merged[key] = merge(merged[key], result) if key in merged else result
    return merged


@dataclasses.dataclass(frozen=True)
class Block:
    """A task of `encode`: the block's number in the directory that `scatter` filled."""

    directory: str
    number: int


@dataclasses.dataclass(frozen=True)
class File:
    """A task of `gather`.

    Attributes:
        directory: What `scatter` filled; holds the file's rows, in order, as `<name>.npy`.
        path: The record file to write.
    """

    directory: str
    path: str


def counts(ratings: Ratings, part: np.ndarray, rows: str, n_rows: int) -> np.ndarray:
    """Ratings by row and part, int64 `[n_rows, 3]`."""
    n_parts = len(schema.PARTS)
    total = np.zeros(n_rows * n_parts, np.int64)
    row = _row(ratings, rows)
    for at in _slices(len(row)):
        total += np.bincount(row[at].astype(np.int64) * n_parts + part[at], minlength=len(total))
    return total.reshape(-1, n_parts)


def scatter(
    directory: pathlib.Path, ratings: Ratings, part: np.ndarray, rows: str, counts: np.ndarray
) -> list[Block]:
    """Writes the ratings to `directory`, in file order within each block of rows.

    Args:
        directory: An empty directory.
        ratings: With users and items as positions, in file order.
        part: int8 `[n]`, the part of each rating; no rating is dropped.
        rows: "user" or "item".
        counts: Ratings by row and part, `[n_rows, 3]`.

    Returns:
        The blocks, as tasks of `encode`.
    """
    block_of_row = ((np.cumsum(counts.sum(1)) - 1).clip(0) // _RATINGS).astype(np.uint32)
    assign_rows(directory, block_of_row)
    n_blocks = int(block_of_row[-1]) + 1
    row = _row(ratings, rows)
    columns = {
        "row": row,
        "column": ratings.items if rows == "user" else ratings.users,
        "value": ratings.values,
        "time": ratings.times,
        "part": part,
        **{f"field_{name}": entries for name, entries in ratings.context.items()},
    }
    bounds = []
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(_open_column(directory, name, column))
            for name, column in columns.items()
        }
        for at in _slices(len(row)):
            block = block_of_row[row[at]]
            order = np.argsort(block, kind="stable")
            ends = np.cumsum(np.bincount(block, minlength=n_blocks)) + at.start
            bounds.append([at.start, *ends.tolist()])
            for name, column in columns.items():
                column[at][order].tofile(files[name])
    cut = {"bounds": bounds, "fields": sorted(ratings.context)}
    (directory / _CUT).write_text(json.dumps(cut))
    return [Block(str(directory), number) for number in range(n_blocks)]


def assign_rows(directory: pathlib.Path, block_of_row: np.ndarray) -> None:
    """Writes which block has which rows.

    Args:
        directory: That of the blocks.
        block_of_row: uint32 `[n_rows]`.
    """
    np.save(directory / _BLOCKS, block_of_row)


def encode(block: Block) -> int:
    """Sorts a block's ratings into rows and writes their records; returns the number of rows."""
    directory = pathlib.Path(block.directory)
    cut = json.loads((directory / _CUT).read_text())
    pieces = [(b[block.number], b[block.number + 1]) for b in cut["bounds"]]
    names = ("row", "column", "value", "time", "part", *(f"field_{n}" for n in cut["fields"]))
    return write_records(block, {name: _read_column(directory, name, pieces) for name in names})


def write_records(block: Block, columns: Mapping[str, np.ndarray]) -> int:
    """Sorts ratings into the rows of a block and writes their records.

    Args:
        block: The block; `assign_rows` has written its rows.
        columns: `row`, `column`, `value`, `time`, `part` and `field_<name>` of the ratings, each
            `[n]`, in file order.

    Returns:
        The number of rows.
    """
    directory = pathlib.Path(block.directory)
    rows = np.flatnonzero(np.load(directory / _BLOCKS, mmap_mode="r") == block.number)
    part, n_parts = columns["part"], len(schema.PARTS)
    lists = np.searchsorted(rows, columns["row"]) * n_parts + part
    order = _order(lists, columns["time"])
    per_row = np.bincount(lists, minlength=len(rows) * n_parts).reshape(-1, n_parts)
    found = {"user": rows}
    starts = {"user": np.arange(len(rows) + 1)}
    lists_of = [columns[name] for name in ("column", "value", "time")]
    fields = {n.removeprefix("field_"): x for n, x in columns.items() if n.startswith("field_")}
    for p, name in enumerate(schema.PARTS):
        of_part = order[part[order] == p]  # row after row
        features = dict(zip(schema.feature_names(name), lists_of, strict=True))
        features |= {schema.context_name(name, field): x for field, x in fields.items()}
        found |= {feature: entries[of_part] for feature, entries in features.items()}
        starts |= dict.fromkeys(features, np.concatenate([[0], np.cumsum(per_row[:, p])]))
    sizes = []
    with (directory / f"records-{block.number}").open("wb") as file:
        for record in example_encoding.examples(found, starts):
            sizes.append(len(record))
            file.write(record)
    np.save(directory / f"sizes-{block.number}.npy", np.array(sizes, np.int64))
    return len(sizes)


def _order(lists: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The order by list, then by time; ties keep file order."""
    if len(times) and times.min() >= 0 and times.max() < 2**32:
        return np.argsort(lists << 32 | times, kind="stable")  # one key: twice as fast
    return np.lexsort((times, lists))


def files(
    directory: pathlib.Path, target: pathlib.Path, orders: Mapping[str, np.ndarray]
) -> list[File]:
    """Tasks of `gather`: record files with the rows of `orders`, in that order, by file name."""
    for name, order in orders.items():
        np.save(directory / f"{name}.npy", order)
    return [File(str(directory), str(target / name)) for name in orders]


def gather(file: File) -> int:
    """Writes one record file from the encoded blocks; returns its number of records."""
    directory, path = pathlib.Path(file.directory), pathlib.Path(file.path)
    block_of_row = np.load(directory / _BLOCKS)
    n_rows = np.bincount(block_of_row)
    rows = np.load(directory / f"{path.name}.npy")
    block, index = block_of_row[rows], _index_in_block(block_of_row, n_rows)[rows]
    start, size = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for number in np.unique(block).tolist():
        sizes, own = np.load(directory / f"sizes-{number}.npy"), block == number
        start[own], size[own] = (np.cumsum(sizes) - sizes)[index[own]], sizes[index[own]]
    pieces = (_records(directory, block[at], start[at], size[at]) for at in _pieces(size))
    record_file.write(path, itertools.chain.from_iterable(pieces))
    return len(rows)


def _pieces(size: np.ndarray) -> Iterator[slice]:
    """Consecutive records that are held in memory at once."""
    piece = np.cumsum(size) // _HELD
    bounds = np.flatnonzero(np.diff(piece, prepend=-1, append=np.inf))
    return (slice(start, end) for start, end in itertools.pairwise(bounds.tolist()))


def _records(
    directory: pathlib.Path, block: np.ndarray, start: np.ndarray, size: np.ndarray
) -> list[bytes]:
    """Reads records from the files of their blocks, of which only one is open at a time."""
    found = [b""] * len(block)
    for number in np.unique(block).tolist():
        with (directory / f"records-{number}").open("rb") as file:
            for i in np.flatnonzero(block == number).tolist():
                found[i] = os.pread(file.fileno(), int(size[i]), int(start[i]))
    return found


def _index_in_block(block_of_row: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """How many rows of its block are before each row, `[n_rows]`."""
    order = np.argsort(block_of_row, kind="stable")
    index = np.empty(len(order), np.int64)
    index[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return index


def shuffled(candidates: np.ndarray, seed: int, group: int) -> np.ndarray:
    """A random order in which to store a group's rows, so that small shuffle buffers suffice."""
    return np.random.default_rng([seed, 2, group]).permutation(candidates)


def shards_of(group: str, shards: int, order: np.ndarray) -> dict[str, np.ndarray]:
    """Distributes rows over `shards` files (at most one file a row); rows by file name."""
    shards = max(1, min(shards, len(order)))
    names = [f"{group}-{i:05d}-of-{shards:05d}.tfrecord" for i in range(shards)]
    return {name: order[i::shards] for i, name in enumerate(names)}


def _row(ratings: Ratings, rows: str) -> np.ndarray:
    return ratings.users if rows == "user" else ratings.items


def _slices(n: int) -> Iterable[slice]:
    return (slice(start, min(n, start + _SLICE)) for start in range(0, n, _SLICE))


@contextlib.contextmanager
def _open_column(directory: pathlib.Path, name: str, like: np.ndarray) -> Iterator[Any]:
    """A file that becomes the `.npy` of an array of `like`'s type and length."""
    with (directory / f"column-{name}.npy").open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(like)
        np.lib.format.write_array_header_1_0(file, header | {"fortran_order": False})
        yield file


def _read_column(directory: pathlib.Path, name: str, pieces: list[tuple[int, int]]) -> np.ndarray:
    column = np.load(directory / f"column-{name}.npy", mmap_mode="r")
    return np.concatenate([column[start:end] for start, end in pieces])
