"""Rows as TFRecords of `tf.train.Example`: encoding, the shard files, reading rows back."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
import tqdm

from tfrec import schema
from tfrec.data.ratings import Ratings

FORMAT_VERSION = 2  # part of info.json and the fingerprint: raise it when the bytes change
_SCAN = 1024  # records parsed at once while looking for one row


@dataclasses.dataclass(frozen=True)
class Rows:
    """Ratings grouped by row and part, each list in (time, file order).

    Attributes:
        columns: int32 `[n]`, what the row lists: items, or users for item rows.
        values: float32 `[n]`.
        times: int64 `[n]`.
        context: The events' own fields by name, int32 or float32 `[n]`.
        starts: int64 `[n_rows * 3 + 1]`; part p of row r is `starts[3 * r + p]` up to the
            next start.
    """

    columns: np.ndarray
    values: np.ndarray
    times: np.ndarray
    context: dict[str, np.ndarray]
    starts: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Ratings by row and part, int64 `[n_rows, 3]`."""
        return np.diff(self.starts).reshape(-1, len(schema.PARTS))


def group_rows(ratings: Ratings, part: np.ndarray, rows: str, n_rows: int) -> Rows:
    """Sorts ratings into rows.

    Args:
        ratings: With positions, in file order.
        part: int8 `[n]`, the part of each rating, none dropped.
        rows: "user" or "item".
        n_rows: Number of users, or of items for item rows.
    """
    row, column = ratings.users, ratings.items
    if rows == "item":
        row, column = column, row
    lists = row.astype(np.int64) * len(schema.PARTS) + part
    order = np.lexsort((ratings.times, lists))  # stable: ties stay in file order
    counts = np.bincount(lists, minlength=n_rows * len(schema.PARTS))
    starts = np.concatenate([[0], np.cumsum(counts)])
    context = {name: entries[order] for name, entries in ratings.context.items()}
    return Rows(column[order], ratings.values[order], ratings.times[order], context, starts)


def encode(rows: Rows, row: int) -> bytes:
    """Serializes one row, the same bytes each time; empty parts are left out."""
    features = {"user": tf.train.Feature(int64_list=tf.train.Int64List(value=[row]))}
    for p, part in enumerate(schema.PARTS):
        start, end = rows.starts[3 * row + p], rows.starts[3 * row + p + 1]
        if start == end:
            continue
        items, values, times = schema.feature_names(part)
        features[items] = _int64s(rows.columns[start:end])
        features[values] = _floats(rows.values[start:end])
        features[times] = _int64s(rows.times[start:end])
        for name, entries in rows.context.items():
            as_feature = _floats if entries.dtype == np.float32 else _int64s
            features[schema.context_name(part, name)] = as_feature(entries[start:end])
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _int64s(numbers: np.ndarray) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=numbers.tolist()))


def _floats(numbers: np.ndarray) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=numbers.tolist()))


def shuffled(candidates: np.ndarray, seed: int, group: int) -> np.ndarray:
    """The order in which a group's rows are stored, so that small shuffle buffers suffice."""
    return np.random.default_rng([seed, 2, group]).permutation(candidates)


def shard_names(group: str, shards: int) -> list[str]:
    """File names such as `train-00000-of-00004.tfrecord`."""
    return [f"{group}-{i:05d}-of-{shards:05d}.tfrecord" for i in range(shards)]


def write_group(
    directory: pathlib.Path, group: str, shards: int, rows: Rows, order: np.ndarray, progress: bool
) -> None:
    """Writes the rows of `order`, the k-th to shard k modulo `shards`.

    Args:
        directory: Where to write.
        group: File group.
        shards: Number of files; never more than there are rows.
        rows: The ratings.
        order: Positions of the rows to write.
        progress: Show a bar on stderr.
    """
    names = shard_names(group, max(1, min(shards, len(order))))
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(tf.io.TFRecordWriter(str(directory / name))) for name in names
        ]
        quiet = None if progress else True  # None: quiet unless on a terminal
        bar = tqdm.tqdm(order.tolist(), f"writing {group}", unit=" rows", disable=quiet)
        for k, row in enumerate(bar):
            writers[k % len(writers)].write(encode(rows, row))


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
