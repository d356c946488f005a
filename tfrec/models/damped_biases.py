"""Damped biases of rows and columns: Koren, "Factor in the Neighbors", 2010, section 2.1.

r = mu + b_row + b_column, each bias a damped mean of what the other one leaves over:

    b_column = sum over its rows of (r - mu - b_row) / (damping + n_column)
    b_row    = sum over its columns of (r - mu - b_column) / (damping + n_row)

Those of columns are learned, in turns with those of rows; b_row is then computed from a row's own
ratings, so that a row never seen in training is no special case.
"""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfrec import losses
from tfrec.data import sparse

DAMPING = 5.0
SWEEPS = 20


def of_columns(
    rows: Iterable, n_columns: int, mean: float, damping: float = DAMPING, sweeps: int = SWEEPS
) -> np.ndarray:
    """The biases of columns, float32 `[n_columns]`; 0 for a column without ratings.

    Args:
        rows: All training rows as batches of (features, targets), for `items` and `values`. Their
            ratings are kept in memory, 12 bytes each.
        n_columns: How many columns there are.
        mean: mu.
        damping: Ratings' worth of belief that a bias is 0.
        sweeps: How often rows and columns take turns.
    """
    x = sparse.read(rows, n_columns)
    row, column = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr)), x.indices
    rest = x.data - np.float32(mean)
    per_row = _divisor(damping, np.bincount(row))
    per_column = _divisor(damping, np.bincount(column, minlength=n_columns))
    biases = np.zeros(n_columns)
    for _ in range(sweeps):
        of_row = np.bincount(row, rest - biases[column], len(per_row)) / per_row
        biases = np.bincount(column, rest - of_row[row], n_columns) / per_column
    return biases.astype(np.float32)


def _divisor(damping: float, counts: np.ndarray) -> np.ndarray:
    """Damping + n, and 1 where that is 0."""
    total = damping + counts
    return np.where(total > 0, total, 1.0)


def left_over(features, biases: tf.Tensor, mean: float) -> tf.Tensor:
    """R - mu - b_column of each rating, float32 `[batch, length]`; 0 at padding.

    Args:
        features: Of a model of histories.
        biases: Of columns, float32 `[n_columns]`.
        mean: mu.
    """
    columns = tf.gather(biases, tf.maximum(features["items"], 0))
    rest = tf.cast(features["values"], tf.float32) - mean - columns
    return rest * losses.observed(features["items"])


def of_rows(features, rest: tf.Tensor, damping: float = DAMPING) -> tf.Tensor:
    """The biases of a batch's rows, float32 `[batch, 1]`, from `left_over`'s `rest`."""
    n = tf.reduce_sum(losses.observed(features["items"]), axis=1, keepdims=True)
    return tf.math.divide_no_nan(tf.reduce_sum(rest, axis=1, keepdims=True), damping + n)
