"""The rating VAE: its evidence lower bound, recomputed in NumPy, and its traps."""

import keras
import numpy as np
import tensorflow as tf
from two_histories import FEATURES, TARGETS

from tfrec.models.vae import VAE
from tfrec.schema import DatasetInfo

INFO = DatasetInfo("toy", "toy", "user", 2, 4, {}, rating_mean=3.0)
R = np.array([[5, 0, 3, 1], [0, 2, 0, 4]], np.float64)
M = R > 0


def small(**settings):
    keras.utils.set_random_seed(3)
    own = {"base": "none", "hidden": (3,), "latent": 2, "total_anneal_steps": 10}
    config = VAE.Config(**own | settings)
    return VAE.create(INFO, config)


def dense(layer, x):
    kernel, bias = layer.get_weights()
    return x @ kernel + bias


def test_loss_is_the_negative_elbo_of_the_rated_entries():
    model = small(deviation=0.5, beta=0.2)
    h = np.tanh(dense(model.encoder[0], (R - 3) * M))
    mean, log_variance = dense(model.code.mean, h), dense(model.code.log_variance, h)
    predicted = dense(model.ratings, np.tanh(dense(model.decoder[0], mean)))
    np.testing.assert_allclose(model.score(FEATURES), predicted, rtol=1e-5)
    model.trained_steps.assign(1)
    errors = (M * (R - predicted) ** 2).sum(1) / (2 * 0.25)
    kl = (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1) / 2
    rows = model.objective(FEATURES, TARGETS, model.run_forward(FEATURES))
    np.testing.assert_allclose(rows, errors + 0.1 * kl, rtol=1e-5)


def test_unrated_entries_get_no_gradient():
    model = small()
    with tf.GradientTape() as tape:
        loss = model.compute_loss(FEATURES, TARGETS, model.run_forward(FEATURES))
    slope = tape.gradient(loss, model.ratings.bias).numpy()
    only_first = {k: v[:, :1] for k, v in TARGETS.items()}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(FEATURES, only_first, model.run_forward(FEATURES))
    assert (slope != 0).all()
    np.testing.assert_array_equal(tape.gradient(loss, model.ratings.bias).numpy()[2:], [0, 0])


def test_z_is_the_mean_at_inference():
    model = small(dropout=0.0)
    np.testing.assert_array_equal(model.score(FEATURES), model.score(FEATURES))
    draws = [model(FEATURES, training=True).numpy() for _ in range(2)]
    assert (draws[0] != draws[1]).any()


def test_an_item_without_ratings_is_predicted_near_the_mean():
    model = small()
    np.testing.assert_array_equal(model.ratings.bias, 4 * [3.0])
