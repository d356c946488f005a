"""Keras' optimizers, clipping what all replicas have summed.

Keras' own clip each replica's gradients and sum them then: the step depends on the number of
replicas, and is up to as many times too long. With one replica nothing differs.

They are here, not with the training, because `models.base` imports them: a saved model with such an
optimizer then loads wherever its own class does.
"""

import keras
import tensorflow as tf


class _Clipping:
    """Comes before an optimizer of Keras among a class's bases."""

    def _clip_gradients(self, grads):
        """Nothing yet: these are one replica's alone."""
        return grads

    def _all_reduce_sum_gradients(self, grads_and_vars):
        pairs = super()._all_reduce_sum_gradients(grads_and_vars)
        if not self.global_clipnorm:
            return pairs
        grads, variables = zip(*pairs, strict=True)
        norm = tf.linalg.global_norm([_summed(g) for g in grads if g is not None])
        grads, _ = tf.clip_by_global_norm(grads, self.global_clipnorm, use_norm=norm)
        return list(zip(grads, variables, strict=True))


def _summed(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    """The entries of a gradient, each row of a table once."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, place = tf.unique(gradient.indices)
    return tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))


@keras.saving.register_keras_serializable("tfrec")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Scales the loss for float16; a step whose gradients overflow on any replica is left out.

    Keras' own asks the first replica alone, before gradients are summed.
    """

    def check_finite(self, grads):
        finite = super().check_finite(grads)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return finite
        return context.all_reduce("SUM", tf.cast(~finite, tf.float32)) == 0


@keras.saving.register_keras_serializable("tfrec")
class Adam(_Clipping, keras.optimizers.Adam):
    """Adam."""


@keras.saving.register_keras_serializable("tfrec")
class AdamW(_Clipping, keras.optimizers.AdamW):
    """AdamW."""


@keras.saving.register_keras_serializable("tfrec")
class SGD(_Clipping, keras.optimizers.SGD):
    """Stochastic gradient descent, with momentum or without."""


@keras.saving.register_keras_serializable("tfrec")
class RMSprop(_Clipping, keras.optimizers.RMSprop):
    """RMSprop."""


@keras.saving.register_keras_serializable("tfrec")
class Adagrad(_Clipping, keras.optimizers.Adagrad):
    """Adagrad."""
