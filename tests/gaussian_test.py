"""The Gaussian code: its KL, its samples in training, its mean at inference."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec.layers.gaussian import GaussianCode, gaussian_kl


def test_kl_worked_by_hand():
    kl = gaussian_kl(tf.constant([[0.5, -1.0]]), tf.constant([[0.2, -0.3]]))
    assert float(kl[0]) == pytest.approx(0.656110, abs=1e-6)
    assert float(gaussian_kl(tf.zeros([1, 3]), tf.zeros([1, 3]))[0]) == 0


def test_z_is_the_mean_at_inference_and_sampled_in_training():
    keras.utils.set_random_seed(1)
    code = GaussianCode(2)
    x = tf.random.normal([4000, 3], seed=5)
    mean = code(x)[0]
    np.testing.assert_array_equal(mean, code(x)[0])
    np.testing.assert_allclose(mean, x @ code.mean.kernel, atol=1e-6)
    noise = (code(x, training=True)[0] - mean) / tf.exp((x @ code.log_variance.kernel) / 2)
    assert abs(np.mean(noise)) < 0.05  # 8,000 draws: four standard errors are .045
    assert np.std(noise) == pytest.approx(1, abs=0.05)


def test_kl_is_one_number_for_each_position():
    z, kl = GaussianCode(2)(tf.ones([5, 7, 3]))
    assert z.shape == (5, 7, 2)
    assert kl.shape == (5, 7)
