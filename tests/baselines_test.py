"""The baselines, and the plain autoencoder."""

import numpy as np
import tensorflow as tf

from tfrec.models.autoencoder import AutoEncoder
from tfrec.models.biases import Biases
from tfrec.models.popularity import Popularity
from tfrec.schema import DatasetInfo

FEATURES = {
    "user": tf.constant([0, 1]),
    "items": tf.constant([[0, 2, 3], [2, -1, -1]]),
    "values": tf.constant([[5.0, 3.0, 1.0], [2.0, 0.0, 0.0]]),
}
TARGETS = {"target_items": FEATURES["items"], "target_values": FEATURES["values"]}
INFO = DatasetInfo("toy", "toy", "user", 2, 4, {}, rating_mean=2.75)
ROWS = tf.data.Dataset.from_tensors((FEATURES, TARGETS))


def test_popularity_counts():
    model = Popularity.create(INFO)
    model.fit(ROWS)
    np.testing.assert_array_equal(model.score(FEATURES), [[1, 0, 2, 1]] * 2)


def test_biases_are_the_damped_means_of_one_sweep():
    model = Biases.create(INFO, Biases.Config(damping=1.0, sweeps=1))
    model.fit(ROWS)
    b_u = [(2.25 + 0.25 - 1.75) / 4, -0.75 / 2]  # items' biases are 0 at first
    b_i = [
        (5 - 2.75 - b_u[0]) / 2,
        0,
        ((3 - 2.75 - b_u[0]) + (2 - 2.75 - b_u[1])) / 3,
        (1 - 2.75 - b_u[0]) / 2,
    ]
    np.testing.assert_allclose(model.column_biases, b_i, rtol=1e-5)


def test_biases_score_a_new_user_from_the_history():
    model = Biases.create(INFO, Biases.Config(damping=1.0))
    model.fit(ROWS)
    low, high = (
        model.score(
            {
                "user": tf.constant([0]),
                "items": tf.constant([[0]]),
                "values": tf.constant([[value]]),
            }
        ).numpy()
        for value in (1.0, 5.0)
    )
    np.testing.assert_allclose(high - low, 2.0)  # 4 stars apart, damped by one rating


def test_a_bottleneck_mirrors_the_hidden_layers():
    model = AutoEncoder.create(INFO, AutoEncoder.Config(hidden=(8, 6), bottleneck=3))
    assert [layer.units for layer in model.hidden] == [8, 6, 3, 6, 8]
    assert model.code == 2
    plain = AutoEncoder.create(INFO, AutoEncoder.Config(hidden=(8, 5, 8)))
    assert [layer.units for layer in plain.hidden] == [8, 5, 8]
