"""RecVAE by the paper: prior, loss, encoder and alternating updates, recomputed in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from two_histories import FEATURES, TARGETS

from tfrec.models.recvae import RecVAE, log_prior
from tfrec.schema import DatasetInfo

INFO = DatasetInfo("toy", "toy", "user", n_users=2, n_items=4, n_ratings={})
BATCH = (FEATURES, TARGETS)
X = np.array([[1, 0, 1, 1], [0, 1, 0, 1]], np.float64)


def small(**settings):
    keras.utils.set_random_seed(3)
    sizes = {"hidden": 5, "depth": 3, "latent": 2, "dropout": 0.0}
    model = RecVAE.create(INFO, RecVAE.Config(**{**sizes, **settings}))
    model.compile(keras.optimizers.SGD(0.1))
    return model


def normal(z, mean, variance):
    return np.exp(-((z - mean) ** 2) / 2 / variance) / np.sqrt(2 * np.pi * variance)


def prior(z, mean, variance):
    return (
        0.15 * normal(z, 0, 1)
        + 0.75 * normal(z, mean, variance)
        + 0.1 * normal(z, 0, 22026.465794806718)
    )


def encode(layer, x):
    """Mean and variance; the encoder by the paper's recursion."""
    x = x / np.sqrt((x > 0).sum(1, keepdims=True))
    earlier = np.zeros(1)
    for dense, norm in zip(layer.hidden, layer.norms, strict=True):
        kernel, bias = dense.get_weights()
        gain, shift = norm.get_weights()
        a = x @ kernel + bias + earlier
        a = a / (1 + np.exp(-a))
        centred = a - a.mean(1, keepdims=True)
        x = gain * centred / np.sqrt((centred**2).mean(1, keepdims=True) + 0.1) + shift
        earlier = earlier + x
    heads = [x @ head.get_weights()[0] + head.get_weights()[1] for head in _heads(layer)]
    return heads[0], np.exp(heads[1])


def _heads(layer):
    return layer.mean, layer.log_variance


def shake(layer):
    """Makes a layer's weights differ from all others, also gains and shifts."""
    rng = np.random.default_rng(0)
    layer.set_weights([w + rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])


def test_worked_prior():
    """z = .5, old N(1, e^.2): .15 * .352065 + .75 * .325862 + .1 * .002688 = .297475, its log."""
    value = log_prior(tf.constant([[0.5]]), tf.constant([[1.0]]), tf.constant([[0.2]]))
    np.testing.assert_allclose(value, [[np.log(prior(0.5, 1, np.exp(0.2)))]], rtol=1e-6)
    np.testing.assert_allclose(value, [[-1.212424]], atol=1e-5)


def test_prior_far_away_does_not_underflow():
    value = log_prior(*(tf.constant([[x]]) for x in (500.0, 0.0, 0.0)))
    np.testing.assert_allclose(value, [[np.log(0.1 * normal(500, 0, np.exp(10)))]], rtol=1e-5)


@pytest.mark.parametrize("drawn", [False, True])
def test_scores_kl_and_loss_are_those_of_numpy(drawn, monkeypatch):
    noise = np.array([[0.3, -1.2], [0.8, 0.1]])
    monkeypatch.setattr(keras.random, "normal", lambda *_, **__: tf.constant(noise, tf.float32))
    model = small(gamma=0.02)
    shake(model.encoder)
    shake(model.old_encoder)
    logits, kl = model.run_forward(FEATURES, training=drawn)
    mean, variance = encode(model.encoder, X)
    z = mean + drawn * np.sqrt(variance) * noise
    kernel, bias = model.decoder.get_weights()
    due = z @ kernel + bias
    np.testing.assert_allclose(logits, due, rtol=1e-4)
    due_kl = np.log(normal(z, mean, variance)) - np.log(prior(z, *encode(model.old_encoder, X)))
    np.testing.assert_allclose(kl, due_kl.sum(1), rtol=1e-4)
    nll = -(X * (due - np.log(np.exp(due).sum(1, keepdims=True)))).sum(1)
    rows = nll + 0.02 * np.array([3, 2]) * due_kl.sum(1)
    np.testing.assert_allclose(model.objective(FEATURES, TARGETS, (logits, kl)), rows, rtol=1e-4)


