"""Histories truncated to their newest items."""

import tensorflow as tf

from tfrec.schema import PAD


def newest_items(items: tf.Tensor, length: int, skip: tf.Tensor | None = None) -> tf.Tensor:
    """The last `length` items of each row, left-padded: the newest item is in the last column.

    Args:
        items: int32 `[batch, any]` in time order; padding (-1) may be anywhere.
        length: Maximum number of items to keep.
        skip: int32 `[batch]`, how many of the newest items to drop first; default 0.

    Returns:
        int32 `[batch, L]`, padded with -1 on the left. L is the smaller of `length` and the number
        of items in the longest row of the batch, but at least 2.
    """
    real = items >= 0
    later = tf.cumsum(tf.cast(real, tf.int32), axis=1, exclusive=True, reverse=True)
    if skip is not None:
        later -= skip[:, None]
    kept = tf.where(real & (later >= 0) & (later < length))
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(real, tf.int32), axis=1), axis=0)
    width = tf.clip_by_value(longest, 2, length)
    column = width - 1 - tf.gather_nd(later, kept)
    indices = tf.stack([kept[:, 0], tf.cast(column, tf.int64)], axis=1)
    shape = tf.cast([tf.shape(items)[0], width], tf.int64)
    return tf.scatter_nd(indices, tf.gather_nd(items, kept) - PAD, shape) + PAD


def columns_of(items: tf.Tensor) -> tf.Tensor:
    """The column of each item, int32 `[batch, length]`, padding -1.

    Cut into windows like the items, they say where to take what belongs to these (`taken`).
    """
    return tf.where(items >= 0, tf.range(tf.shape(items)[1]), PAD)


def taken(entries: tf.Tensor, columns: tf.Tensor, padding: int) -> tf.Tensor:
    """The entries `[batch, length]` of `columns`, int32 `[batch, L]`; `padding` where it is -1."""
    found = tf.gather(entries, tf.maximum(columns, 0), batch_dims=1)
    return tf.where(columns >= 0, found, tf.constant(padding, entries.dtype))
