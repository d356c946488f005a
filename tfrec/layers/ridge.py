"""Batched ridge regression of rows on the vectors of their items: the steps of ALS, and fold-in."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

BLOCK = 1 << 23  # floats of gathered vectors in memory at once: 32 MB


def solve(
    items: tf.Tensor,
    targets: tf.Tensor,
    weights: tf.Tensor,
    table: tf.Tensor,
    penalties: tf.Tensor,
) -> tf.Tensor:
    """Each row's x that minimises sum_j w_j (t_j - v_j . x)^2 + sum_k penalty_k x_k^2.

    Of the two forms of the solution

        x = (V' W V + D)^-1 V' W t = D^-1 V' (V D^-1 V' + W^-1)^-1 t

    the one with the smaller matrix is solved by Cholesky decomposition: for a row of n items an
    n x n matrix where n is less than the size of the vectors, else a size x size one. Rows are
    sorted by length and solved in blocks of bounded memory.

    Args:
        items: int32 `[batch, length]`, padding -1 anywhere.
        targets: t, float32 `[batch, length]`; ignored at padding.
        weights: w, 0 or more, float32 `[batch, length]`; ignored at padding.
        table: The vectors v, float32 `[n_items, size]`.
        penalties: D's diagonal, more than 0, float32 `[batch, size]`.

    Returns:
        float32 `[batch, size]`; zeros for a row without items.

    Raises:
        tf.errors.InvalidArgumentError: a penalty is too small for float32.
    """
    n_rows, length, size = tf.shape(items)[0], tf.shape(items)[1], table.shape[1]
    ends = tf.reduce_max(tf.where(items >= 0, tf.range(1, length + 1), 0), axis=1)
    order = tf.argsort(ends, direction="DESCENDING")

    def step(start, solved):
        end = tf.maximum(1, ends[order[start]])
        rows = order[start : start + tf.maximum(1, BLOCK // (end * size))]
        real = tf.gather(items, rows)[:, :end]
        scale = tf.where(real >= 0, tf.sqrt(tf.gather(weights, rows)[:, :end]), 0.0)
        shrunk = tf.math.rsqrt(tf.gather(penalties, rows))
        vectors = tf.gather(table, tf.maximum(real, 0)) * shrunk[:, None] * scale[:, :, None]
        x = _shrunk(vectors, tf.gather(targets, rows)[:, :end, None] * scale[:, :, None])
        return start + tf.shape(rows)[0], tf.concat([solved, x * shrunk], axis=0)

    shapes = [tf.TensorShape([]), tf.TensorShape([None, size])]
    start = [tf.constant(0), tf.zeros([0, size])]
    _, solved = tf.while_loop(
        lambda start, _: start < n_rows, step, start, shapes, parallel_iterations=1
    )
    return tf.ensure_shape(tf.gather(solved, tf.argsort(order)), [items.shape[0], size])


def _shrunk(vectors: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Minimises |t - V x|^2 + |x|^2 for V `[batch, n, size]` and t `[batch, n, 1]`."""

    def by_items():
        gram = tf.matmul(vectors, vectors, transpose_b=True)
        return tf.matmul(vectors, _inverse_times(gram, targets), transpose_a=True)

    def by_size():
        gram = tf.matmul(vectors, vectors, transpose_a=True)
        return _inverse_times(gram, tf.matmul(vectors, targets, transpose_a=True))

    return tf.cond(tf.shape(vectors)[1] < tf.shape(vectors)[2], by_items, by_size)[:, :, 0]


def _inverse_times(gram: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """(gram + I)^-1 right."""
    factor = tf.linalg.cholesky(gram + tf.eye(tf.shape(gram)[-1]))
    return tf.linalg.cholesky_solve(factor, right)


def compiled(function: Callable, others: Sequence[tf.TensorSpec]) -> Callable:
    """Compiles a function of padded items, values and `others`, traced once for all shapes.

    The result raises a ValueError that names the setting where there is no finite solution.

    Args:
        function: Such as a model's call of `solve`.
        others: Signatures of its arguments after items and values.
    """
    padded = [tf.TensorSpec([None, None], dtype) for dtype in (tf.int32, tf.float32)]
    traced = tf.function(function, input_signature=[*padded, *others], autograph=False)

    def call(*args) -> np.ndarray:
        try:
            solved = traced(*args).numpy()
        except tf.errors.InvalidArgumentError:
            solved = np.array(np.nan)  # other devices return NaN instead of raising
        if not np.isfinite(solved).all():
            raise ValueError(
                "the least squares have no solution in float32: raise --set regularization"
            )
        return solved

    return call


def solve_all(function: Callable, blocks: Iterable, n: int, table: np.ndarray, *more) -> np.ndarray:
    """Solves for the vectors of all rows.

    Args:
        function: As `compiled` returns it; its `others` are `table` and `more`.
        blocks: Padded rows, as `tfrec.data.sparse.padded` yields them.
        n: Number of rows.
        table: Vectors of the columns, `[n_columns, size]`.
        *more: Further arguments of `function`.

    Returns:
        float32 `[n, size]`; zeros for rows that are in no block.
    """
    result = np.zeros([n, table.shape[1]], np.float32)
    for numbers, items, values in blocks:
        result[numbers] = function(items, values, table, *more)
    return result
