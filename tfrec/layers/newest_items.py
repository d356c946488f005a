"""Histories cut to what a sequence model looks at."""

import tensorflow as tf

from tfrec.schema import PAD


def newest(items: tf.Tensor, length: int, skip: tf.Tensor | None = None) -> tf.Tensor:
    """The last `length` items of each row, the newest in the last place.

    Args:
        items: int32 `[batch, any]` in time order; padding (-1) may be anywhere.
        length: Most items to keep.
        skip: int32 `[batch]`, how many of the newest to leave out first; none: 0.

    Returns:
        int32 `[batch, L]`, padding (-1) in front. L is `length` or, where no row of the batch is
        that long, the longest row's items, at least 1: nothing is computed for nothing.
    """
    real = items >= 0
    later = tf.cumsum(tf.cast(real, tf.int32), axis=1, exclusive=True, reverse=True)
    if skip is not None:
        later -= skip[:, None]
    kept = tf.where(real & (later >= 0) & (later < length))
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(real, tf.int32), axis=1), axis=0)
    width = tf.clip_by_value(longest, 2, length)
    column = width - 1 - tf.gather_nd(later, kept)
    places = tf.stack([kept[:, 0], tf.cast(column, tf.int64)], axis=1)
    shape = tf.cast([tf.shape(items)[0], width], tf.int64)
    return tf.scatter_nd(places, tf.gather_nd(items, kept) - PAD, shape) + PAD
