"""Damped biases of rows and columns: Koren, "Factor in the Neighbors", 2010, section 2.1.

r = mu + b_row + b_column, each bias a damped mean of the residuals of the other one:

    b_column = sum over its rows of (r - mu - b_row) / (damping + n_column)
    b_row    = sum over its columns of (r - mu - b_column) / (damping + n_row)

The biases of columns are learned, alternating with those of rows; at inference b_row is computed
from the ratings in the row, so that rows that were not in training need no special case.
"""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfrec import losses
from tfrec.data import sparse

DAMPING = 5.0
SWEEPS = 20


def column_biases(
    rows: Iterable, n_columns: int, mean: float, damping: float = DAMPING, sweeps: int = SWEEPS
) -> np.ndarray:
    """The biases of columns, float32 `[n_columns]`; 0 for a column without ratings.

    Args:
        rows: Batches of (features, targets) of all training rows. Their ratings are kept in
            memory, 12 bytes each.
        n_columns: Number of columns.
        mean: mu.
        damping: Strength of the shrinkage to 0, as a number of ratings.
        sweeps: Number of alternations between rows and columns.
    """
    x = sparse.read(rows, n_columns)
    row, column = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr)), x.indices
    centred = x.data - np.float32(mean)
    per_row = _divisor(damping, np.bincount(row))
    per_column = _divisor(damping, np.bincount(column, minlength=n_columns))
    biases = np.zeros(n_columns)
    for _ in range(sweeps):
        of_row = np.bincount(row, centred - biases[column], len(per_row)) / per_row
        biases = np.bincount(column, centred - of_row[row], n_columns) / per_column
    return biases.astype(np.float32)


def _divisor(damping: float, counts: np.ndarray) -> np.ndarray:
    """Damping + n, or 1 where that is 0."""
    total = damping + counts
    return np.where(total > 0, total, 1.0)


def column_residuals(features, biases: tf.Tensor, mean: float) -> tf.Tensor:
    """The residuals r - mu - b_column of all ratings, float32 `[batch, length]`; 0 at padding.

    Args:
        features: Features of a model of histories.
        biases: Biases of the columns, float32 `[n_columns]`.
        mean: mu.
    """
    columns = tf.gather(biases, tf.maximum(features["items"], 0))
    residuals = tf.cast(features["values"], tf.float32) - mean - columns
    return residuals * losses.observed(features["items"])


def row_biases(features, residuals: tf.Tensor, damping: float = DAMPING) -> tf.Tensor:
    """The biases of a batch's rows, float32 `[batch, 1]`, from their `column_residuals`."""
    n = tf.reduce_sum(losses.observed(features["items"]), axis=1, keepdims=True)
    return tf.math.divide_no_nan(tf.reduce_sum(residuals, axis=1, keepdims=True), damping + n)
