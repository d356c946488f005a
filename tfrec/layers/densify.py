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
    # Padding is most of a batch where lengths differ: leave it out before the slow scatter.
    observed = tf.where(items >= 0)
    places = tf.stack([observed[:, 0], tf.cast(tf.gather_nd(items, observed), tf.int64)], 1)
    shape = [tf.shape(items, tf.int64)[0], n_columns]
    return tf.ensure_shape(
        tf.scatter_nd(places, tf.gather_nd(values, observed), shape), [items.shape[0], n_columns]
    )
