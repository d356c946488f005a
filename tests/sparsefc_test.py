"""SparseFC's kernel, loss and gradient against the formula in NumPy."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from tfrec.layers.kernel import KernelDense
from tfrec.models.sparsefc import SparseFC
from tfrec.schema import DatasetInfo
from tfrec.training import lbfgs

INFO = DatasetInfo("toy", "toy", "item", n_users=4, n_items=3, n_ratings={}, rating_mean=3.0)
ITEMS = np.array([[0, 2, 3], [1, 3, -1], [0, -1, -1]], np.int32)
VALUES = np.array([[5, 3, 1], [2, 4, 0], [1, 0, 0]], np.float32)
X = np.array([[5, 0, 3, 1], [0, 2, 0, 4], [1, 0, 0, 0]], np.float64)
SHAPES = [(4, 2), (2,), (4, 3), (2, 3), (2, 4), (4,), (2, 3), (4, 3)]  # w b u v, w b u v
ENDS = np.cumsum([np.prod(shape) for shape in SHAPES])


def rows(batch, extra=0):
    """The three rows; the last batch is filled with empty rows, and `extra` more of them."""
    missing = -3 % batch + extra
    features = {
        "user": np.r_[np.arange(3), [-1] * missing].astype(np.int32),
        "items": np.pad(ITEMS, ((0, missing), (0, 0)), constant_values=-1),
        "values": np.pad(VALUES, ((0, missing), (0, 0))),
    }
    targets = {"target_items": features["items"], "target_values": features["values"]}
    return tf.data.Dataset.from_tensor_slices((features, targets)).batch(batch + extra)


def small(info=INFO, **settings):
    keras.utils.set_random_seed(1)
    weights = {"regularization": 0.7, "kernel_regularization": 0.3, **settings}
    return SparseFC.create(
        info, SparseFC.Config(hidden=(2,), kernel_size=3, input_dropout=0.0, **weights)
    )


def numpy_kernel(u, v):
    return np.maximum(0, 1 - ((u[:, None] - v[None]) ** 2).sum(2))


def paper_loss(vector, lambda_2=0.7, lambda_s=0.3):
    """1/2 SSE + sum over layers of lambda_2/2 |W|^2 + lambda_s/2 |K|^2, over the rows."""
    parts = np.split(np.asarray(vector, float), ENDS[:-1])
    w1, b1, u1, v1, w2, b2, u2, v2 = (p.reshape(s) for p, s in zip(parts, SHAPES, strict=True))
    k1, k2 = numpy_kernel(u1, v1), numpy_kernel(u2, v2)
    hidden = 1 / (1 + np.exp(-(X @ (w1 * k1) + b1)))
    errors = ((X > 0) * (X - hidden @ (w2 * k2) - b2) ** 2).sum()
    weights, kernels = (w1**2).sum() + (w2**2).sum(), (k1**2).sum() + (k2**2).sum()
    return (errors + lambda_2 * weights + lambda_s * kernels) / 2 / 3


def point():
    """Weights that have open, half-open and closed connections."""
    return np.random.default_rng(0).normal(size=ENDS[-1], scale=0.4).astype(np.float32)


def test_kernel_by_hand():
    """|u - v|^2 = .25, 1.25 | 1, 0: 1 - .25, closed | closed, 1."""
    layer = KernelDense(2, size=2)
    layer.build((None, 2))
    layer.set_weights(
        [
            np.array([[2.0, 3.0], [4.0, 5.0]]),
            np.array([10.0, 20.0]),
            np.array([[0.5, 0.0], [1.0, 1.0]]),
            np.array([[0.0, 0.0], [1.0, 1.0]]),
        ]
    )
    np.testing.assert_allclose(layer.kernel(), [[0.75, 0], [0, 1]], atol=1e-6)
    y, squares = layer(tf.constant([[1.0, 1.0]]))
    np.testing.assert_allclose(y, [[10 + 1.5, 20 + 5.0]], rtol=1e-6)
    assert float(squares) == pytest.approx(0.75**2 + 1)


def test_kernel_of_tiny_and_large_embeddings_keeps_its_digits():
    """The expansion of |u - v|^2 must not lose what float32 can hold beside 1."""
    layer = KernelDense(40, size=5)
    layer.build((None, 30))
    rng = np.random.default_rng(0)
    for scale in (1e-3, 0.3, 3.0):
        u, v = (rng.normal(size=(n, 5), scale=scale).astype(np.float32) for n in (30, 40))
        layer.u.assign(u)
        layer.v.assign(v)
        due = numpy_kernel(u.astype(float), v.astype(float))
        np.testing.assert_allclose(layer.kernel(), due, atol=2e-7 * max(1, 50 * scale**2))


def test_embeddings_start_small_open_and_different():
    layer = KernelDense(500, size=5)
    layer.build((None, 500))
    u, v = layer.u.numpy(), layer.v.numpy()
    assert np.abs(u).max() <= 2e-3 and 0.7e-3 < u.std() < 1e-3  # cut at two deviations
    assert not np.array_equal(u, v)
    assert layer.kernel().numpy().min() > 0.9999


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_loss_and_gradient_are_the_papers_whatever_the_batch(batch, one):
    # One more item, which has no training ratings, is none of the rows that the sum runs over.
    info = dataclasses.replace(INFO, n_items=4, row_counts={"train": 3, "train+validation": 4})
    full = lbfgs.FullBatch(small(info), one, rows(batch))
    x = point()
    loss, gradient = full(x)
    assert loss == pytest.approx(paper_loss(x), rel=1e-5)
    numeric = scipy.optimize.approx_fprime(x.astype(float), paper_loss, 1e-6)
    assert gradient.shape == (ENDS[-1],)
    np.testing.assert_allclose(gradient, numeric, atol=1e-3)


def test_two_replicas_and_filler_rows_change_nothing(one, mirrored):
    x = point()
    with mirrored.scope():
        model = small()
    spread = mirrored.experimental_distribute_dataset(rows(2, extra=4))
    loss, gradient = lbfgs.FullBatch(model, mirrored, spread)(x)
    _, due = lbfgs.FullBatch(small(), one, rows(3))(x)
    assert loss == pytest.approx(paper_loss(x), rel=1e-5)
    np.testing.assert_allclose(gradient, due, atol=1e-4)


def without_user_1():
    """The toy data without the one rating of user 1."""
    return rows(3).map(
        lambda f, t: (
            {**f, "items": tf.where(f["items"] == 1, -1, f["items"])},
            {**t, "target_items": tf.where(t["target_items"] == 1, -1, t["target_items"])},
        )
    )


def test_a_user_without_ratings_has_the_mean_as_bias_and_loses_weights(one):
    model = small()
    before = model.decoder.w.numpy()
    model.begin_epoch(0, without_user_1())
    np.testing.assert_array_equal(model.decoder.b, [0, 3, 0, 0])
    lbfgs.epoch(lbfgs.FullBatch(model, one, without_user_1()), 15, lambda: None)
    bias = model.decoder.b.numpy()
    assert bias[1] == 3 and (np.abs(bias[[0, 2, 3]]) > 0.01).all()
    assert (np.abs(model.decoder.w.numpy()[:, 1]) < np.abs(before[:, 1])).all()


def test_with_user_rows_all_biases_start_at_the_mean():
    info = dataclasses.replace(INFO, rows="user")
    settings = SparseFC.Config(rows="user", hidden=(2,))
    np.testing.assert_array_equal(SparseFC.create(info, settings).decoder.b, [3, 3, 3])


def test_biases_that_were_trained_stay_at_later_epochs_and_in_a_warm_start():
    model = small()
    model.decoder.b.assign([1.0, 0.0, 2.0, 0.0])
    model.begin_epoch(1, without_user_1())
    np.testing.assert_array_equal(model.decoder.b, [1, 0, 2, 0])
    model.begin_epoch(0, without_user_1())
    np.testing.assert_array_equal(model.decoder.b, [1, 3, 2, 0])


def test_columns_scored_one_by_one_are_the_models_own(one):
    model = small()
    lbfgs.FullBatch(model, one, rows(3)).assign(point())
    features, _ = next(iter(rows(3)))
    columns = model.score_columns(model.encode(features), tf.constant([2, 0]))
    due = np.asarray(model.score(features)).T[[2, 0]]
    np.testing.assert_allclose(columns, due, rtol=1e-5)


def test_score_does_not_look_at_the_targets_or_at_the_row_s_name():
    model = small()
    features, _ = next(iter(rows(3)))
    unnamed = {**features, "user": tf.fill([3], -1)}
    np.testing.assert_array_equal(model.score(features), model.score(unnamed))
