"""EASE by its closed form."""

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from tfrec.data import sparse
from tfrec.models import ease, sparse_regression
from tfrec.models.ease import EASE, solve
from tfrec.models.weightedease import WeightedEASE
from tfrec.schema import DatasetInfo

X = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 1, 0]], np.float32)


def rows(x, values):
    """A dataset with batches of one row."""
    items = [np.flatnonzero(row) for row in x]
    width = max(map(len, items))
    padded = np.array([np.pad(i, (0, width - len(i)), constant_values=-1) for i in items])
    ratings = np.array([np.pad(v[i], (0, width - len(i))) for i, v in zip(items, values)])
    features = {
        "user": np.arange(len(x), dtype=np.int32),
        "items": padded.astype(np.int32),
        "values": ratings.astype(np.float32),
    }
    targets = {"target_items": features["items"], "target_values": features["values"]}
    return tf.data.Dataset.from_tensor_slices((features, targets)).batch(1)


def fitted(regularization, **settings):
    info = DatasetInfo("toy", "toy", "user", 4, 4, {})
    model = EASE.create(info, EASE.Config(regularization=regularization, **settings))
    model.fit(rows(X, 3 * X if "confidence" in settings else X))
    return model


def test_worked_values():
    model = fitted(0.5)
    due = [
        [0, 0.507042, 0.507042, -0.355556],
        [0.48, 0, 0.112676, 0.311111],
        [0.48, 0.112676, 0, 0.311111],
        [-0.64, 0.591549, 0.591549, 0],
    ]
    np.testing.assert_allclose(model.item_weights, due, atol=1e-6)
    features, _ = next(iter(rows(X[:1], X[:1])))
    scores = model.score(features)
    np.testing.assert_allclose(scores, [[0.48, 0.507042, 0.619718, -0.044444]], atol=1e-6)


def test_b_solves_the_normal_equations_with_a_zero_diagonal():
    """(G + lambda I) B = G off the diagonal, up to the diagonal's multipliers."""
    x = np.random.default_rng(0).random((50, 12)) < 0.3
    gram = x.T.astype(float) @ x
    b = solve(gram, 2.0)
    assert not np.diagonal(b).any()
    residual = (gram + 2 * np.eye(12)) @ b - gram
    np.testing.assert_allclose(residual - np.diag(np.diagonal(residual)), 0, atol=1e-5)


def test_ratings_count_as_one_or_by_value():
    thrice = fitted(0.5, confidence="value").item_weights
    assert not np.allclose(thrice, fitted(0.5).item_weights)


def test_a_gram_matrix_that_can_not_be_inverted_names_the_setting():
    with pytest.raises(ValueError, match="--set regularization"):
        solve(np.ones((3, 3)), 0.0)


@pytest.mark.parametrize("pair", [0, 1e9])
def test_the_gram_matrix_is_the_same_by_pairs_and_by_blas(pair, monkeypatch):
    """The matrix is not a multiple of the block size."""
    monkeypatch.setattr(sparse, "_PAIR", pair)
    monkeypatch.setattr(sparse, "_CELLS", 5 * 12)
    monkeypatch.setattr(sparse, "_ROWS", 7)
    x = np.random.default_rng(0).integers(0, 3, (30, 12)).astype(np.float32)
    found = sparse.gram(scipy.sparse.csr_matrix(x))
    np.testing.assert_array_equal(np.tril(found), np.tril(x.T @ x))


@pytest.mark.parametrize("confidence", ["none", "value"])
def test_scores_are_the_product_with_the_dense_rows(confidence):
    model = fitted(0.5, confidence=confidence)
    features, _ = next(iter(rows(X, 2 * X).unbatch().batch(4)))
    more = {
        "items": tf.pad(features["items"], [[0, 1], [0, 0]], constant_values=-1),
        "values": tf.pad(features["values"], [[0, 1], [0, 0]]),
        "user": tf.pad(features["user"], [[0, 1]], constant_values=-1),
    }
    x = X if confidence == "none" else 2 * X
    due = np.concatenate([x, np.zeros([1, 4])]) @ model.item_weights.numpy()
    np.testing.assert_allclose(model.score(more), due, atol=1e-6)


@pytest.mark.parametrize("n_rows", [9, 30])
def test_the_inverse_by_users_gives_the_weights_of_the_inverse_by_items(n_rows, monkeypatch):
    monkeypatch.setattr(sparse_regression, "ROWS", 4)  # the last block is shorter
    rng = np.random.default_rng(1)
    x = (rng.random((n_rows, 11)) < 0.4).astype(np.float32)
    penalties = rng.uniform(0.5, 2, 11)
    p = np.linalg.inv(x.T.astype(float) @ x + np.diag(penalties))
    due = -p / np.diagonal(p)
    np.fill_diagonal(due, 0)
    blocks = list(sparse_regression.blocks(scipy.sparse.csr_matrix(x), penalties))
    assert [start for start, _ in blocks] == [0, 4, 8]
    np.testing.assert_allclose(np.concatenate([b for _, b in blocks]), due, atol=2e-6)


@pytest.mark.parametrize("cls", [EASE, WeightedEASE])
def test_few_users_are_solved_by_users(cls, monkeypatch):
    x = (np.random.default_rng(2).random((4, 9)) < 0.5).astype(np.float32)
    info = DatasetInfo("toy", "toy", "user", 4, 9, {})
    found = []
    for few in (True, False):
        monkeypatch.setattr(ease, "has_few_users", lambda info, few=few: few)
        model = cls.create(info, cls.Config(regularization=0.5))
        model.fit(rows(x, x))
        found.append(model.item_weights.numpy())
    assert np.abs(found[0]).max() > 0.1
    np.testing.assert_allclose(*found, atol=1e-6)
    monkeypatch.undo()
    assert ease.has_few_users(info)
    assert not ease.has_few_users(DatasetInfo("toy", "toy", "user", 5, 9, {}))


def test_neighbors_keep_the_largest_weights_and_score_like_the_dense_matrix():
    dense, model = fitted(0.5), fitted(0.5, neighbors=2)
    b = dense.item_weights.numpy()
    kept = b * (np.abs(b) >= np.sort(np.abs(b), axis=1)[:, -2:-1])
    kept[3, 1] = 0  # as large as B_32
    features, _ = next(iter(rows(X, X).unbatch().batch(4)))
    np.testing.assert_allclose(model.score(features), X @ kept, atol=1e-5)
    every = fitted(0.5, neighbors=9)  # more than there are items
    np.testing.assert_allclose(every.score(features), dense.score(features), atol=1e-5)
    asked = tf.constant([[3, 0], [1, 2], [0, 0], [2, 3]])
    due = dense.contributions(features, asked)
    np.testing.assert_allclose(every.contributions(features, asked), due, atol=1e-5)


def test_the_inverse_by_users_names_the_setting_where_there_is_none():
    x = scipy.sparse.csr_matrix(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="--set regularization"):
        sparse_regression.user_inverse(x, np.full(4, -1.0))
