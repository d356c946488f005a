"""Hidden layers, one after the other."""

from collections.abc import Sequence

import keras

from tfrec.layers.dense import Dense


@keras.saving.register_keras_serializable("tfrec")
class MLP(keras.layers.Layer):
    """Dense layers with an activation, each with dropout after it.

    Args:
        sizes: Of the layers.
        activation: Its name.
        dropout: Share of the units that training leaves out.
        l2: Weight of |W|^2 of each layer among the model's losses.
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
