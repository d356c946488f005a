"""Keras' optimizers, with gradients clipped after they are summed over replicas, and row updates.

Keras clips the gradients of each replica before it sums them, so that the norm of the step depends
on the number of replicas. With one replica there is no difference.

`models.base` imports this module, so that saved models with these optimizers load wherever the
model's class is known.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from tfrec.models.row_updates import RowUpdates, summed_rows


class Clipping(RowUpdates):
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
    return summed_rows(gradient)[1]


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


class _Moments(Clipping):
    """Rows of Adam and AdamW; whether weights decay is the only difference."""

    def slots(self, index):
        return [self._momentums[index], self._velocities[index]]

    def row_step(self, gradient, slots, rate):
        step = tf.cast(self.iterations + 1, gradient.dtype)
        mean = self.beta_1 * slots[0] + (1 - self.beta_1) * gradient
        square = self.beta_2 * slots[1] + (1 - self.beta_2) * tf.square(gradient)
        rate *= tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        return rate * mean / (tf.sqrt(square) + self.epsilon), [mean, square]


@keras.saving.register_keras_serializable("tfrec")
class Adam(_Moments, keras.optimizers.Adam):
    """Adam."""


@keras.saving.register_keras_serializable("tfrec")
class AdamW(_Moments, keras.optimizers.AdamW):
    """AdamW."""


@keras.saving.register_keras_serializable("tfrec")
class SGD(Clipping, keras.optimizers.SGD):
    """Stochastic gradient descent, with momentum or without."""

    def slots(self, index):
        return [self.momentums[index]] if self.momentum else []

    def row_step(self, gradient, slots, rate):
        change = rate * gradient
        if slots:
            change -= self.momentum * slots[0]
        return change, [-change] * len(slots)


@keras.saving.register_keras_serializable("tfrec")
class RMSprop(Clipping, keras.optimizers.RMSprop):
    """RMSprop."""

    def slots(self, index):
        return [self._velocities[index]]

    def row_step(self, gradient, slots, rate):
        square = self.rho * slots[0] + (1 - self.rho) * tf.square(gradient)
        return rate * gradient * tf.math.rsqrt(square + self.epsilon), [square]


@keras.saving.register_keras_serializable("tfrec")
class Adagrad(Clipping, keras.optimizers.Adagrad):
    """Adagrad."""

    def slots(self, index):
        return [self._accumulators[index]]

    def row_step(self, gradient, slots, rate):
        total = slots[0] + tf.square(gradient)
        return rate * gradient * tf.math.rsqrt(total + self.epsilon), [total]
