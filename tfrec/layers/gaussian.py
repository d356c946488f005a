"""The Gaussian latent code of a variational autoencoder."""

import keras
import tensorflow as tf

from tfrec.layers.dense import Dense


@keras.saving.register_keras_serializable("tfrec")
class GaussianCode(keras.layers.Layer):
    """q(z|x) = N(mu(x), diag exp(log_variance(x))), both linear in x.

    Args:
        size: Size of z.
        bias_initializer: Initializer of both biases.
    """

    def __init__(self, size: int, bias_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        options = {"bias_initializer": bias_initializer, "dtype": self.dtype_policy}
        self.mean = Dense(size, name="mean", **options)
        self.log_variance = Dense(size, name="log_variance", **options)
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape):
        self.mean.build(input_shape)
        self.log_variance.build(input_shape)

    def call(self, x, training=False):
        """Samples z in training; otherwise z is the mean.

        Args:
            x: `[..., width]`.
            training: Whether to sample.

        Returns:
            z `[..., size]`, and KL(q(z|x) || N(0, I)) as float32 `[...]`.
        """
        mean, log_variance = self.mean(x), self.log_variance(x)
        kl = gaussian_kl(tf.cast(mean, tf.float32), tf.cast(log_variance, tf.float32))
        if not training:
            return mean, kl
        noise = keras.random.normal(tf.shape(mean), dtype=mean.dtype, seed=self.seed_generator)
        return mean + tf.exp(log_variance / 2) * noise, kl


def gaussian_kl(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) = 1/2 sum(exp(lv) + mu^2 - 1 - lv), `[batch]`.

    Args:
        mean: `[batch, size]`.
        log_variance: `[batch, size]`.
    """
    terms = tf.exp(log_variance) + tf.square(mean) - 1.0 - log_variance
    return tf.reduce_sum(terms, axis=-1) / 2
