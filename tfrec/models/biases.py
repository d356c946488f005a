"""The floor of every rating table: regularised user and item biases."""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import Settings, setting
from tfrec.models.base import Recommender


@keras.saving.register_keras_serializable("tfrec")
class Biases(Recommender):
    """r_ui = mu + b_u + b_i, b damped means of what the other one leaves over.

    b_i = sum_u (r - mu - b_u) / (damping + n_i), b_u = sum_i (r - mu - b_i) / (damping + n_u),
    in turns (Koren, "Factor in the Neighbors", 2010, section 2.1). b_u is computed from the
    history in the request, so a user never seen in training is no special case.
    """

    task = "rating"
    closed_form = True

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """Biases' settings.

        Attributes:
            damping: Ratings' worth of belief that a bias is 0.
            sweeps: Passes over the rows.
        """

        damping: float = setting(5.0, "0 or more")
        sweeps: int = setting(20, "at least 1")

    def build(self, input_shape=None):
        self.column_biases = self.add_weight(
            shape=(self.info.n_columns,), initializer="zeros", trainable=False, name="columns"
        )
        self.built = True

    def row_biases(self, features) -> tf.Tensor:
        """B of the rows, `[batch, 1]`, from their own ratings."""
        mask = losses.observed(features["items"])
        rest = (features["values"] - self.info.rating_mean - self._columns(features)) * mask
        total = tf.reduce_sum(rest, axis=1, keepdims=True)
        return total / (self.config.damping + tf.reduce_sum(mask, axis=1, keepdims=True))

    def _columns(self, features) -> tf.Tensor:
        """Biases of each row's columns, `[batch, length]`."""
        return tf.gather(self.column_biases, tf.maximum(features["items"], 0))

    def call(self, features, training=False):
        columns = tf.convert_to_tensor(self.column_biases)[None, :]
        return self.info.rating_mean + self.row_biases(features) + columns

    def objective(self, features, targets, scores):
        return losses.pooled_squared_error(
            scores, targets["target_items"], targets["target_values"]
        )

    def fit(self, rows, **unused):
        """`sweeps` passes over `rows` (a dataset of `(features, targets)`)."""
        n = self.info.n_columns
        sums, counts = (tf.Variable(tf.zeros([n]), trainable=False) for _ in range(2))

        @tf.function(input_signature=[rows.element_spec])
        def add(batch):
            features = batch[0]
            rest = features["values"] - self.info.rating_mean - self.row_biases(features)
            items = tf.reshape(features["items"], [-1])
            sums.assign_add(tf.math.unsorted_segment_sum(tf.reshape(rest, [-1]), items, n))
            counts.assign_add(
                tf.math.unsorted_segment_sum(tf.ones_like(items, tf.float32), items, n)
            )

        for _ in range(self.config.sweeps):
            sums.assign(tf.zeros([n]))
            counts.assign(tf.zeros([n]))
            for batch in rows:
                add(batch)
            self.column_biases.assign(sums / (self.config.damping + counts))
