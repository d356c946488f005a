"""Mult-VAE and Mult-DAE by the paper (Liang et al. 2018), recomputed in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from two_histories import FEATURES, TARGETS

from tfrec.models.multdae import MultDAE
from tfrec.models.multvae import MultVAE
from tfrec.schema import DatasetInfo

INFO = DatasetInfo("toy", "toy", "user", 2, 4, {}, row_counts={"train": 100})
X = np.array([[1, 0, 1, 1], [0, 1, 0, 1]], np.float64)
H = X / np.sqrt(X.sum(1, keepdims=True))


def vae(**settings):
    keras.utils.set_random_seed(3)
    model = MultVAE.create(INFO, MultVAE.Config(**{"hidden": (3,), "latent": 2, **settings}))
    model.compile(keras.optimizers.SGD(0.01))
    return model


def dae(**settings):
    keras.utils.set_random_seed(3)
    return MultDAE.create(INFO, MultDAE.Config(**{"hidden": (3, 2), **settings}))


def dense(layer, x):
    kernel, bias = layer.get_weights()
    return x @ kernel + bias


def nll(logits):
    log_softmax = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return -(X * log_softmax).sum(1)


def test_vae_is_the_papers_net_and_loss():
    model = vae(total_anneal_steps=10)
    h = np.tanh(dense(model.encoder[0], H))
    mean, log_variance = dense(model.code.mean, h), dense(model.code.log_variance, h)
    logits = dense(model.logits, np.tanh(dense(model.decoder[0], mean)))
    np.testing.assert_allclose(model.score(FEATURES), logits, rtol=1e-4, atol=1e-6)
    kl = (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1) / 2
    for step, beta in ((0, 0), (1, 0.1), (2, 0.2), (9, 0.2)):
        model.trained_steps.assign(step)
        rows = model.objective(FEATURES, TARGETS, model.run_forward(FEATURES))
        np.testing.assert_allclose(rows, nll(logits) + beta * kl, rtol=1e-5)


def test_multinomial_likelihood_worked_by_hand():
    """Logits 1, 2, 0, -1 and the items 0 and 2."""
    model = dae()
    features = {"user": tf.constant([0])}
    targets = {"target_items": tf.constant([[0, 2, -1]])}
    due = model.objective(features, targets, tf.constant([[1.0, 2.0, 0.0, -1.0]]))
    assert float(due[0]) == pytest.approx(3.880379, abs=1e-6)


def test_dae_is_the_papers_net_and_loss():
    model = dae(l2=0.01)
    x = H
    for layer in model.hidden:
        x = np.tanh(dense(layer, x))
    assert [layer.units for layer in model.hidden] == [3, 2, 3]
    logits = dense(model.logits, x)
    np.testing.assert_allclose(model.score(FEATURES), logits, rtol=1e-4, atol=1e-6)
    squares = sum((w.numpy() ** 2).sum() for w in model.weights if w.name == "kernel")
    loss = model.compute_loss(FEATURES, TARGETS, model.run_forward(FEATURES))
    assert float(loss) == pytest.approx(nll(logits).mean() + 0.01 * squares, rel=1e-5)


@pytest.mark.parametrize("make", [vae, dae])
def test_ratings_count_as_one_and_their_size_does_not_matter(make):
    model = make()
    scaled = FEATURES | {"values": 7 * FEATURES["values"]}
    np.testing.assert_array_equal(model.score(FEATURES), model.score(scaled))


@pytest.mark.parametrize("make", [vae, dae])
def test_dropout_keeps_the_mean_and_is_off_at_inference(make):
    model = make(dropout=0.5)
    np.testing.assert_array_equal(model.score(FEATURES), model.score(FEATURES))
    dropped = np.stack([model.dropout(np.ones(50, "f"), training=True) for _ in range(100)])
    assert set(np.unique(dropped)) == {0, 2}
    assert dropped.mean() == pytest.approx(1, abs=0.06)


def test_z_is_the_mean_at_inference_and_sampled_in_training():
    model = vae(dropout=0.0)
    np.testing.assert_array_equal(model.score(FEATURES), model.score(FEATURES))
    draws = [model(FEATURES, training=True).numpy() for _ in range(2)]
    assert (draws[0] != draws[1]).any()


def test_an_empty_history_is_scored():
    empty = {"items": tf.constant([[-1]]), "values": tf.zeros([1, 1]), "user": tf.constant([-1])}
    for model in (vae(), dae()):
        assert np.isfinite(model.score(empty)).all()


def test_every_step_counts_and_the_count_survives_the_file(tmp_path):
    model = vae(total_anneal_steps=1000)
    for _ in range(3):
        model.train_step((FEATURES, TARGETS))
    assert float(model.kl_weight(FEATURES)) == pytest.approx(0.003)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert float(again.kl_weight(FEATURES)) == pytest.approx(0.003)
    assert any(w is model.trained_steps for w in model.variables), "state.npz holds these"


def test_annealing_scales_with_the_data_by_default():
    """857 passes of 100 rows, two a step: beta would be 1 after 42,850 steps."""
    model = vae()
    model.trained_steps.assign(4285)
    assert float(model.kl_weight(FEATURES)) == pytest.approx(0.1)
    model.trained_steps.assign(42_850)
    assert float(model.kl_weight(FEATURES)) == pytest.approx(0.2)


@pytest.mark.parametrize("cls", [MultVAE, MultDAE])
def test_all_weights_start_by_the_seed(cls):
    """Biases, too: an initializer made at import would be seeded by nothing."""

    def start(seed):
        keras.utils.set_random_seed(seed)
        return cls.create(INFO).get_weights()

    first, again, other = start(1), start(1), start(2)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype != np.float32 or not np.array_equal(a, c)
