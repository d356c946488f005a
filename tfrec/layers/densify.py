"""Padded rows, spread out on the device."""

import tensorflow as tf


def densify(items: tf.Tensor, values: tf.Tensor, n_columns: int) -> tf.Tensor:
    """Spreads padded rows into dense ones, 0 where nothing is observed.

    Args:
        items: int32 `[batch, length]`, positions in [0, n_columns), padding -1. A position
            must not come twice in a row: its values would be added up.
        values: float32 `[batch, length]`.
        n_columns: Width of the result.

    Returns:
        float32 `[batch, n_columns]`.
    """
    batch = tf.shape(items)[0]
    # Padding goes to a spare column: negative indices are an error on the CPU and
    # silently dropped on a GPU.
    columns = tf.where(items < 0, n_columns, items)
    flat = tf.reshape(tf.range(batch)[:, None] * (n_columns + 1) + columns, [-1, 1])
    dense = tf.scatter_nd(flat, tf.reshape(values, [-1]), [batch * (n_columns + 1)])
    return tf.reshape(dense, [batch, n_columns + 1])[:, :n_columns]