def test_encoder_and_decoder_are_updated_alternately():
    """Each update changes one part only, and never the old encoder."""
    model = small(encoder_steps=2)
    parts = {"encoder": model.encoder, "old": model.old_encoder, "decoder": model.decoder}
    moved, apply = [], model.optimizer.apply

    def watched(*args):
        before = {k: p.get_weights() for k, p in parts.items()}
        apply(*args)
        moved.append(
            [
                k
                for k, p in parts.items()
                if any((a != b).any() for a, b in zip(before[k], p.get_weights(), strict=True))
            ]
        )

    model.optimizer.apply = watched
    model.train_step(BATCH)
    assert moved == [["encoder"], ["encoder"], ["decoder"]]


def test_only_updates_of_the_encoder_drop_items():
    model = small(dropout=0.5)
    inputs, call = [], model.encoder.call
    model.encoder.call = lambda x: inputs.append(x.numpy()) or call(x)
    model.train_step(BATCH)
    whole = X / np.sqrt(X.sum(1, keepdims=True))
    same = [np.allclose(x, whole) for x in inputs]
    assert len(inputs) == 4
    assert same[3] and not all(same[:3])


def test_the_old_encoder_is_the_encoder_at_the_start_of_the_epoch():
    model = small()
    model.begin_epoch(0, None)
    start = model.encoder.get_weights()
    for _ in range(3):
        model.train_step(BATCH)
    assert any((a != b).any() for a, b in zip(start, model.encoder.get_weights(), strict=True))
    for a, b in zip(start, model.old_encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.begin_epoch(1, None)
    for a, b in zip(model.encoder.get_weights(), model.old_encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_old_encoder_is_not_trained():
    model = small()
    trained = {w.path for w in (*model.encoder.weights, *model.decoder.weights)}
    assert {w.path for w in model.trainable_weights} == trained
    others = (*model.old_encoder.weights, *model.list_order.weights)
    assert len(model.weights) == len(trained) + len(others)
    model.compile(keras.optimizers.Adam(0.01))
    model.train_step(BATCH)
    assert len(model.optimizer.variables) == 2 + 2 * len(trained)  # no slots of the old one


def test_keras_fit_copies_the_encoder_before_each_epoch_too():
    model = small()
    rows = tf.data.Dataset.from_tensors(BATCH)
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(model.encoder.get_weights())
    )
    model.fit(rows, epochs=3, verbose=0, shuffle=False, callbacks=[note])
    for a, b in zip(seen[1], model.old_encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_is_two_optimizers_in_one():
    """Adam's moments change only for the updated part, as with the authors' two optimizers."""
    model = small(encoder_steps=1)
    model.compile(keras.optimizers.Adam(0.01))
    kept = []
    model.optimizer.build(model.trainable_variables)
    apply = model.optimizer.apply
    mine = [v for v in model.optimizer.variables if "decoder" in v.path]

    def watched(*args):
        apply(*args)
        kept.append([v.numpy().copy() for v in mine])

    model.optimizer.apply = watched
    model.train_step(BATCH)
    assert len(mine) == 4  # two moments for kernel and bias
    assert not any(v.any() for v in kept[0])
    assert all(v.any() for v in kept[1])


def test_at_test_z_is_the_mean_and_the_input_counts_as_a_set():
    model = small(dropout=0.5)
    one = model.score(FEATURES).numpy()
    np.testing.assert_array_equal(one, model.score(FEATURES))
    rated = {**FEATURES, "values": 7 * FEATURES["values"], "user": tf.constant([-1, -1])}
    np.testing.assert_array_equal(one, model.score(rated))
    turned = {**FEATURES, "items": tf.constant([[3, 0, 2], [-1, 3, 1]])}
    np.testing.assert_allclose(one, model.score(turned), rtol=1e-5)


def test_a_user_without_items_gets_finite_scores():
    assert np.isfinite(small().score(RecVAE.empty_features(2)).numpy()).all()


def test_gamma_asks_more_of_users_with_many_items():
    kl = tf.constant([1.0, 1.0])
    logits = tf.zeros([2, 4])
    gaps = small(gamma=0.5).objective(FEATURES, TARGETS, (logits, kl)) - small(gamma=0.0).objective(
        FEATURES, TARGETS, (logits, kl)
    )
    np.testing.assert_allclose(gaps, [1.5, 1.0], rtol=1e-5)
