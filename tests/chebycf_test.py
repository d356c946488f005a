"""ChebyCF against its formula on dense matrices."""

import numpy as np
import pytest

from tests.ease_test import rows
from tfrec.models.chebycf import ChebyCF, coefficients
from tfrec.schema import DatasetInfo

X = (np.random.default_rng(1).random((30, 12)) < 0.3).astype(np.float32)


def fitted(**settings) -> ChebyCF:
    info = DatasetInfo("toy", "toy", "user", 30, 12, {"train": int(X.sum()) + 3})
    model = ChebyCF.create(info, ChebyCF.Config(**settings))
    model.fit(rows(X, X))
    return model


def scored(model: ChebyCF) -> np.ndarray:
    return np.concatenate([model.score(features) for features, _ in rows(X, X)])


def test_scores_are_those_of_the_filtered_spectrum():
    settings = {"order": 5, "flatness": 4, "factors": 3, "low_pass": 0.2, "degree": 0.4}
    found = scored(fitted(**settings))
    n = X[X.any(axis=1)]
    of_items = X.sum(axis=0)
    n = n / np.sqrt(n.sum(axis=1, keepdims=True) * of_items)
    values, vectors = np.linalg.eigh(n.T @ n)
    response = np.polynomial.chebyshev.chebval(1 - 2 * values, coefficients(5, 4))
    response[-3:] += 0.2
    scale = of_items**0.4
    due = X[X.any(axis=1)] / scale @ (vectors * response) @ vectors.T * scale
    np.testing.assert_allclose(found[X.any(axis=1)], due, atol=2e-5)


@pytest.mark.parametrize("at", [-1.0, -0.5, 0.5, 1.0])
def test_the_polynomial_comes_near_the_plateau(at):
    due = 0.5 - 0.5 * np.sign(at) * abs(at) ** 4
    assert np.polynomial.chebyshev.chebval(at, coefficients(12, 4)) == pytest.approx(due, abs=0.03)


def test_more_factors_than_the_data_have_change_nothing():
    least = scored(fitted(factors=11))
    np.testing.assert_allclose(scored(fitted(factors=40)), least, atol=1e-5)
