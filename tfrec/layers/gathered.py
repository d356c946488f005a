"""Rows of large tables of embeddings."""

import keras
import tensorflow as tf

LARGE = 250_000  # rows from which a table counts as large


def gathered(table: keras.Variable, rows: tf.Tensor) -> tf.Tensor:
    """`tf.gather` that reads these rows alone.

    Keras' variables are read whole before rows are gathered. Once an optimizer has changed rows of
    a variable in place, TensorFlow copies it each time it is read.

    Args:
        table: `[n, ...]`.
        rows: Positions, of any shape.
    """
    return tf.gather(table.value, rows)


def is_large(table: keras.Variable) -> bool:
    """Whether the optimizer's `auto` updates only those rows that are in the batch."""
    return table.shape[0] >= LARGE
