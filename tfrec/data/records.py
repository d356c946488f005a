"""The record files of a prepared directory: lists and checks them, and reads rows back."""

import contextlib
import functools
import os
import pathlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec import schema
from tfrec.data import stored

FORMAT_VERSION = schema.FORMAT_VERSION
_SCAN = 1024  # records parsed in one step while searching for rows
_LENGTH = struct.Struct("<Q")
_FRAME = 16  # bytes of a record in addition to its data: the length and two checksums


def files(
    data_dir: str | pathlib.Path, info: schema.DatasetInfo, groups: Sequence[str]
) -> list[str]:
    """Paths of the groups' record files, sorted.

    Lengths and numbers of the records are checked in all groups, once a process; TensorFlow
    checks their checksums while it reads them (see `naming_damage`).

    Raises:
        FileNotFoundError: a group has no files, or some of its shards are missing.
        ValueError: a file is damaged, or some rows are missing.
    """
    paths = {group: _shards(pathlib.Path(data_dir), group) for group in info.groups}
    counts = {path: _count(path) for shards in paths.values() for path in shards}
    found = sum(counts.values())
    if found != info.row_counts.get("all", found):
        least = min(counts, key=counts.__getitem__)
        with stored.reading(least):
            raise ValueError(
                f"{counts[least]} rows, and {found} in all record files, where "
                f"{info.row_counts['all']} are expected"
            )
    return [str(path) for group in groups for path in paths[group]]


def _shards(data_dir: pathlib.Path, group: str) -> list[pathlib.Path]:
    found = sorted(data_dir.glob(f"{group}-*-of-*.tfrecord"))
    n = int(found[0].stem.rpartition("-")[2]) if found else 0
    if n and len(found) == n:
        return found
    raise FileNotFoundError(
        f"--data_dir={data_dir} holds {len(found)} of the {n or 'expected'} {group} record files: "
        + stored.cure(data_dir)
    )


def _count(path: pathlib.Path) -> int:
    """Records of a file.

    Raises:
        ValueError: it is damaged.
    """
    with stored.reading(path):
        stat = path.stat()
        return _walk(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _walk(path: pathlib.Path, size: int, modified: int) -> int:
    """Counts records by their lengths; `size` and `modified` are part of the cache's key."""
    n = at = 0
    with path.open("rb") as file:
        while at < size:
            data = os.pread(file.fileno(), _LENGTH.size, at)
            length = _LENGTH.unpack(data)[0] if len(data) == _LENGTH.size else size
            at += length + _FRAME
            n += 1
            if not length or at > size:
                raise ValueError(f"record {n:,} is truncated or invalid")
    return n


@contextlib.contextmanager
def naming_damage(data_dir: str | pathlib.Path, info: schema.DatasetInfo) -> Iterator[None]:
    """Turns TensorFlow's error about damaged records into one that names the file.

    TensorFlow's own error names no file, so all files are read again to find it.

    Raises:
        ValueError: a file is damaged.
    """
    try:
        yield
    except tf.errors.DataLossError:
        for path in files(data_dir, info, info.groups):
            with stored.reading(pathlib.Path(path)):
                for _ in tf.data.TFRecordDataset(path).batch(_SCAN):
                    pass
        raise


def read_rows(
    data_dir: str | pathlib.Path, info: schema.DatasetInfo, groups: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yields stored rows as dicts: "group", "user", and the lists of `schema.feature_names`.

    Lists of empty parts are there with length 0. For inspection and tests; training reads
    through `tfrec.data.inputs`.

    Args:
        data_dir: A prepared directory.
        info: Its info.
        groups: File groups to read, default all.
    """
    for group in groups or info.groups:
        paths = files(data_dir, info, [group])
        with naming_damage(data_dir, info):
            for record in tf.data.TFRecordDataset(paths).as_numpy_iterator():
                yield {"group": group, **_decode(record)}


def _decode(record: bytes) -> dict[str, np.ndarray | int]:
    feature = tf.train.Example.FromString(record).features.feature
    row: dict[str, np.ndarray | int] = {"user": feature["user"].int64_list.value[0]}
    for part in schema.PARTS:
        items, values, times = schema.feature_names(part)
        row[items] = np.array(feature[items].int64_list.value, np.int32)
        row[values] = np.array(feature[values].float_list.value, np.float32)
        row[times] = np.array(feature[times].int64_list.value, np.int64)
    return row


def find_rows(
    data_dir: str | pathlib.Path,
    info: schema.DatasetInfo,
    positions: Sequence[int],
    parts: Sequence[str] = ("history",),
) -> dict[int, dict[str, np.ndarray]]:
    """Finds rows by one scan of the files.

    Args:
        data_dir: A prepared directory.
        info: Its info.
        positions: Positions of users (of items for item rows).
        parts: Parts to merge.

    Returns:
        By position `items` int32, `values` float32 and `times` int64, each `[k]`, in time order;
        a position whose ratings were all dropped is missing.

    Raises:
        ValueError: a record file is damaged.
    """
    wanted = np.unique(np.asarray(positions, np.int64))
    found: dict[int, dict[str, np.ndarray]] = {}
    batches = tf.data.TFRecordDataset(files(data_dir, info, info.groups)).batch(_SCAN)
    spec = {"user": tf.io.FixedLenFeature([], tf.int64)}
    with naming_damage(data_dir, info):
        for batch in batches:
            users = tf.io.parse_example(batch, spec)["user"].numpy()
            for at in np.flatnonzero(np.isin(users, wanted)):
                found[int(users[at])] = _merge(_decode(batch[int(at)].numpy()), parts)
            if len(found) == len(wanted):
                break
    return found


def _merge(row: dict, parts: Sequence[str]) -> dict[str, np.ndarray]:
    names = [schema.feature_names(part) for part in parts]
    items, values, times = (np.concatenate([row[n[i]] for n in names]) for i in range(3))
    order = np.argsort(times, kind="stable")
    return {"items": items[order], "values": values[order], "times": times[order]}
