"""Keras' optimizers, with gradients clipped after they are summed over replicas.

Keras clips the gradients of each replica before it sums them, so that the norm of the step depends
on the number of replicas. With one replica there is no difference.

`models.base` imports this module, so that saved models with these optimizers load wherever the
model's class is known.
"""

from collections.abc import Callable

import keras
import tensorflow as tf


class Clipping:
    """Comes before an optimizer of Keras among a class's bases.

    Attributes:
        on_norm: Called in each step with the global norm of the gradients, before they are clipped.
    """

    on_norm: Callable[[tf.Tensor], object] | None = None

    def _clip_gradients(self, grads):
        """Nothing yet: these are one replica's alone."""
        return grads

    def _all_reduce_sum_gradients(self, grads_and_vars):
        pairs = super()._all_reduce_sum_gradients(grads_and_vars)
        if not (self.global_clipnorm or self.on_norm):
            return pairs
        grads, variables = zip(*pairs, strict=True)
        norm = tf.linalg.global_norm([_summed(g) for g in grads if g is not None])
        if self.on_norm:
            self.on_norm(norm)
        if not self.global_clipnorm:
            return pairs
        grads, _ = tf.clip_by_global_norm(grads, self.global_clipnorm, use_norm=norm)
        return list(zip(grads, variables, strict=True))


def _summed(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    """The values of a gradient, with repeated rows of sparse ones summed."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, inverse = tf.unique(gradient.indices)
    return tf.math.unsorted_segment_sum(gradient.values, inverse, tf.size(rows))


@keras.saving.register_keras_serializable("tfrec")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Scales the loss for float16; a step whose gradients overflow on any replica is left out.

    Keras' own checks the first replica alone, before gradients are summed.
    """

    def check_finite(self, grads):
        finite = super().check_finite(grads)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return finite
        return context.all_reduce("SUM", tf.cast(~finite, tf.float32)) == 0


@keras.saving.register_keras_serializable("tfrec")
class Adam(Clipping, keras.optimizers.Adam):
    """Adam."""


@keras.saving.register_keras_serializable("tfrec")
class AdamW(Clipping, keras.optimizers.AdamW):
    """AdamW."""


@keras.saving.register_keras_serializable("tfrec")
class SGD(Clipping, keras.optimizers.SGD):
    """Stochastic gradient descent, with momentum or without."""


@keras.saving.register_keras_serializable("tfrec")
class RMSprop(Clipping, keras.optimizers.RMSprop):
    """RMSprop."""


@keras.saving.register_keras_serializable("tfrec")
class Adagrad(Clipping, keras.optimizers.Adagrad):
    """Adagrad."""
