"""Weighted EASE against its definition, solved column by column."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.ease import EASE
from tfrec.models.weightedease import WeightedEASE
from tfrec.schema import DatasetInfo

X = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], np.float32)


def rows(x, batch=2):
    """A dataset of padded rows."""
    items = [np.flatnonzero(row) for row in x]
    padded = np.array([np.pad(i, (0, 4 - len(i)), constant_values=-1) for i in items], np.int32)
    features = {
        "user": np.arange(len(x), dtype=np.int32),
        "items": padded,
        "values": np.where(padded >= 0, 3.0, 0.0).astype(np.float32),
    }
    targets = {"target_items": padded, "target_values": features["values"]}
    return tf.data.Dataset.from_tensor_slices((features, targets)).batch(batch)


def fitted(cls=WeightedEASE, x=X, batch=2, **settings):
    model = cls.create(DatasetInfo("toy", "toy", "user", 5, 4, {}), cls.Config(**settings))
    model.fit(rows(x, batch))
    return model


def features(x):
    return next(iter(rows(x, len(x))))[0]


def by_definition(x, regularization, activity, ridge):
    """Each column's weighted ridge regression on the other items."""
    n, users_of = x.sum(1), x.sum(0)
    w = n**-activity
    w *= n.sum() / (w * n).sum()
    popularity = (1 + users_of) / (1 + users_of).mean()
    b = np.zeros([4, 4])
    for j in range(4):
        others = np.delete(np.arange(4), j)
        a = x[:, others]
        penalty = regularization * np.diag(popularity[others] ** ridge)
        b[others, j] = np.linalg.solve(a.T @ (w[:, None] * a) + penalty, a.T @ (w * x[:, j]))
    return b, popularity


@pytest.mark.parametrize(
    ("activity", "ridge", "discount"), [(0.5, 0.5, 0.2), (1.0, 0.0, 0.0), (0.0, 1.0, 0.4)]
)
def test_weights_and_scores_are_the_weighted_regressions(activity, ridge, discount):
    b, popularity = by_definition(X.astype(float), 0.5, activity, ridge)
    model = fitted(regularization=0.5, activity=activity, ridge=ridge, discount=discount)
    np.testing.assert_allclose(model.item_weights, b, atol=1e-5)
    np.testing.assert_allclose(model.score(features(X)), X @ b / popularity**discount, atol=1e-5)


def test_all_exponents_zero_is_ease():
    plain = fitted(EASE, regularization=0.5)
    mine = fitted(regularization=0.5, activity=0.0, ridge=0.0, discount=0.0)
    np.testing.assert_allclose(mine.item_weights, plain.item_weights, atol=1e-6)
    np.testing.assert_allclose(mine.score(features(X)), plain.score(features(X)), atol=1e-6)


def test_rows_may_come_in_any_batches_and_empty_ones_count_for_nothing():
    whole = fitted(batch=5).item_weights
    np.testing.assert_allclose(whole, fitted(batch=1).item_weights, atol=1e-6)
    more = np.concatenate([X, np.zeros([2, 4], np.float32)])
    np.testing.assert_allclose(whole, fitted(x=more, batch=3).item_weights, atol=1e-6)


def test_an_item_without_users_gets_a_finite_score():
    x = X.copy()
    x[:, 3] = 0
    model = fitted(x=x)
    assert np.isfinite(model.score(features(x)).numpy()).all()
    assert not model.item_weights.numpy()[:, 3].any()


def test_a_discount_marks_popular_items_down_only():
    """Item 0 has four users of five, item 3 has one."""
    free, marked = (fitted(discount=discount).score(features(X)).numpy() for discount in (0.0, 0.5))
    assert (marked[1:4, 0] / free[1:4, 0] < 1).all()
    assert (marked[:, 3] / free[:, 3])[free[:, 3] != 0].min() > 1
