"""Keras' dense layer, with a bias gradient that is exact in bfloat16, too."""

import keras
import tensorflow as tf

ACTIVATIONS = (  # names of Keras' activations that take one argument and keep the shape
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish"),
    *("sigmoid", "hard_sigmoid", "hard_silu", "hard_swish", "log_sigmoid", "sparse_sigmoid"),
    *("tanh", "hard_tanh", "softplus", "sparse_plus", "squareplus", "softsign", "exponential"),
    *("softmax", "log_softmax", "sparsemax", "tanh_shrink", "soft_shrink", "hard_shrink", "mish"),
)


@keras.saving.register_keras_serializable("tfrec")
class Dense(keras.layers.Dense):
    """y = activation(x W + b), the gradient of b summed in float32 whatever the compute dtype.

    Keras sums that gradient over the batch in the compute dtype: in bfloat16 a sum of ones stops at
    256, while a batch has hundreds of rows or thousands of positions.
    """

    def call(self, inputs, training=None):
        """`[..., n]` -> `[..., units]`."""
        if not self.use_bias or self.compute_dtype == "float32":
            return super().call(inputs, training=training)
        y = add_bias(keras.ops.matmul(inputs, self.kernel), tf.convert_to_tensor(self.bias))
        return self.activation(y)


@tf.custom_gradient
def add_bias(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`[..., n]` and `[n]` -> `[..., n]`; sums the gradient of `bias` in float32."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        leading = list(range(len(upstream.shape) - 1))
        total = tf.reduce_sum(tf.cast(upstream, tf.float32), axis=leading)
        return upstream, tf.cast(total, bias.dtype)

    return x + bias, gradient
