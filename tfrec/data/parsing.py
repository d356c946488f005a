"""From parsed records to tensors: parts merged in time order, flattened, padded."""

import functools
from collections.abc import Iterable, Sequence

import tensorflow as tf

from tfrec import schema

_PADDING = {tf.int32: schema.PAD, tf.float32: 0.0, tf.int64: schema.NO_TIME}  # items, values, times


def spec(*lists: Sequence[str], times: bool = False) -> dict:
    """Spec of the parts' features; times too if asked for, or to merge parts in time order."""
    features = _example_spec(dict.fromkeys(part for parts in lists for part in parts))
    for part in (part for parts in lists if times or len(parts) > 1 for part in parts):
        name = schema.feature_names(part)[2]
        features[name] = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
    return features


def _example_spec(parts: Iterable[str]) -> dict:
    """Spec for `tf.io.parse_example`: `user` (int64 scalar), items and values of `parts`."""
    features: dict = {"user": tf.io.FixedLenFeature([], tf.int64)}
    for part in parts:
        items, values, _ = schema.feature_names(part)
        features[items] = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
        features[values] = tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64)
    return features


def merged(parsed: dict, parts: Sequence[str], times: bool = False) -> list[tf.RaggedTensor]:
    """Items (int32), values and with `times` times (int64) of a part, or of several in time order.

    Among equal times the earlier part comes first. All are ragged `[rows, None]`.
    """
    columns = 3 if times or len(parts) > 1 else 2  # times are read only where needed
    lists = [[parsed[name] for name in schema.feature_names(part)[:columns]] for part in parts]
    items, *rest = functools.reduce(_merge, lists)
    # Cast before padding, while there are fewer numbers to convert.
    return [tf.cast(items, tf.int32), *rest[: 2 if times else 1]]


def _merge(first: list[tf.RaggedTensor], second: list[tf.RaggedTensor]) -> list[tf.RaggedTensor]:
    """Two lists of items, values and times as one."""
    indices = _merge_order(first[2], second[2])
    splits = first[2].row_splits + second[2].row_splits
    return [
        tf.RaggedTensor.from_row_splits(
            tf.dynamic_stitch(indices, [a.flat_values, b.flat_values]), splits, validate=False
        )
        for a, b in zip(first, second, strict=True)
    ]


def _merge_order(first: tf.RaggedTensor, second: tf.RaggedTensor) -> list[tf.Tensor]:
    """The indices, int32, of the entries of two lists of times in the merged list.

    Both are in time order within each row, so one binary search each is enough; that is several
    times faster than sorting.
    """
    both = tf.concat([first.flat_values, second.flat_values], 0)
    start = tf.reduce_min(both)
    span = tf.reduce_max(both) - start + 1  # keys order by row, then by time
    keys = [t.flat_values - start + t.value_rowids() * span for t in (first, second)]
    indices = []
    for own, other, side in ((keys[0], keys[1], "left"), (keys[1], keys[0], "right")):
        indices.append(tf.range(tf.size(own)) + tf.searchsorted(other, own, side))
    return indices


def flat_spec(info: schema.DatasetInfo, parts: Sequence[str], context: Sequence[str]) -> dict:
    """Spec of the features that `flat` reads."""
    features = _example_spec(parts)
    kinds = {field.name: field.kind for field in info.fields if field.of == "event"}
    for part in parts:
        for name in context:
            dtype = tf.float32 if kinds.get(name) == "number" else tf.int64
            stored = _stored_name(part, name)
            features[stored] = tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
    return features


def _stored_name(part: str, name: str) -> str:
    return schema.feature_names(part)[2] if name == "time" else schema.context_name(part, name)


def flat(parsed: dict, parts: Sequence[str], context: Sequence[str]) -> list[tf.Tensor]:
    """All ratings of `parts`, one vector each.

    Returns:
        Row positions and items (int32), values, then the fields of `context`: "time" int64,
        codes int32, numbers float32.
    """
    columns = [[] for _ in range(3 + len(context))]
    for part in parts:
        items, values, _ = (parsed.get(name) for name in schema.feature_names(part))
        columns[0].append(tf.repeat(tf.cast(parsed["user"], tf.int32), items.row_lengths()))
        columns[1].append(tf.cast(items.flat_values, tf.int32))
        columns[2].append(values.flat_values)
        for column, name in zip(columns[3:], context, strict=True):
            entries = parsed[_stored_name(part, name)].flat_values
            is_code = entries.dtype == tf.int64 and name != "time"
            column.append(tf.cast(entries, tf.int32) if is_code else entries)
    return [column[0] if len(parts) == 1 else tf.concat(column, 0) for column in columns]


def padded(ragged: tf.RaggedTensor, batch_size: int) -> tf.Tensor:
    """Dense `[batch_size, longest]`; missing rows are all padding."""
    default = _PADDING[ragged.dtype]
    return ragged.to_tensor(default, shape=[batch_size, None])


def filled(positions: tf.Tensor, batch_size: int) -> tf.Tensor:
    """Positions as int32 `[batch_size]`, padding where rows are missing."""
    missing = batch_size - tf.size(positions)
    positions = tf.pad(tf.cast(positions, tf.int32), [[0, missing]], constant_values=schema.PAD)
    return tf.ensure_shape(positions, [batch_size])
