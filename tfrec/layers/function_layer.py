"""A function run as Keras runs a layer."""

from collections.abc import Callable

import keras


class Scoped(keras.layers.Layer):
    """Runs a function as Keras runs the `call` of a layer with this dtype policy.

    Under mixed precision, floats among the inputs and weights that the function reads are cast to
    the policy's compute dtype. It is made where it is called, has no weights and is no part of a
    model.

    Args:
        function: (features, training) -> tensors.
        **kwargs: Of a layer, `dtype` among them.
    """

    def __init__(self, function: Callable, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, features, training=False):
        return self.function(features, training)
