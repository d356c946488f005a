"""Padded sparse rows as dense ones, scattered on the device."""

import keras
import tensorflow as tf


def densify(items: tf.Tensor, values: tf.Tensor, n_columns: int) -> tf.Tensor:
    """Scatters padded rows into dense ones, 0 where nothing is observed.

    Args:
        items: int32 `[batch, length]`, columns in [0, n_columns), padding -1. A column
            must not occur twice in a row: its values would be added up.
        values: float32 `[batch, length]`.
        n_columns: Number of columns of the result.

    Returns:
        float32 `[batch, n_columns]`.
    """
    # Much of a batch may be padding: drop it before the slow scatter.
    observed = tf.where(items >= 0)
    indices = tf.stack([observed[:, 0], tf.cast(tf.gather_nd(items, observed), tf.int64)], 1)
    shape = [tf.shape(items, tf.int64)[0], n_columns]
    return tf.ensure_shape(
        tf.scatter_nd(indices, tf.gather_nd(values, observed), shape), [items.shape[0], n_columns]
    )


def normalized(
    items: tf.Tensor, n_columns: int, dropout: keras.layers.Layer, training: bool
) -> tf.Tensor:
    """Sets of items as dense rows: `shares` in `[batch, n_columns]`, zeros for an empty row."""
    return densify(items, shares(items, dropout, training), n_columns)


def shares(items: tf.Tensor, dropout: keras.layers.Layer, training: bool) -> tf.Tensor:
    """Values of the items of sets: L2-normalized, then with dropout.

    Dropout acts on the sparse entries: on zeros it would have no effect.

    Args:
        items: As in `densify`.
        dropout: A dropout layer.
        training: Whether dropout is active.

    Returns:
        float32 `[batch, length]`, 0 of padding.
    """
    ones = tf.cast(items >= 0, tf.float32)
    length = tf.sqrt(tf.reduce_sum(ones, axis=1, keepdims=True))
    values = dropout(tf.math.divide_no_nan(ones, length), training=training)
    return tf.cast(values, tf.float32)
