"""The record files of a prepared directory: finding them, reading rows back."""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfrec import schema

FORMAT_VERSION = 2  # part of info.json and the fingerprint: raise it when the bytes change
_SCAN = 1024  # records parsed at once while looking for one row


def files(data_dir: str | pathlib.Path, groups: Sequence[str]) -> list[str]:
    """Paths of the groups' record files, sorted.

    Raises:
        FileNotFoundError: a group has no files, or some of its shards are missing.
    """
    paths: list[str] = []
    for group in groups:
        found = sorted(pathlib.Path(data_dir).glob(f"{group}-*-of-*.tfrecord"))
        n = int(found[0].stem.rpartition("-")[2]) if found else 0
        if not n or len(found) != n:
            raise FileNotFoundError(
                f"--data_dir={data_dir} holds {len(found)} of the {n or 'expected'} {group} record "
                "files; prepare it anew with `python -m tfrec.prepare --overwrite`"
            )
        paths += map(str, found)
    return paths


def read_rows(
    data_dir: str | pathlib.Path, info: schema.DatasetInfo, groups: Sequence[str] | None = None
) -> Iterator[dict[str, np.ndarray | int | str]]:
    """Yields stored rows as dicts: "group", "user", and the lists of `schema.feature_names`.

    Lists of empty parts are there with length 0. For inspection and tests; training reads
    through `tfrec.data.inputs`.

    Args:
        data_dir: A prepared directory.
        info: Its info.
        groups: File groups to read, default all.
    """
    for group in groups or info.groups:
        for record in tf.data.TFRecordDataset(files(data_dir, [group])).as_numpy_iterator():
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


def find_row(
    data_dir: str | pathlib.Path,
    info: schema.DatasetInfo,
    position: int,
    parts: Sequence[str] = ("history",),
) -> dict[str, np.ndarray]:
    """Looks one row up by scanning the files.

    Args:
        data_dir: A prepared directory.
        info: Its info.
        position: Position of the user (of the item for item rows).
        parts: Parts to merge.

    Returns:
        `items` int32, `values` float32 and `times` int64, each `[k]`, in time order.

    Raises:
        ValueError: no row is stored for this position.
    """
    batches = tf.data.TFRecordDataset(files(data_dir, info.groups)).batch(_SCAN)
    spec = {"user": tf.io.FixedLenFeature([], tf.int64)}
    for batch in batches:
        found = np.flatnonzero(tf.io.parse_example(batch, spec)["user"].numpy() == position)
        if len(found):
            return _merge(_decode(batch[int(found[0])].numpy()), parts)
    raise ValueError(
        f"{info.name} holds no row for {info.rows} position {position} (of {info.n_rows}): all "
        "of its ratings were dropped while preparing"
    )


def _merge(row: dict, parts: Sequence[str]) -> dict[str, np.ndarray]:
    names = [schema.feature_names(part) for part in parts]
    items, values, times = (np.concatenate([row[n[i]] for n in names]) for i in range(3))
    order = np.argsort(times, kind="stable")
    return {"items": items[order], "values": values[order], "times": times[order]}
