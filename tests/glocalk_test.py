"""GLocal-K's global kernel, its convolution and its two phases."""

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from tfrec.models.glocalk import GLocalK
from tfrec.models.sparsefc import SparseFC
from tfrec.schema import DatasetInfo
from tfrec.training import lbfgs

INFO = DatasetInfo("toy", "toy", "item", n_users=4, n_items=3, n_ratings={}, rating_mean=3.0)
FEATURES = {
    "user": np.array([2, 0, 1, -1], np.int32),  # row 1 of X comes third, one row is a filler
    "items": np.array([[0, -1, -1], [0, 2, 3], [1, 3, -1], [-1, -1, -1]], np.int32),
    "values": np.array([[1, 0, 0], [5, 3, 1], [2, 4, 0], [0, 0, 0]], np.float32),
}
X = np.array([[5, 0, 3, 1], [0, 2, 0, 4], [1, 0, 0, 0]], np.float32)


def rows():
    targets = {"target_items": FEATURES["items"], "target_values": FEATURES["values"]}
    return tf.data.Dataset.from_tensors((FEATURES, targets))


def small(cls=GLocalK, **settings):
    keras.utils.set_random_seed(1)
    weights = {"regularization": 0.7, "kernel_regularization": 0.3, "hidden": (2,), **settings}
    if cls is GLocalK:
        weights = {"identity_start": False, **weights}
    return cls.create(INFO, cls.Config(**{**cls.paper_settings, **weights}))


def fine(**settings):
    """A model after pre-training, with weights that distinguish users."""
    model = small(pretrain_epochs=1, **settings)
    model.decoder.b.assign([3.0, 2.5, 4.0, 3.5])
    model.begin_epoch(1, rows())
    return model


def numpy_convolved(kernel):
    """relu(sum over a, b of kernel[a, b] X[i + a - 1, j + b - 1]), zeros outside."""
    padded = np.pad(X, 1)
    out = np.zeros_like(X)
    for i in range(3):
        for j in range(4):
            out[i, j] = (kernel * padded[i : i + 3, j : j + 3]).sum()
    return np.maximum(out, 0)


def test_global_kernel_is_pooled_output_times_c():
    model = small(pretrain_epochs=1, kernel_scale=0.5)
    before = model.score(FEATURES).numpy()
    c = np.random.default_rng(0).normal(size=(3, 9)).astype(np.float32)
    model.c.assign(c)
    model.begin_epoch(1, rows())
    pooled = before.mean(axis=1)[[1, 2, 0]]  # in the order of the items
    np.testing.assert_allclose(model.global_kernel(), (pooled @ c).reshape(3, 3) * 0.5, rtol=1e-5)


def test_fine_tuning_starts_at_the_pre_trained_model():
    model = small(pretrain_epochs=1, identity_start=True, kernel_scale=0.5)
    before = model.score(FEATURES).numpy()
    model.begin_epoch(1, rows())
    np.testing.assert_allclose(model.global_kernel(), [[0, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(model.score(FEATURES), before, rtol=1e-5)


def test_convolution_is_numpys_in_the_order_of_the_items():
    model = fine()
    kernel = model.global_kernel().numpy()
    due = numpy_convolved(kernel)
    assert 0 < (due > 0).sum() < due.size
    np.testing.assert_allclose(model.dense_rows(FEATURES)[:3], due[[2, 0, 1]], atol=1e-5)
    np.testing.assert_array_equal(model.dense_rows(FEATURES)[3], 0)


def test_rows_of_a_batch_do_not_depend_on_the_batch():
    model = fine()
    whole = model.dense_rows(FEATURES)
    for row in range(4):
        alone = model.dense_rows({k: v[row : row + 1] for k, v in FEATURES.items()})
        np.testing.assert_allclose(alone[0], whole[row], atol=1e-6)


def test_an_unknown_row_has_no_neighbours():
    model = fine()
    features = {**FEATURES, "user": np.full(4, -1, np.int32)}
    kernel = model.global_kernel().numpy().copy()
    kernel[[0, 2]] = 0
    np.testing.assert_allclose(
        model.dense_rows(features)[:3], numpy_convolved(kernel)[[2, 0, 1]], atol=1e-5
    )


def test_before_fine_tuning_it_is_sparsefc():
    model, plain = small(pretrain_epochs=2), small(SparseFC)
    model.begin_epoch(0, rows())
    model.begin_epoch(1, rows())
    for mine, its in zip([*model.encoder, model.decoder], [*plain.encoder, plain.decoder]):
        mine.set_weights(its.get_weights())
    np.testing.assert_array_equal(model.score(FEATURES), plain.score(FEATURES))


def test_phase_and_image_are_kept_with_the_weights_and_made_once():
    model = fine()
    before = [w.copy() for w in model.get_weights()]
    model.decoder.b.assign([0.0] * 4)
    model.begin_epoch(2, rows())  # the pooled output stays that of pre-training
    model.decoder.b.assign([3.0, 2.5, 4.0, 3.5])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    again = small(pretrain_epochs=1)
    again.set_weights(before)
    np.testing.assert_array_equal(again.score(FEATURES), model.score(FEATURES))


def test_gradient_in_fine_tuning_reaches_c_and_only_then(one):
    """C's gradient is d loss / d kernel spread over pooled; numeric on the kernel's scale."""
    early = lbfgs.FullBatch(small(pretrain_epochs=1), one, rows())
    size = 3 * 9
    _, gradient = early(early.value())
    offset = _offset_of_c(early)
    np.testing.assert_array_equal(gradient[offset : offset + size], 0)

    model = fine()
    model.c.assign(np.random.default_rng(0).normal(size=(3, 9), scale=0.02))
    late = lbfgs.FullBatch(model, one, rows())
    x = late.value()
    _, gradient = late(x)

    def loss(c):
        return late(np.r_[x[:offset], np.asarray(c, np.float32), x[offset + size :]])[0]

    numeric = scipy.optimize.approx_fprime(x[offset : offset + size].astype(float), loss, 1e-3)
    assert np.abs(numeric).max() > 1e-3
    np.testing.assert_allclose(gradient[offset : offset + size], numeric, atol=5e-3)


def _offset_of_c(full):
    sizes = [int(np.prod(w.shape)) for w in full.weights]
    index = next(i for i, w in enumerate(full.weights) if w.name == "c")
    return sum(sizes[:index])


def test_rows_by_user_are_refused():
    with pytest.raises(ValueError, match="rows by item only"):
        GLocalK.create(INFO, GLocalK.Config(rows="user"))
