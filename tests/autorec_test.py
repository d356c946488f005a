"""AutoRec's loss and L-BFGS."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from tfrec.models.autorec import AutoRec
from tfrec.schema import DatasetInfo
from tfrec.training import lbfgs

INFO = DatasetInfo("toy", "toy", "item", n_users=4, n_items=3, n_ratings={}, rating_mean=3.0)
USER_ROWS = dataclasses.replace(INFO, rows="user", n_users=3, n_items=4)
ITEMS = np.array([[0, 2, 3], [1, 3, -1], [0, -1, -1]], np.int32)
VALUES = np.array([[5, 3, 1], [2, 4, 0], [1, 0, 0]], np.float32)
X = np.array([[5, 0, 3, 1], [0, 2, 0, 4], [1, 0, 0, 0]], np.float64)


def rows(batch):
    """The three rows; the last batch is filled with empty rows."""
    missing = -3 % batch
    features = {
        "user": np.r_[np.arange(3), [-1] * missing].astype(np.int32),
        "items": np.pad(ITEMS, ((0, missing), (0, 0)), constant_values=-1),
        "values": np.pad(VALUES, ((0, missing), (0, 0))),
    }
    targets = {"target_items": features["items"], "target_values": features["values"]}
    return tf.data.Dataset.from_tensor_slices((features, targets)).batch(batch)


def small(info=INFO, **settings):
    keras.utils.set_random_seed(1)
    own = {"base": "none", "rows": info.rows, "hidden": (2,)}
    return AutoRec.create(info, AutoRec.Config(**own | settings))


def paper_loss(vector, lam):
    """sum m (r - W g(V r + mu) - b)^2 + lambda/2 (|V|^2 + |W|^2), over the number of rows."""
    v, mu = vector[:8].reshape(4, 2), vector[8:10]
    w, b = vector[10:18].reshape(2, 4), vector[18:]
    h = 1 / (1 + np.exp(-(X @ v + mu))) @ w + b
    return (((X > 0) * (X - h) ** 2).sum() + lam / 2 * ((v**2).sum() + (w**2).sum())) / 3


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_loss_and_gradient_are_the_papers_whatever_the_batch(batch, one):
    # One more item, which has no training ratings, is none of the rows that the sum runs over.
    info = dataclasses.replace(INFO, n_items=4, row_counts={"train": 3, "train+validation": 4})
    model = small(info, regularization=0.7)
    full = lbfgs.FullBatch(model, one, rows(batch))
    x = np.random.default_rng(0).normal(size=22).astype(np.float32)
    loss, gradient = full(x)
    assert loss == pytest.approx(paper_loss(x, 0.7), rel=1e-5)
    numeric = scipy.optimize.approx_fprime(x.astype(float), paper_loss, 1e-6, 0.7)
    np.testing.assert_allclose(gradient, numeric, atol=1e-3)


def test_two_replicas_give_the_same_loss_and_gradient(one, mirrored):
    x = np.random.default_rng(0).normal(size=22).astype(np.float32)
    with mirrored.scope():
        model = small(regularization=0.7)
    spread = mirrored.experimental_distribute_dataset(rows(2))
    loss, gradient = lbfgs.FullBatch(model, mirrored, spread)(x)
    due_loss, due = lbfgs.FullBatch(small(regularization=0.7), one, rows(3))(x)
    assert loss == pytest.approx(due_loss, rel=1e-5)
    np.testing.assert_allclose(gradient, due, atol=1e-4)


def test_lbfgs_reaches_the_minimum_of_scipy(one):
    model = small(regularization=0.5)
    full = lbfgs.FullBatch(model, one, rows(3))
    start = full.value()
    ticks = []
    loss = lbfgs.epoch(full, 40, lambda: ticks.append(1))
    due = scipy.optimize.minimize(paper_loss, start, args=(0.5,), method="L-BFGS-B").fun
    assert loss <= due * 1.001
    assert ticks


def test_lbfgs_on_a_quadratic_is_exact_after_as_many_steps_as_dimensions():
    a = np.diag([1.0, 10.0, 100.0]).astype(np.float32)
    b = np.array([1.0, -2.0, 3.0], np.float32)
    values = []

    def quadratic(x):
        values.append(float(x @ a @ x / 2 - b @ x))
        return values[-1], a @ x - b

    x, value = lbfgs.minimize(quadratic, np.zeros(3, np.float32), 30)
    np.testing.assert_allclose(x, [1, -0.2, 0.03], atol=1e-4)
    assert value == min(values)
    assert len(values) < 40  # about one evaluation an iteration


def test_plain_keras_fit_gives_an_unrated_column_the_mean_as_bias():
    data = rows(3).map(lambda f, t: ({**f, "items": tf.where(f["items"] == 1, -1, f["items"])}, t))
    model = small()
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(model.decoder.bias.numpy())
    )
    model.compile("sgd")
    model.fit(data, epochs=2, verbose=0, shuffle=False, callbacks=[note])
    np.testing.assert_array_equal(seen[0], [0, 3, 0, 0])
    assert (seen[1][[0, 2, 3]] != 0).all()


@pytest.mark.parametrize("info", [INFO, USER_ROWS])
def test_an_output_with_an_activation_starts_at_the_mean_all_the_same(info):
    model = small(info, output_activation="selu")
    model.begin_epoch(0, rows(3).map(lambda f, t: ({**f, "items": -tf.ones_like(f["items"])}, t)))
    np.testing.assert_allclose(model.decoder.activation(model.decoder.bias), 4 * [3], rtol=1e-6)


@pytest.mark.parametrize(("info", "start"), [(INFO, 0), (USER_ROWS, 3)])
def test_an_unseen_column_predicts_about_the_mean(info, start, one):
    """Column 1 of the toy data has one rating; here it is taken away."""
    model = small(info, regularization=1.0)
    data = rows(3).map(
        lambda f, t: (
            {**f, "items": tf.where(f["items"] == 1, -1, f["items"])},
            {**t, "target_items": tf.where(t["target_items"] == 1, -1, t["target_items"])},
        )
    )
    model.begin_epoch(0, data)
    np.testing.assert_array_equal(model.decoder.bias, [start, 3, start, start])
    lbfgs.epoch(lbfgs.FullBatch(model, one, data), 30, lambda: None)
    features, _ = next(iter(data))
    np.testing.assert_allclose(model.score(features)[:, 1], 3.0, atol=1e-3)


@pytest.mark.parametrize("base", ["none", "biases"])
def test_columns_scored_one_by_one_are_the_models_own(base):
    model = small(base=base)
    model.begin_epoch(0, rows(3))
    features, _ = next(iter(rows(3)))
    codes = model.encode(features)
    columns = model.score_columns(codes, tf.constant([2, 0]))
    due = np.asarray(model.score(features)).T[[2, 0]]
    np.testing.assert_allclose(columns, due, rtol=1e-5)
