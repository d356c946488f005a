"""Rows as scipy sparse matrices, for closed-form models."""

from collections.abc import Iterable, Iterator

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from tfrec.schema import PAD

_ENTRIES = 1 << 20  # of a padded block
_CELLS = 1 << 24  # of a Gram matrix computed at once
_ROWS = 2048  # few, large rank-k updates
_PAIR = 400  # multiplications in BLAS that take as long as one pair of entries


def matrix(items: np.ndarray, values: np.ndarray, n_columns: int) -> scipy.sparse.csr_matrix:
    """Padded rows as a CSR matrix; values of 0 are stored like others.

    Args:
        items: int `[batch, length]`, padding -1.
        values: `[batch, length]`.
        n_columns: The number of columns.

    Returns:
        float32 `[batch, n_columns]`.
    """
    real = items >= 0
    ends = np.concatenate([[0], np.cumsum(real.sum(axis=1))])
    entries = values[real].astype(np.float32), items[real], ends
    return scipy.sparse.csr_matrix(entries, (len(items), n_columns))


def read(rows: Iterable, n_columns: int) -> scipy.sparse.csr_matrix:
    """The inputs of a dataset of `(features, targets)`, float32 `[n rows, n_columns]`.

    Rows without an item are left out, among them those that fill up the last batch.
    """
    parts = []
    for features, _ in rows:
        items = np.asarray(features["items"])
        found = (items >= 0).any(axis=1)
        parts.append(matrix(items[found], np.asarray(features["values"])[found], n_columns))
    return scipy.sparse.vstack(parts, format="csr", dtype=np.float32)


def gram(x: scipy.sparse.csr_matrix) -> np.ndarray:
    """X'X, float32 `[n_columns, n_columns]`; its upper half may be empty.

    Computed as the sum over pairs of a row's entries or, where rows are so full that it is
    faster, as products of dense blocks of rows by BLAS.
    """
    n_rows, n = x.shape
    result = np.zeros([n, n], np.float32, order="F")
    lengths = np.diff(x.indptr).astype(np.float64)
    if _PAIR * (lengths @ lengths) < n_rows * float(n) ** 2:
        step = max(1, _CELLS // max(1, n))
        across = x.T.tocsr()
        for start in range(0, n, step):
            across[start : start + step].dot(x).toarray(out=result[:, start : start + step].T)
        return result
    for start in range(0, n_rows, _ROWS):
        block = x[start : start + _ROWS].toarray().T  # Fortran order, as BLAS wants it: no copy
        result = scipy.linalg.blas.ssyrk(1.0, block, beta=1.0, c=result, lower=1, overwrite_c=1)
    return result


def padded(x: scipy.sparse.csr_matrix) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields the rows that have entries as padded blocks of rows of similar length.

    Yields:
        Numbers of the rows `[n]`, their columns int32 `[n, length]` with padding -1, and their
        values float32 `[n, length]`.
    """
    lengths = np.diff(x.indptr)
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        length = lengths[order[start]]
        rows = order[start : start + max(1, _ENTRIES // length)]
        start += len(rows)
        real = np.arange(length) < lengths[rows, None]
        entries = x[rows]
        items = np.full(real.shape, PAD, np.int32)
        values = np.zeros(real.shape, np.float32)
        items[real], values[real] = entries.indices, entries.data
        yield rows, items, values


def singular(x: scipy.sparse.csr_matrix, start: np.ndarray) -> np.ndarray:
    """Approximates the first right singular vectors, times the roots of their singular values.

    Two rounds of subspace iteration (Halko, Martinsson and Tropp, SIAM Review 2011) from
    `start`, `[n_columns, size]`; columns beyond `n_columns` are zeros. ALS needs few iterations
    from this start, and many from a small random one.
    """
    basis = start
    for _ in range(2):
        basis, _ = np.linalg.qr(x.T @ (x @ basis))
    gram, turn = diagonal(x @ basis)
    found = (basis @ turn) * gram**0.25
    return np.pad(found, [(0, 0), (0, start.shape[1] - found.shape[1])])


def right_singular(x: scipy.sparse.csr_matrix, size: int, tolerance: float = 0.0) -> np.ndarray:
    """The first right singular vectors, `[k, n_columns]` in any order; k < min(x.shape).

    Args:
        x: Both of its sizes are at least 2.
        size: Largest k.
        tolerance: Relative error of the squared singular values; 0: that of the type.
    """
    start, k = np.ones(min(x.shape), np.float32), min(size, min(x.shape) - 1)
    return scipy.sparse.linalg.svds(x, k, v0=start, tol=tolerance)[2]


def diagonal(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, 0 or more, and eigenvectors of table' table, in float32."""
    values, vectors = np.linalg.eigh((table.T @ table).astype(np.float64))
    return np.maximum(values, 0.0).astype(np.float32), vectors.astype(np.float32)
