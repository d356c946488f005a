"""ALS for ratings and iALS against the normal equations, solved row by row in NumPy."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from tfrec.data import sparse
from tfrec.layers import ridge
from tfrec.models.als import ALS
from tfrec.models.ials import IALS
from tfrec.schema import PAD, DatasetInfo

N_USERS, N_ITEMS, SIZE = 9, 7, 3
INFO = DatasetInfo("toy", "toy", "user", N_USERS, N_ITEMS, {}, rating_mean=3.5)
RNG = np.random.default_rng(0)
X = np.where(RNG.random((N_USERS, N_ITEMS)) < 0.5, RNG.integers(1, 6, (N_USERS, N_ITEMS)), 0)
X[0, :] = 0  # a user without a history
X[:, 6] = 0  # an item without ratings
X[1, :6] = [5, 1, 4, 2, 3, 5]  # more items than the vectors are long
X[2, :] = [0, 4, 0, 0, 0, 0, 0]


def features(x, padding_inside=False):
    width = int((x > 0).sum(1).max())
    items = np.full((len(x), width), PAD, np.int32)
    for row, mine in zip(items, x):
        positions = np.flatnonzero(mine)
        row[
            slice(-len(positions), None)
            if padding_inside and len(positions)
            else slice(len(positions))
        ] = positions
    values = np.where(items >= 0, np.take_along_axis(x, np.maximum(items, 0), 1), 0)
    return {
        "user": np.arange(len(x), dtype=np.int32),
        "items": items,
        "values": values.astype(np.float32),
    }


def rows(x, batch=4):
    inputs = features(x)
    targets = {"target_items": inputs["items"], "target_values": inputs["values"]}
    return tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(batch)


def fitted(cls, batch=4, **settings):
    keras.utils.set_random_seed(1)
    model = cls.create(INFO, cls.Config(factors=SIZE, **settings))
    start = model.get_weights()[0].astype(np.float64)
    model.fit(rows(X, batch))
    return model, start


def ridge_by_definition(vectors, targets, weights, penalties):
    """(V' W V + D)^-1 V' W t, row by row."""
    solved = []
    for t, w, d in zip(targets, weights, penalties):
        left = vectors.T @ (w[:, None] * vectors) + d
        solved.append(np.linalg.solve(left, vectors.T @ (w * t)))
    return np.array(solved)


def ials_half(x, vectors, weigh, alpha, penalty, nu):
    seen = x > 0
    n = seen.sum(1)
    d = [
        alpha * vectors.T @ vectors + penalty * (k + alpha * x.shape[1]) ** nu * np.eye(SIZE)
        for k in n
    ]
    return ridge_by_definition(vectors, np.ones(x.shape), seen * weigh(x), d)


WEIGHTS = {  # 1 for a value of 1
    "none": np.ones_like,
    "value": np.array,
    "linear": lambda r: (1 + 0.7 * r) / 1.7,
    "log": lambda r: (1 + 0.7 * np.log(1 + r)) / (1 + 0.7 * np.log(2)),
}


@pytest.mark.parametrize(
    ("confidence", "nu"),
    [("none", 1.0), ("none", 0.0), ("value", 0.5), ("linear", 0.5), ("log", 1.0)],
)
def test_ials_solves_the_normal_equations_in_turns(confidence, nu):
    settings = {"regularization": 0.2, "unobserved": 0.3, "frequency": nu}
    model, items = fitted(IALS, iterations=3, confidence=confidence, rate=0.7, **settings)
    weigh = WEIGHTS[confidence]
    have = scipy.sparse.csr_matrix((X > 0)[1:] * weigh(X[1:].astype(float)), dtype=np.float32)
    items = sparse.singular(have, items.astype(np.float32)).astype(np.float64)
    for _ in range(3):  # of the users who have anything
        users = ials_half(X[1:], items, weigh, 0.3, 0.2, nu)
        items = ials_half(X[1:].T, users, weigh, 0.3, 0.2, nu)
    users = ials_half(X, items, weigh, 0.3, 0.2, nu)
    scores = model.score(features(X))
    np.testing.assert_allclose(scores, users @ items.T, rtol=1e-3, atol=1e-5)
    # The vectors are turned: their products are the same, and the Gram matrix is diagonal.
    vectors = model.item_vectors().numpy()
    np.testing.assert_allclose(vectors @ vectors.T, items @ items.T, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(vectors.T @ vectors, np.diag(model.gram), atol=1e-5)


def test_both_start_from_singular_vectors():
    """A matrix of rank 2 is reproduced by two vectors; the third one is 0."""
    low = RNG.random((N_USERS, 2)) @ RNG.random((2, N_ITEMS))
    _, values, right = np.linalg.svd(low)
    for size in (2, 3, N_ITEMS + 1):
        start = RNG.normal(size=(N_ITEMS, size)).astype(np.float32)
        found = sparse.singular(scipy.sparse.csr_matrix(low, dtype=np.float32), start)
        assert found.shape == start.shape
        due = (right[:2].T * values[:2]) @ right[:2]
        np.testing.assert_allclose(found @ found.T, due, atol=2e-3)


def als_half(x, vectors, penalty, nu, damping):
    """Vectors of rows with their biases last, given those of the columns."""
    seen = x > 0
    targets = x - INFO.rating_mean - vectors[:, -1]
    penalties = [max(penalty * max(k, 1) ** nu, damping) for k in seen.sum(1)]
    shrunk = [each * np.eye(SIZE + 1) for each in penalties]
    regressors = np.concatenate([vectors[:, :-1], np.ones([len(vectors), 1])], 1)
    return ridge_by_definition(regressors, targets, seen, shrunk)


@pytest.mark.parametrize(("nu", "damping"), [(1.0, 0.0), (0.4, 0.0), (0.4, 0.5)])
def test_als_solves_the_normal_equations_in_turns(nu, damping):
    model, items = fitted(ALS, iterations=3, regularization=0.3, frequency=nu, damping=damping)
    start = items[:, :-1].astype(np.float32)
    users = als_half(X, np.zeros_like(items), 0.3, nu, damping)
    items = als_half(X.T, users, 0.3, nu, damping)
    left = np.where(X > 0, X - INFO.rating_mean - users[:, -1:] - items[:, -1], 0)
    items[:, :-1] = sparse.singular(scipy.sparse.csr_matrix(left, dtype=np.float32), start)
    for _ in range(3):
        users = als_half(X, items, 0.3, nu, damping)
        items = als_half(X.T, users, 0.3, nu, damping)
    users = als_half(X, items, 0.3, nu, damping)
    due = INFO.rating_mean + users[:, -1:] + items[:, -1] + users[:, :-1] @ items[:, :-1].T
    scores = model.score(features(X)).numpy()
    np.testing.assert_allclose(scores, due, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scores[0], INFO.rating_mean + items[:, -1], rtol=1e-4)  # no history
    np.testing.assert_allclose(scores[:, 6], (INFO.rating_mean + users[:, -1]), rtol=1e-4)


@pytest.mark.parametrize("cls", [ALS, IALS])
def test_batches_padding_and_blocks_change_nothing(cls, monkeypatch):
    settings = {"iterations": 2, "regularization": 0.3}
    whole, _ = fitted(cls, **settings)
    due = whole.score(features(X))
    np.testing.assert_allclose(whole.score(features(X, padding_inside=True)), due, rtol=1e-4)
    for row in range(1, N_USERS):
        alone = {name: values[row : row + 1] for name, values in features(X).items()}
        np.testing.assert_allclose(whole.score(alone)[0], due[row], rtol=1e-3, atol=1e-5)
    monkeypatch.setattr(ridge, "BLOCK", 1)  # a row at a time
    monkeypatch.setattr("tfrec.data.sparse._ENTRIES", 1)
    single, _ = fitted(cls, batch=1, **settings)
    np.testing.assert_allclose(single.score(features(X)), due, rtol=1e-3, atol=1e-5)


def test_an_unsolvable_system_names_the_setting():
    """A penalty that is 0 in float32."""
    ask = ridge.compiled(
        lambda items, values, table: ridge.solve(
            items, values, values, table, tf.fill([1, 4], 1e-44)
        ),
        [tf.TensorSpec([None, 4])],
    )
    with pytest.raises(ValueError, match="raise --set regularization"):
        ask(np.array([[0, 1, 2]], np.int32), np.ones([1, 3], np.float32), np.ones([3, 4]))
