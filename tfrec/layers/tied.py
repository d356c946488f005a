"""A decoder layer that shares the kernel of an encoder layer."""

import keras
import tensorflow as tf

from tfrec.layers.dense import Dense


@keras.saving.register_keras_serializable("tfrec")
class TiedDense(keras.layers.Layer):
    """y = activation(x K^T + b), K the kernel of `encoder`, b a bias of this layer.

    Args:
        encoder: The layer whose kernel is used; it need not be built yet.
        units: Output size: the encoder's input size.
        activation: Name of the activation.
        bias_initializer: Initializer of the bias.
    """

    def __init__(
        self,
        encoder: Dense,
        units: int,
        activation: str | None = None,
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.units = units
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.bias = self.add_weight(
            shape=(self.units,), initializer=self.bias_initializer, name="bias"
        )

    def call(self, x):
        """`[batch, encoder.units]` -> `[batch, units]`."""
        kernel = tf.cast(self.encoder.kernel, x.dtype)
        return self.activation(tf.matmul(x, kernel, transpose_b=True) + self.bias)
