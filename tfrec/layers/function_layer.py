"""A function as a Keras layer."""

from collections.abc import Callable

import keras


class FunctionLayer(keras.layers.Layer):
    """Calls a function under a dtype policy, as Keras calls a layer.

    Under mixed precision, float inputs, and the weights that the function reads, are cast to the
    policy's compute dtype. Unlike `keras.layers.Lambda` it is made for one call, has no weights and
    is not saved with the model.

    Args:
        function: (features, training) -> tensors.
        **kwargs: Arguments of `keras.layers.Layer`, such as `dtype`.
    """

    def __init__(self, function: Callable, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, features, training=False):
        return self.function(features, training)
