"""The baseline for ranking: most popular first."""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import Settings
from tfrec.models.base import Recommender


@keras.saving.register_keras_serializable("tfrec")
class Popularity(Recommender):
    """score(u, i) = number of training users with item i, the same for every user."""

    task = "ranking"
    closed_form = True

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """Popularity has no settings."""

    def build(self, input_shape=None):
        self.counts = self.add_weight(
            shape=(self.info.n_items,), initializer="zeros", trainable=False, name="counts"
        )
        self.built = True

    def call(self, features, training=False):
        batch = tf.shape(features["items"])[0]
        return tf.tile(tf.convert_to_tensor(self.counts)[None, :], [batch, 1])

    def objective(self, features, targets, scores):
        """Minus the log-likelihood of the targets under the popularity distribution."""
        return losses.share_nll(scores, targets["target_items"])

    def fit(self, rows, **unused):
        """Counts the items in `rows`, batches of (features, targets)."""
        counts = tf.zeros([self.info.n_items])
        for features, _ in rows:
            items = tf.reshape(features["items"], [-1])
            counts += tf.math.unsorted_segment_sum(
                tf.ones_like(items, tf.float32), items, self.info.n_items
            )
        self.counts.assign(counts)
