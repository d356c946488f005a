"""Updates of only those rows of a table that are in the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

Tensors = Sequence[tf.Tensor]


class RowUpdates:
    """Comes before an optimizer of Keras among a class's bases; `row_step` is its formula.

    Where a gradient is `tf.IndexedSlices`, as that of a table whose rows are gathered, Keras
    updates all rows: Adam's moments decay, and move the weights, in rows without a gradient too.
    With `by_rows` weights and moments of the other rows stay as they are (lazy moments); those of
    the batch are updated as if each step until now had been one of theirs. Optimizers
    without moments take the same step as by Keras.

    A row that is in the batch several times is updated once, with the sum of its gradients. Keras'
    own formulas sum the squares of these gradients instead of squaring their sum.

    Attributes:
        by_rows: Whether a variable with such a gradient is updated by rows; default: none is.
    """

    by_rows: Callable[[Any], bool] = staticmethod(lambda variable: False)
    _get_variable_index: Callable[[Any], int]

    def slots(self, index: int) -> list[keras.Variable]:
        """The optimizer's variables for the trainable variable with this index."""
        raise NotImplementedError

    def row_step(
        self, gradient: tf.Tensor, slots: Tensors, rate: tf.Tensor
    ) -> tuple[tf.Tensor, Tensors]:
        """What is subtracted from rows, and the new values of their slots.

        Args:
            gradient: `[n, ...]`, that of distinct rows.
            slots: `[n, ...]` each, in the order of `slots`.
            rate: The learning rate.
        """
        raise NotImplementedError

    def update_step(self, gradient, variable, learning_rate):
        """Keras' step, or that of rows."""
        if not (isinstance(gradient, tf.IndexedSlices) and self.by_rows(variable)):
            super().update_step(gradient, variable, learning_rate)
            return
        rows, values = summed_rows(gradient)
        slots = [slot.value for slot in self.slots(self._get_variable_index(variable))]
        rate = tf.cast(learning_rate, values.dtype)
        before = [tf.gather(slot, rows) for slot in slots]
        change, after = self.row_step(values, before, rate)
        for slot, new in zip(slots, after, strict=True):
            slot.scatter_update(tf.IndexedSlices(new, rows))
        variable.scatter_sub(tf.IndexedSlices(change, rows))


def summed_rows(gradient: tf.IndexedSlices) -> tuple[tf.Tensor, tf.Tensor]:
    """Distinct rows `[n]`, and the sum of the gradients of each, `[n, ...]`."""
    rows, inverse = tf.unique(gradient.indices)
    return rows, tf.math.unsorted_segment_sum(gradient.values, inverse, tf.size(rows))
