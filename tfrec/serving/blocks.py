"""Functions of many rows in blocks, which bounds the memory of a large request."""

from collections.abc import Callable, Sequence

import tensorflow as tf


def by_rows(
    function: Callable[..., Sequence[tf.Tensor]],
    rows: Sequence[tf.Tensor],
    size: int | tf.Tensor,
    dtypes: Sequence[tf.DType],
) -> list[tf.Tensor]:
    """`function(*rows)`, computed in blocks of at most `size` rows.

    Args:
        function: Tensors `[m, ...]` -> tensors `[m, ...]`; each row must depend only on the same
            row of the inputs.
        rows: Tensors `[n, ...]`; n may be 0.
        size: Maximum number of rows; the last block may be padded with rows of 0.
        dtypes: Of the tensors that the function returns.
    """
    n = tf.shape(rows[0])[0]
    size = tf.minimum(tf.maximum(1, size), tf.maximum(1, n))
    missing = tf.where(n == 0, size, -n % size)

    def blocks_of(tensor: tf.Tensor) -> tf.Tensor:
        padding = [[0, missing]] + [[0, 0]] * (tensor.shape.rank - 1)
        shape = tf.concat([[-1, size], tf.shape(tensor)[1:]], axis=0)
        return tf.reshape(tf.pad(tensor, padding), shape)

    def whole(tensor: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], axis=0))[:n]

    def run(some: list[tf.Tensor]) -> list[tf.Tensor]:
        shaped = (tf.ensure_shape(x, [None, *r.shape[1:]]) for x, r in zip(some, rows, strict=True))
        return list(function(*shaped))

    done = tf.map_fn(run, [blocks_of(x) for x in rows], fn_output_signature=list(dtypes))
    return [whole(tensor) for tensor in done]
