"""Inverses by LAPACK's Cholesky decomposition."""

import numpy as np
import pytest

from tfrec.models import cholesky


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows_with_threads", [100, 1])
def test_the_lower_triangle_becomes_that_of_the_inverse(dtype, rows_with_threads, monkeypatch):
    monkeypatch.setattr(cholesky, "_ROWS", rows_with_threads)
    x = np.random.default_rng(0).standard_normal((20, 8)).astype(dtype)
    a = np.asfortranarray(x.T @ x)
    due, upper = np.linalg.inv(a), np.triu(a, 1)
    found = cholesky.invert(a)
    assert found.dtype == dtype
    np.testing.assert_allclose(np.tril(found), np.tril(due), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(np.triu(found, 1), upper)


def test_a_matrix_that_is_not_positive_definite_is_refused_with_the_cure():
    with pytest.raises(ValueError, match="raise --set regularization"):
        cholesky.invert(np.asfortranarray(np.diag([1.0, -1.0])))
