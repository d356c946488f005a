"""The item-item regressions of EASE inverted by users, and those of which few weights are kept.

B_ij = -P_ij / P_jj with P = (X'X + D)^-1 and a diagonal D. By Woodbury's identity

    P = D^-1 - D^-1 X' M X D^-1,    M = (I + X D^-1 X')^-1,

where M has a row for each user instead of each item.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse
import tensorflow as tf

from tfrec import losses
from tfrec.models import cholesky

ROWS = 256  # of P in memory at once


def user_inverse(x: scipy.sparse.csr_matrix, penalties: np.ndarray) -> np.ndarray:
    """M in the type of X, inverted in place.

    Args:
        x: X, `[n_rows, n_items]`.
        penalties: The diagonal of D, `[n_items]`.

    Returns:
        `[n_rows, n_rows]`.

    Raises:
        ValueError: the matrix is not positive definite in that type.
    """
    n = x.shape[0]
    a = np.zeros((n, n), x.dtype, order="F")
    scaled = x @ scipy.sparse.diags((1 / penalties).astype(x.dtype))
    across = x.T.tocsc()
    for start in range(0, n, ROWS):
        scaled[start : start + ROWS].dot(across).toarray(out=a[:, start : start + ROWS].T)
    a[np.diag_indices_from(a)] += 1
    a = cholesky.invert(a)
    for start in range(0, n, ROWS):
        stop = min(start + ROWS, n)
        a[start:stop, stop:] = a[stop:, start:stop].T
        corner = np.tril(a[start:stop, start:stop], -1)
        a[start:stop, start:stop] = np.tril(a[start:stop, start:stop]) + corner.T
    return a.T  # the same matrix in C's order, which scipy would copy it to


def blocks(x: scipy.sparse.csr_matrix, penalties: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields B by blocks of rows: the number of the first row, and `[rows, n_items]`.

    Args:
        x: X, `[n_rows, n_items]`; its type, float32 or float64, is that of the computation.
        penalties: The diagonal of D, `[n_items]`, more than 0.

    Raises:
        ValueError: as in `user_inverse`.
    """
    inverse, across = user_inverse(x, penalties), x.T.tocsr()
    weights = (1 / penalties).astype(x.dtype)
    diagonal = weights - weights**2 * _leverages(across, inverse)
    for start in range(0, x.shape[1], ROWS):
        stop = min(start + ROWS, x.shape[1])
        found = (across @ np.ascontiguousarray((across[start:stop] @ inverse).T)).T
        found *= weights[start:stop, None] * (weights / diagonal)
        found[np.arange(stop - start), np.arange(start, stop)] = 0
        yield start, found


def _leverages(across: scipy.sparse.csr_matrix, inverse: np.ndarray) -> np.ndarray:
    """The diagonal of X' M X, `[n_items]`; `across` is X'."""
    found = np.zeros(across.shape[0], across.dtype)
    for item, (start, stop) in enumerate(zip(across.indptr[:-1], across.indptr[1:], strict=True)):
        users, values = across.indices[start:stop], across.data[start:stop]
        found[item] = values @ inverse[np.ix_(users, users)] @ values
    return found


def strongest(block: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The entries of largest absolute value of each row.

    Args:
        block: `[rows, n_items]`.
        size: How many; at most n_items.

    Returns:
        Columns, int32 `[rows, size]`, and entries, float32 `[rows, size]`.
    """
    cut = block.shape[1] - size
    columns = np.argpartition(np.abs(block), cut, axis=1)[:, cut:] if cut else None
    columns = np.broadcast_to(np.arange(size), block.shape) if columns is None else columns
    return columns.astype(np.int32), np.take_along_axis(block, columns, axis=1)


def scores(
    features: dict, entries: tf.Tensor, columns: tf.Tensor, weights: tf.Tensor, n_items: int
) -> tf.Tensor:
    """X B for histories, `[batch, n_items]`.

    Args:
        features: "items" `[batch, length]`, padding -1.
        entries: The entries of X, `[batch, length]`; those of padding are ignored.
        columns: As of `strongest`, for all rows of B: int32 `[n_items, size]`.
        weights: Their entries, float32 `[n_items, size]`.
        n_items: The number of items.
    """
    where, cells = losses.entries_of(features["items"])
    values = tf.gather_nd(entries, where)[:, tf.newaxis] * tf.gather(weights, cells[:, 1])
    at = cells[:, :1] * n_items + tf.cast(tf.gather(columns, cells[:, 1]), tf.int64)
    n_rows = tf.shape(features["items"], tf.int64)[0]
    total = tf.math.unsorted_segment_sum(
        tf.reshape(values, [-1]), tf.reshape(at, [-1]), n_rows * n_items
    )
    return tf.reshape(total, tf.stack([n_rows, tf.constant(n_items, tf.int64)]))
