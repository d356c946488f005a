"""A multilayer perceptron."""

from collections.abc import Sequence

import keras

from tfrec.layers.dense import Dense


@keras.saving.register_keras_serializable("tfrec")
class MLP(keras.layers.Layer):
    """Dense layers, each followed by dropout.

    Args:
        sizes: Units of the layers.
        activation: Name of their activation.
        dropout: Dropout rate.
        l2: L2 regularization factor of the kernels.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str, dropout: float, l2: float = 0.0, **kwargs
    ):
        super().__init__(**kwargs)
        decay = keras.regularizers.L2(l2)
        self.hidden = [
            Dense(size, activation, kernel_regularizer=decay, name=f"dense_{i}")
            for i, size in enumerate(sizes)
        ]
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, x, training=False):
        """`[batch, n]` -> `[batch, sizes[-1]]`."""
        for layer in self.hidden:
            x = self.dropout(layer(x), training=training)
        return x
