"""DeepRec by the paper: eq. 1, dense re-feeding and tied weights, recomputed in NumPy."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from two_histories import FEATURES, TARGETS

from tfrec.models.biases import Biases
from tfrec.models.deeprec import DeepRec
from tfrec.schema import DatasetInfo

INFO = DatasetInfo("toy", "toy", "user", n_users=2, n_items=4, n_ratings={})
X = np.array([[5, 0, 3, 1], [0, 2, 0, 4]], np.float64)


def small(info=INFO, **settings):
    keras.utils.set_random_seed(3)
    settings = {
        "base": "none",
        "hidden": (3, 2),
        "dropout": 0.0,
        "last_activation": True,
        "regularization": 0.0,
    } | settings
    config = DeepRec.Config(**settings)
    model = DeepRec.create(info, config)
    model.compile(keras.optimizers.SGD(0.01))
    return model


def selu(x):
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1))


def selu_slope(y):
    """The derivative, from the output."""
    return np.where(y > 0, 1.0507009873554805, y + 1.0507009873554805 * 1.6732632423543772)


def layers(model):
    return [layer.get_weights() for layer in (*model.encoder, *model.decoder)]


def forward(weights, x):
    outputs = [x]
    for kernel, bias in weights:
        outputs.append(selu(outputs[-1] @ kernel + bias))
    return outputs


def step(weights, x, gradient_of, rate=0.01):
    """One step of plain SGD by hand; returns the new weights and the output before it."""
    outputs = forward(weights, x)
    flow = gradient_of(outputs[-1])
    new = []
    for (kernel, bias), before, after in zip(
        reversed(weights), reversed(outputs[:-1]), reversed(outputs[1:]), strict=True
    ):
        flow = flow * selu_slope(after)
        new.append((kernel - rate * before.T @ flow, bias - rate * flow.sum(0)))
        flow = flow @ kernel.T
    return new[::-1], outputs[-1]


def residuals(model):
    """The residuals of `X` after mu, the items' biases and the users' damped ones."""
    mask = X > 0
    rest = np.where(mask, X - INFO.rating_mean - model.column_biases.numpy(), 0)
    users = rest.sum(1, keepdims=True) / (5 + mask.sum(1, keepdims=True))
    return np.where(mask, rest - users, 0), users


@pytest.mark.parametrize("base", ["none", "biases"])
@pytest.mark.parametrize("aug_steps", [0, 1, 2])
def test_train_step_equals_the_step_by_hand(aug_steps, base):
    info = dataclasses.replace(INFO, n_ratings={"train": 5, "validation": 3})
    model = small(info, aug_steps=aug_steps, base=base, regularization=2.0)
    weights = [tuple(w.astype(np.float64) for w in layer) for layer in layers(model)]
    mask, seen = X > 0, X
    if base == "biases":
        model.column_biases.assign([0.5, -0.25, 0.0, 1.0])
        seen, _ = residuals(model)
    before = weights
    weights, y = step(weights, seen, lambda y: 2 * mask * (y - seen) / mask.sum())
    decay = 0.01 * 2 / 5  # the rate times lambda by the training ratings
    weights = [(w - decay * old, b) for (w, b), (old, _) in zip(weights, before, strict=True)]
    for _ in range(aug_steps):
        x = y
        weights, y = step(weights, x, lambda y, x=x: 2 * (y - x) / x.size)
    logs = model.train_step((FEATURES, TARGETS))
    for ours, due in zip(layers(model), weights, strict=True):
        np.testing.assert_allclose(ours[0], due[0], atol=2e-6)
        np.testing.assert_allclose(ours[1], due[1], atol=2e-6)
    assert ("refeed_loss" in logs) == (aug_steps > 0)


def test_the_base_is_added_to_the_predicted_residuals():
    model = small(base="biases")
    rows = tf.data.Dataset.from_tensors((FEATURES, TARGETS))
    model.begin_epoch(0, rows)
    biases = Biases.create(INFO)
    biases.fit(rows)
    np.testing.assert_allclose(model.column_biases, biases.column_biases)
    assert np.abs(model.column_biases).min() > 0
    seen, users = residuals(model)
    net = model.reconstruct(tf.constant(seen, tf.float32))
    due = INFO.rating_mean + users + model.column_biases + net
    np.testing.assert_allclose(model.score(FEATURES), due, rtol=1e-5)
    before = model.column_biases.numpy()
    model.begin_epoch(1, rows.take(0))
    model.train_step((FEATURES, TARGETS))
    np.testing.assert_array_equal(model.column_biases, before)  # computed once, never trained


def test_the_last_layer_can_go_without_activation():
    x = 100 * np.ones(4)
    linear, selu_last = (
        small(last_activation=last).reconstruct(tf.constant(-x[None], tf.float32)).numpy()
        for last in (False, True)
    )
    assert selu_last.min() > -1.76  # SELU's floor
    np.testing.assert_allclose(np.where(linear > 0, linear * 1.0507, -1.76), selu_last, atol=1.8)


def test_dropout_acts_on_the_code_and_in_training_only():
    model = small(dropout=0.5)
    quiet = [model(FEATURES, training=False).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    codes = []
    model.dropout.call, original = (
        lambda x, training=False: codes.append(x) or original(x, training=training),
        model.dropout.call,
    )
    model(FEATURES, training=True)
    assert codes[0].shape == (2, 2)  # the code is hidden[-1] wide


def test_constrained_decoder_has_biases_of_its_own_only():
    free, tied = small(), small(constrained=True)
    kernels = 4 * 3 + 3 * 2
    assert free.count_params() - tied.count_params() == kernels
    weights = [w.numpy() for w in tied.trainable_weights]
    encoder = [w for w in weights if w.ndim == 2]
    x = selu(selu(X @ encoder[0]) @ encoder[1])
    biases = [layer.bias.numpy() for layer in tied.decoder]
    due = selu(selu(x @ encoder[1].T + biases[0]) @ encoder[0].T + biases[1])
    np.testing.assert_allclose(tied(FEATURES), due, rtol=1e-5)


@pytest.mark.parametrize("activation", ["selu", "elu", "relu", "softplus", "gelu", "linear"])
@pytest.mark.parametrize("last_activation", [True, False])
def test_without_input_the_output_starts_at_the_mean_rating(activation, last_activation):
    info = dataclasses.replace(INFO, rating_mean=3.58)
    for constrained in (False, True):
        model = small(info, **{"activation": "selu", "constrained": constrained})
        np.testing.assert_array_equal(model.decoder[0].bias, 3 * [0])
        np.testing.assert_allclose(model.reconstruct(tf.zeros([1, 4])), [4 * [3.58]], rtol=1e-6)
    settings = {"activation": activation, "last_activation": last_activation}
    layer = small(info, **settings).decoder[-1]
    np.testing.assert_allclose(layer.activation(layer.bias), 4 * [3.58], rtol=1e-6)


def test_an_activation_that_does_not_reach_the_mean_starts_at_it():
    bias = small(activation="sigmoid").decoder[-1].bias
    np.testing.assert_array_equal(bias, 4 * [INFO.rating_mean])


def test_refeeding_drops_units_too():
    model, calls = small(dropout=0.5, aug_steps=2), []
    call = model.dropout.call
    model.dropout.call = lambda x, training=False: calls.append(training) or call(x, training)
    model.train_step((FEATURES, TARGETS))
    assert calls == [True] * 3


def test_refeeding_brings_f_of_f_nearer_to_f(one):
    gaps = []
    for aug_steps in (0, 1):
        model = small(hidden=(8, 4), aug_steps=aug_steps)
        step = tf.function(model.train_step)
        for _ in range(300):
            step((FEATURES, TARGETS))
        gaps.append(float(tf.reduce_mean(model.fixed_point_gap(FEATURES))))
    assert gaps[1] < 0.5 * gaps[0]
