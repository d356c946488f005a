"""Layers from and to sets of items that touch only some rows of their tables of items."""

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.layers.gathered import gathered
from tfrec.layers.negatives import in_rows


@keras.saving.register_keras_serializable("tfrec")
class FromItems(keras.layers.Layer):
    """y = activation(sum_j x_j W_j + b), like a dense layer, of sparse rows x.

    Args:
        n_items: Number of items.
        units: Size of y.
        activation: Name of Keras.
        bias_initializer: As of Keras.
        kernel_regularizer: As of Keras; its gradient is that of all rows.
    """

    def __init__(
        self,
        n_items: int,
        units: int,
        activation: str,
        bias_initializer,
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.kernel = self.add_weight(
            (n_items, units), "glorot_uniform", regularizer=kernel_regularizer, name="kernel"
        )
        self.bias = self.add_weight((units,), bias_initializer, name="bias")
        self.built = True

    def call(self, x):
        """(items int32 `[batch, length]`, padding -1, values float32) -> `[batch, units]`."""
        items, values = x
        entries, cells = losses.entries_of(items)
        rows = gathered(self.kernel, cells[:, 1])
        rows *= tf.cast(tf.gather_nd(values, entries), rows.dtype)[:, tf.newaxis]
        sums = tf.math.unsorted_segment_sum(rows, entries[:, 0], tf.shape(items)[0])
        return self.activation(sums + tf.cast(self.bias, sums.dtype))


@keras.saving.register_keras_serializable("tfrec")
class ToItems(keras.layers.Layer):
    """Logits e_i . x + b_i of all items, or a softmax over a sample of them.

    Args:
        n_items: Number of items.
        units: Size of x.
        bias_initializer: As of Keras.
        kernel_regularizer: As of Keras; its gradient is that of all rows.
    """

    def __init__(
        self, n_items: int, units: int, bias_initializer, kernel_regularizer=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.n_items = n_items
        self.table = self.add_weight(
            (n_items, units), "glorot_uniform", regularizer=kernel_regularizer, name="table"
        )
        self.bias = self.add_weight((n_items,), bias_initializer, name="bias")
        self.built = True

    def call(self, x):
        """`[batch, units]` -> `[batch, n_items]`."""
        return tf.matmul(x, self.table, transpose_b=True) + tf.cast(self.bias, x.dtype)

    def sampled_nll(self, x: tf.Tensor, items: tf.Tensor, negatives: tf.Tensor) -> tf.Tensor:
        """`losses.multinomial_nll` with an estimate of the normalizer, float32 `[batch]`.

        The sum of exp(logit) over all items is that over the row's own items, and that over those
        of the k negatives that are not among them, times n_items / k: its expectation is exact
        (logQ correction).

        Args:
            x: `[batch, units]`.
            items: The rows, int32 `[batch, length]`, padding -1.
            negatives: Uniformly drawn items, int32 `[k]`, shared by all rows.
        """
        entries, cells = losses.entries_of(items)
        rows, own = cells[:, 0], cells[:, 1]
        vectors = gathered(self.table, own)
        positive = tf.reduce_sum(tf.gather(x, rows) * vectors, axis=1) + gathered(self.bias, own)
        rate = tf.math.log(tf.size(negatives) / self.n_items)
        others = tf.matmul(x, gathered(self.table, negatives), transpose_b=True)
        others += gathered(self.bias, negatives) - tf.cast(rate, x.dtype)
        n_rows = tf.shape(items, tf.int64)[0]
        hits = in_rows(items, tf.range(n_rows), negatives[tf.newaxis])
        others = tf.where(hits, -float("inf"), others)
        dense = tf.fill(tf.shape(items), tf.constant(-float("inf"), positive.dtype))
        dense = tf.tensor_scatter_nd_update(dense, entries, positive)
        normalizer = tf.reduce_logsumexp(tf.concat([dense, others], axis=1), axis=1)
        totals = tf.math.unsorted_segment_sum(positive, rows, n_rows)
        return tf.reduce_sum(losses.observed(items), axis=1) * normalizer - totals
