"""Reads raw ratings; if they are too many for memory, to partitions of users on disk.

Chunks go to disk as codes while they are read, because the partitions can be chosen only when all
users are known.
"""

import pathlib

import numpy as np

from tfrec.config import DataConfig
from tfrec.data import partitioned, partitions, stages
from tfrec.data.ratings import Collector
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.ratings import Ratings


def read(
    raw: RawDataset, config: DataConfig, directory: pathlib.Path, wanted: int, progress: bool
) -> Collector | partitioned.Source:
    """Reads all ratings: those that fit into memory are collected, others are cut.

    Args:
        raw: The source.
        config: Settings of preparing.
        directory: Where the partitions go; it does not exist.
        wanted: As of `partitioned.is_wanted`.
        progress: As of `stages.with_bar`.

    Raises:
        ValueError: as from `Collector`, or several partitions are wanted but not possible.
    """
    found, sizes = Collector(raw.kinds), []
    decided = divided = False
    for chunk in stages.with_bar(raw.chunks(), progress):
        found.add(chunk)
        if not decided and partitioned.is_wanted(found.n, wanted):
            divided = partitioned.is_possible(config, raw.has_ids, chunk.columns, wanted)
            decided = True
        if divided:
            directory.mkdir(exist_ok=True)
            sizes.append(_save(directory, len(sizes), found.take()))
    if not divided:
        return found
    source = partitioned.Source(directory, partitioned.number(found.n, wanted), *found.ids)
    source.start(config)
    for number, first in enumerate(np.cumsum([0, *sizes[:-1]]).tolist()):
        partitions.cut(directory, number, _load(directory, number), first)
    return source


def _save(directory: pathlib.Path, number: int, data: Ratings) -> int:
    """Writes a chunk; returns its number of ratings."""
    np.savez(_file(directory, number), **{n: getattr(data, n) for n in partitions.COLUMNS})
    return len(data)


def _load(directory: pathlib.Path, number: int) -> Ratings:
    """Reads a chunk and removes it."""
    file = _file(directory, number)
    with np.load(file) as columns:
        data = Ratings(**columns)
    file.unlink()
    return data


def _file(directory: pathlib.Path, number: int) -> pathlib.Path:
    return directory / f"chunk-{number:05d}.npz"
