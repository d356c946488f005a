"""Sampled negatives, and which of them a row has."""

import keras
import tensorflow as tf


def uniform_items(shape, n_items: int, seed: keras.random.SeedGenerator) -> tf.Tensor:
    """Uniform random items, int32."""
    share = keras.random.uniform(shape, dtype="float32", seed=seed)
    return tf.minimum(tf.cast(share * n_items, tf.int32), n_items - 1)


def in_rows(history: tf.Tensor, rows: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Which items are in which rows, by binary search: no tensor is as wide as the catalogue.

    Args:
        history: int32 `[batch, length]`, padding -1.
        rows: Positions of rows, int64 `[n]`.
        items: int32 `[n, k]`, or `[1, k]` for the same in all rows.

    Returns:
        bool `[n, k]`.
    """
    n_rows = tf.shape(history, tf.int64)[0]
    size = tf.cast(tf.reduce_max([tf.reduce_max(history), tf.reduce_max(items)]), tf.int64) + 2
    known = tf.range(n_rows)[:, tf.newaxis] * size + tf.cast(history, tf.int64) + 1
    known = tf.sort(tf.reshape(known, [-1]))
    asked = rows[:, tf.newaxis] * size + tf.cast(items, tf.int64) + 1
    flat = tf.reshape(asked, [-1])
    at = tf.minimum(tf.searchsorted(known, flat), tf.size(known) - 1)
    return tf.reshape(tf.gather(known, at) == flat, tf.shape(asked))
