"""SparseEASE: local ridge regressions, which are EASE's with all neighbours."""

import numpy as np
import pytest
import scipy.sparse
from ease_test import X, rows

from tfrec.models import ease, sparseease
from tfrec.models.sparseease import DenseGram, SparseEASE, SparseGram, solve
from tfrec.schema import DatasetInfo


@pytest.fixture(scope="module")
def x():
    x = (np.random.default_rng(0).random((80, 12)) < 0.3) * 1.5
    x[:, 11] = 0  # an item without users
    return scipy.sparse.csr_matrix(x, dtype=np.float32)


@pytest.fixture(scope="module")
def gram(x):
    return (x.T @ x).toarray().astype(np.float64)


def spread(neighbors, weights):
    """B, `[n_items, n_items]`."""
    b = np.zeros((len(neighbors), len(neighbors)))
    np.add.at(b, (neighbors, np.arange(len(neighbors))[:, None]), weights)
    return b


@pytest.mark.parametrize("kind", [DenseGram, SparseGram])
def test_with_all_neighbors_it_is_ease(kind, x, gram, monkeypatch):
    monkeypatch.setattr(sparseease, "_COLUMNS", 5)
    due = ease.solve(gram.copy(), 2.0)  # which overwrites it
    np.testing.assert_allclose(spread(*solve(kind(x), 2.0, 11)), due, atol=1e-6)


@pytest.mark.parametrize("kind", [DenseGram, SparseGram])
def test_a_column_is_the_regression_on_the_nearest(kind, x, gram):
    neighbors, weights = solve(kind(x), 2.0, 4)
    cosine = gram / np.sqrt(np.maximum(np.outer(gram.diagonal(), gram.diagonal()), 1e-12))
    np.fill_diagonal(cosine, -1)
    for j in range(11):
        near = neighbors[j]
        assert len(set(near)) == 4
        assert cosine[j, near].min() > np.delete(cosine[j], near).max() - 1e-6
        normal = (gram + 2 * np.eye(12))[np.ix_(near, near)] @ weights[j]
        np.testing.assert_allclose(normal, gram[near, j], rtol=1e-5)
    assert not weights[11].any()


def test_large_catalogues_do_not_hold_the_matrix(monkeypatch):
    settings = SparseEASE.Config(regularization=0.5, neighbors=2)
    info, found = DatasetInfo("toy", "toy", "user", 4, 4, {}), []
    for cells in (16, 15):
        monkeypatch.setattr(sparseease, "_DENSE", cells)
        model = SparseEASE.create(info, settings)
        model.fit(rows(X, X))
        found.append(spread(model.neighbors.numpy(), model.neighbor_weights.numpy()))
        monkeypatch.setattr(sparseease, "DenseGram", None)
    np.testing.assert_allclose(*found, atol=1e-6)


@pytest.mark.parametrize("confidence", ["none", "value"])
def test_scores_are_sums_of_the_weights_of_a_history(confidence):
    settings = SparseEASE.Config(regularization=0.5, neighbors=2, confidence=confidence)
    model = SparseEASE.create(DatasetInfo("toy", "toy", "user", 4, 4, {}), settings)
    model.fit(rows(X, 2 * X))
    features, _ = next(iter(rows(X, 2 * X).unbatch().batch(4)))
    b = spread(model.neighbors.numpy(), model.neighbor_weights.numpy())
    x = X if confidence == "none" else 2 * X
    np.testing.assert_allclose(model.score(features), x @ b, atol=1e-6)
    items = np.tile(np.arange(4, dtype=np.int32), (4, 1))
    parts = model.contributions(features, items).numpy()
    np.testing.assert_allclose(parts.sum(-1), x @ b, atol=1e-6)


def test_its_memory_is_less_than_that_of_ease_on_gowalla():
    gowalla = DatasetInfo("gowalla", "toy", "user", 29_858, 40_981, {"train": 810_128})
    needed = {cls: cls.memory(gowalla, cls.Config(), None) for cls in (SparseEASE, ease.EASE)}
    assert needed[SparseEASE] < 1e9 < 30e9 < needed[ease.EASE]


def test_a_block_that_cannot_be_solved_names_the_setting():
    with pytest.raises(ValueError, match="--set regularization"):
        solve(DenseGram(scipy.sparse.csr_matrix(np.ones((1, 3), np.float32))), 0.0, 2)
