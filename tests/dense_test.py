"""Dense layers in bfloat16: the gradient of the bias."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec.layers.dense import ACTIVATIONS, Dense
from tfrec.models.svae import SVAE
from tfrec.schema import DatasetInfo


@pytest.mark.parametrize("shape", [(3000, 2), (30, 100, 2)])
def test_the_gradient_of_a_bias_is_summed_in_float32(shape):
    """In bfloat16 a sum of ones stops at 256."""
    layer = Dense(5, "relu", bias_initializer="ones", dtype="mixed_bfloat16")
    layer.build(shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(layer(tf.zeros(shape)), tf.float32))
    np.testing.assert_allclose(tape.gradient(loss, layer.bias.value), 5 * [3000], rtol=0.01)


def test_values_and_other_gradients_are_those_of_keras():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    for policy in ("float32", "mixed_bfloat16"):
        found = []
        for cls in (Dense, keras.layers.Dense):
            keras.utils.set_random_seed(1)
            layer = cls(4, "tanh", bias_initializer="ones", dtype=policy)
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(tf.cast(layer(x), tf.float32)))
            found.append([loss, *tape.gradient(loss, [layer.kernel.value, layer.bias.value])])
        for ours, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0.01 if policy != "float32" else 1e-6)


def test_svae_learns_how_popular_items_are_in_bfloat16_too():
    """It has the time steps of all rows: thousands in a batch."""
    n = 40
    info = DatasetInfo("toy", "toy", "user", n_users=64, n_items=n, n_ratings={})
    draw = np.random.default_rng(0)
    items = tf.constant(np.stack([draw.permutation(n) for _ in range(64)]).astype(np.int32))
    features = {"user": tf.range(64), "items": items, "values": tf.ones(items.shape)}
    found = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(1)
        settings = {"embedding": 4, "recurrent": 4, "hidden": (4,), "latent": 2, "dropout": 0.0}
        model = SVAE.create(info, SVAE.Config(**settings))
        with tf.GradientTape() as tape:
            loss = model.compute_loss(features, {}, model.run_forward(features))
        found.append(tape.gradient(loss, model.logits.bias.value).numpy())
    error = np.linalg.norm(found[1] - found[0]) / np.linalg.norm(found[0])
    assert error < 0.05  # by Keras' own layer .5


def test_every_activation_that_can_be_named_keeps_the_shape():
    x = tf.constant([[-2.0, 0.0, 3.0]])
    found = {name: Dense(4, name)(x) for name in ACTIVATIONS}
    assert {tuple(y.shape) for y in found.values()} == {(1, 4)}
    names = {name for name in dir(keras.activations) if name[0].islower()}
    assert names - {*ACTIVATIONS} == {"deserialize", "get", "glu", "serialize", "threshold"}
