"""Inverses of positive definite matrices by LAPACK's Cholesky decomposition, in place."""

import numpy as np
import scipy.linalg
import threadpoolctl

# OpenBLAS 0.3.30's threaded potrf ends with a segmentation fault from 26,755 rows on.
_ROWS = 26_000


def invert(a: np.ndarray) -> np.ndarray:
    """Replaces a symmetric matrix by its inverse.

    Args:
        a: float32 or float64 `[n, n]` in Fortran's order; only the lower triangle is read, and the
            upper one stays.

    Returns:
        `a`, with the inverse in the lower triangle.

    Raises:
        ValueError: it is not positive definite in the precision of its type.
    """
    potrf, potri = scipy.linalg.get_lapack_funcs(("potrf", "potri"), [a])
    with threadpoolctl.threadpool_limits(1 if len(a) > _ROWS else None, "blas"):
        a, failed = potrf(a, lower=1, clean=0, overwrite_a=1)
        if failed:
            raise ValueError("X'X + lambda I is not positive definite: raise --set regularization")
        a, _ = potri(a, lower=1, overwrite_c=1)
    return a
