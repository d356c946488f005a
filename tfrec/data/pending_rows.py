"""The last stages of preparing: vocabularies and tables, then rows, block by block."""

import dataclasses
import pathlib
import shutil

import numpy as np

from tfrec import schema
from tfrec.config import DataConfig
from tfrec.data import blocks, fields, summary, vocabulary
from tfrec.data.stages import Indexed, Parts
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.schema import DatasetInfo


@dataclasses.dataclass(frozen=True)
class PendingRows:
    """Rows on disk that are not encoded yet.

    Attributes:
        directory: The directory that holds them.
        tasks: The blocks to encode.
        orders: The rows of each record file, in their order.
        info: The info of the finished data set.
    """

    directory: pathlib.Path
    tasks: list[blocks.Block]
    orders: dict[str, np.ndarray]
    info: DatasetInfo


def scatter(
    directory: pathlib.Path, indexed: Indexed, raw: RawDataset, config: DataConfig
) -> PendingRows:
    """Writes vocabularies and side tables, and the ratings as blocks of rows.

    Args:
        directory: An empty directory.
        indexed: As from `stages.index`.
        raw: The source, for `info.json`.
        config: `rows`, `shards` and `seed` determine how rows are distributed over files.

    Raises:
        ValueError: there is nothing to train on.
    """
    data, parts = indexed.parts.kept.ratings, indexed.parts
    counts = blocks.counts(data, parts.part, config.rows, len(parts.group))
    rows = announce(directory, indexed, counts, raw, config)
    tasks = blocks.scatter(rows.directory, data, parts.part, config.rows, counts)
    return dataclasses.replace(rows, tasks=tasks)


def announce(
    directory: pathlib.Path,
    indexed: Indexed,
    counts: np.ndarray,
    raw: RawDataset,
    config: DataConfig,
) -> PendingRows:
    """Writes vocabularies and side tables, and plans the record files; there are no tasks yet.

    Args:
        directory: As of `scatter`.
        indexed: As of `scatter`; its ratings are not used.
        counts: Ratings by row and part, `[n_rows, 3]`.
        raw: As of `scatter`.
        config: As of `scatter`.
    """
    info = summary.info(indexed, counts, raw, config)
    _write_vocabularies(directory, indexed)
    work = directory / "blocks"
    work.mkdir()
    return PendingRows(work, [], _orders(indexed.parts, counts, config), info)


def gather(directory: pathlib.Path, rows: PendingRows, run: blocks.Run) -> DatasetInfo:
    """Encodes the rows, writes the record files, and removes the blocks.

    Args:
        directory: Where the record files go.
        rows: As from `scatter`.
        run: Runs the tasks.
    """
    run(blocks.encode, rows.tasks)
    run(blocks.gather, blocks.files(rows.directory, directory, rows.orders))
    shutil.rmtree(rows.directory)
    return rows.info


def _orders(parts: Parts, counts: np.ndarray, config: DataConfig) -> dict[str, np.ndarray]:
    """The rows of each record file, in their order."""
    orders: dict[str, np.ndarray] = {}
    for code, name in enumerate(parts.groups):
        stored = np.flatnonzero((counts.sum(1) > 0) & (parts.group == code))
        order = blocks.shuffled(stored, config.seed, code)
        orders |= blocks.shards_of(name, config.shards if name == "train" else 1, order)
    return orders


def _write_vocabularies(directory: pathlib.Path, indexed: Indexed) -> None:
    """Writes the raw ids, and side tables that have fields as text and as numbers."""
    kept = indexed.parts.kept
    for of, ids, ids_file, fields_file in (
        ("user", kept.user_ids, schema.USERS_FILE, schema.USER_FIELDS_FILE),
        ("item", kept.item_ids, schema.ITEMS_FILE, schema.ITEM_FIELDS_FILE),
    ):
        vocabulary.write(directory / ids_file, ids)
        table = indexed.tables[of]
        if len(table.columns) > 1:
            table.to_csv(directory / fields_file, index=False, lineterminator="\n")
    fields.write(directory, indexed.columns)
