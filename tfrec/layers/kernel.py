"""A dense layer whose weights are masked by a kernel of learned unit embeddings."""

import keras
import tensorflow as tf

DEVIATION = 1e-3  # of the initial embeddings, so that all connections are open at first


@keras.saving.register_keras_serializable("tfrec")
class KernelDense(keras.layers.Layer):
    """y = activation(x (W * K) + b), K_ij = max(0, 1 - |u_i - v_j|^2).

    u_i and v_j are learned embeddings of the input and output units; units further than 1 apart
    are not connected. K is computed once a call, as one matrix product of [-|u|^2, 2 u, 1] and
    [1, v, 1 - |v|^2]; in float32 whatever the compute dtype.

    Args:
        units: Output size.
        activation: Name of the activation.
        size: Dimension of the embeddings u and v.
        l2: L2 regularization factor of W.
        bias_initializer: Initializer of b.
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        size: int = 5,
        l2: float = 0.0,
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units, self.size = units, size
        self.activation = keras.activations.get(activation)
        self.regularizer = keras.regularizers.L2(l2)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape):
        n_inputs = input_shape[-1]
        self.w = self.add_weight(
            shape=(n_inputs, self.units),
            initializer="glorot_uniform",
            regularizer=self.regularizer,
            name="w",
        )
        self.b = self.add_weight(shape=(self.units,), initializer=self.bias_initializer, name="b")
        self.u = self._embedding(n_inputs, "u")
        self.v = self._embedding(self.units, "v")

    def _embedding(self, n: int, name: str):
        # A shared initializer would give u and v the same values.
        start = keras.initializers.TruncatedNormal(stddev=DEVIATION)
        shape = (n, self.size)
        return self.add_weight(shape=shape, initializer=start, autocast=False, name=name)

    def kernel(self, columns: tf.Tensor | None = None) -> tf.Tensor:
        """K, float32 `[n_inputs, units]`, or only its `columns`, int32 `[n]`."""
        u = tf.convert_to_tensor(self.u)
        v = tf.convert_to_tensor(self.v) if columns is None else tf.gather(self.v, columns)
        left = tf.concat([-_squares(u), 2.0 * u, tf.ones_like(u[:, :1])], axis=1)
        right = tf.concat([tf.ones_like(v[:, :1]), v, 1.0 - _squares(v)], axis=1)
        return tf.nn.relu(tf.matmul(left, right, transpose_b=True))

    def call(self, x):
        """Args: x `[batch, n_inputs]`. Returns: y `[batch, units]`, and |K|^2, float32."""
        kernel = self.kernel()
        weights = self.w * tf.cast(kernel, self.compute_dtype)
        y = self.activation(tf.matmul(tf.cast(x, self.compute_dtype), weights) + self.b)
        return y, tf.reduce_sum(tf.square(kernel))

    def columns(self, x: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """Some columns of y, transposed.

        Args:
            x: `[batch, n_inputs]`.
            columns: int32 `[n]`, in [0, units).

        Returns:
            `[n, batch]`.
        """
        weights = tf.gather(self.w, columns, axis=1) * tf.cast(self.kernel(columns), x.dtype)
        logits = tf.matmul(weights, x, transpose_a=True, transpose_b=True)
        return self.activation(logits + tf.gather(self.b, columns)[:, None])


def _squares(x: tf.Tensor) -> tf.Tensor:
    """Squared lengths, `[n, size]` -> `[n, 1]`."""
    return tf.reduce_sum(tf.square(x), axis=1, keepdims=True)
