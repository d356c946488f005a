"""Preparing: raw ratings in, a directory of rows, vocabularies and `info.json` out."""

import contextlib
import json
import math
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import tqdm

from tfrec import aside, locks, schema
from tfrec.config import DataConfig
from tfrec.data import (
    blocks,
    partitioned,
    pending_rows,
    protocol,
    ratings,
    raw_summary,
    spool,
    stages,
    stored,
)
from tfrec.data.stages import Indexed
from tfrec.data.summary import fingerprint
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.schema import DatasetInfo


def prepare(
    raw: RawDataset,
    config: DataConfig,
    data_dir: str | pathlib.Path,
    progress: bool = True,
    overwrite: bool = False,
    run: blocks.Run | None = None,
    n_partitions: int = 0,
) -> DatasetInfo:
    """Prepares `raw` in `data_dir`; does nothing if the same is prepared there already.

    Everything is written to a directory next to `data_dir` and renamed at the end, so that a
    failure leaves nothing half-written. The same source and settings give the same bytes.

    Args:
        raw: A raw data set, as from `tfrec.datasets.registry.load`.
        config: How ratings become rows.
        data_dir: The directory to make.
        progress: Show progress bars on stderr.
        overwrite: Replace data in `data_dir` that was prepared with other settings.
        run: Runs the tasks that write rows (see `blocks`); default: one after the other.
        n_partitions: Number of partitions of users, of which one is in memory at a time; 1: all
            ratings are in memory; 0: by size. The bytes are the same.

    Returns:
        The info of the prepared data.

    Raises:
        ValueError: the settings do not fit this data set, the data is invalid, or `data_dir`
            holds something else.
    """
    data_dir = pathlib.Path(data_dir)
    mark = fingerprint(raw, config)

    def found() -> DatasetInfo | None:
        info = _existing(data_dir, config, mark, overwrite)
        if info is not None and progress:
            print(f"{data_dir} is prepared already: {info.protocol}", file=sys.stderr)
        return info

    aside.sweep(data_dir.absolute().parent, data_dir.absolute().name)
    if (info := found()) is not None:
        return info
    with _alone(data_dir):
        if (info := found()) is not None:  # prepared by the process that held the lock
            return info
        with aside.folder(data_dir) as directory:
            return write(directory, raw, config, progress, run, n_partitions)


def write(
    directory: pathlib.Path,
    raw: RawDataset,
    config: DataConfig,
    progress: bool = True,
    run: blocks.Run | None = None,
    n_partitions: int = 0,
) -> DatasetInfo:
    """Prepares in an empty directory, stage after stage.

    Args:
        directory: Where to write.
        raw: As of `prepare`.
        config: As of `prepare`.
        progress: As of `prepare`.
        run: As of `prepare`.
        n_partitions: As of `prepare`.

    Raises:
        ValueError: the settings do not fit this data set, or the data is invalid.
    """
    protocol.check_source(config, raw)
    run = run or _one_by_one(progress)
    found = spool.read(raw, config, directory / "partitions", n_partitions, progress)
    if isinstance(found, ratings.Collector):
        info = _in_memory(directory, found, raw, config, progress, run)
    else:
        combine = blocks.combine_in_process
        info = partitioned.Preparation(found, raw, config, run, combine).write(directory)
    write_info(directory, info)
    return info


def _in_memory(
    directory: pathlib.Path,
    collected: ratings.Collector,
    raw: RawDataset,
    config: DataConfig,
    progress: bool,
    run: blocks.Run,
) -> DatasetInfo:
    """`write` of ratings that are in memory, but for `info.json`."""
    found = indexed(collected, raw, config)
    if progress:
        print("\n".join(raw_summary.lines(raw, found)), flush=True)
    rows = pending_rows.scatter(directory, found, raw, config)
    del found  # frees the ratings, which are on disk now
    return pending_rows.gather(directory, rows, run)


def write_info(directory: pathlib.Path, info: DatasetInfo) -> None:
    """Writes `info.json`, the last file."""
    text = json.dumps(info.to_dict(), indent=2, sort_keys=True) + "\n"
    (directory / schema.INFO_FILE).write_text(text, encoding="utf-8")


def indexed(collected: ratings.Collector, raw: RawDataset, config: DataConfig) -> Indexed:
    """The stages in memory, from collected ratings to all that is written; as of `write`."""
    # Nested calls: a variable would keep a stage's result in memory during the next stage.
    return stages.index(
        stages.split(stages.clean(stages.gathered(collected, raw), config, raw.locate), config),
        raw,
        config,
    )


def _one_by_one(progress: bool) -> blocks.Run:
    """`blocks.in_process` with a bar on stderr."""
    quiet = None if progress else True  # None: quiet unless on a terminal

    def run(function: Any, tasks: list[Any]) -> list[Any]:
        bar = tqdm.tqdm(tasks, f"writing, {function.__name__}", disable=quiet)
        return blocks.in_process(function, bar)

    return run


def _existing(
    data_dir: pathlib.Path, config: DataConfig, mark: str, overwrite: bool
) -> DatasetInfo | None:
    """The info of data that is prepared already; None if there is none or it is overwritten."""
    if not data_dir.exists() or not any(data_dir.iterdir()):
        return None
    if not (data_dir / schema.INFO_FILE).exists():
        raise ValueError(
            f"--data_dir={data_dir} is not empty and was not prepared by tfrec (it has no "
            f"{schema.INFO_FILE}); choose another --data_dir"
        )
    if overwrite:
        return None
    info = DatasetInfo.load(data_dir)
    if info.fingerprint != mark:
        stored.refuse_other(info, config, data_dir, files=True)
    return info


@contextlib.contextmanager
def _alone(data_dir: pathlib.Path) -> Iterator[None]:
    """Locks `data_dir` while one process prepares it; others wait until it has finished."""
    data_dir = data_dir.absolute()
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    lock = data_dir.with_name(f".{data_dir.name}.lock")
    note = f"another process is preparing {data_dir}: waiting for it to finish"
    with locks.held(lock, note, wait=math.inf, waiting=note):
        yield
