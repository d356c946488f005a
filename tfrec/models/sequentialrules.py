"""Sequential rules: Ludewig and Jannach, "Evaluation of Session-based Recommendation Algorithms",
User Modeling and User-Adapted Interaction, 2018 (SR).
"""

import dataclasses

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf

from tfrec import losses
from tfrec.config import Range, setting
from tfrec.layers.newest_items import newest_items
from tfrec.models.base import Recommender
from tfrec.schema import DatasetInfo


@keras.saving.register_keras_serializable("tfrec")
class SequentialRules(Recommender):
    """Counts which items follow which in training histories.

    A rule a -> b gains the weight 1/d from each training history in which b comes d items after a,
    d <= `distance`:

        R_ab = sum over histories, and positions p of a and p + d of b, of 1/d
        s_b  = sum over the last `recent` items i_1 (the newest), i_2, ... of
               1/j R_(i_j, b) / (sum_c R_(i_j, c))^normalization

    Departs from the paper: its SR uses the rules of the newest item only (`recent=1`), without
    normalization (`normalization=0`).
    """

    task = "ranking"
    closed_form = True

    @dataclasses.dataclass(frozen=True)
    class Config(Recommender.Config):
        """Settings of the rules.

        Attributes:
            distance: Maximum distance in a history between the two items of a rule.
            recent: Number of newest items of a history whose rules are summed.
            normalization: Exponent of the sum of an item's rules, by which they are divided.
        """

        distance: int = setting(10, "at least 1", search=Range(1, 20))
        recent: int = setting(10, "at least 1", search=Range(1, 20))
        normalization: float = setting(1.0, "from 0 to 1", search=Range(0, 1))

    def build(self, input_shape=None):
        info, options = self.info, {"trainable": False, "autocast": False}
        size = most_rules(info, self.config)
        self.starts = self.add_weight(
            (info.n_items + 1,), "zeros", "int64", name="starts", **options
        )
        self.successors = self.add_weight((size,), "zeros", "int64", name="successors", **options)
        self.rules = self.add_weight((size,), "zeros", name="rules", **options)
        self.built = True

    @classmethod
    def memory(cls, info, config, train):
        """The rules, in the model and while counting, and a dense batch of scores."""
        return 36 * most_rules(info, config) + 8 * train.eval_batch_size * info.n_items

    def call(self, features, training=False):
        items = newest_items(features["items"], self.config.recent)
        real = tf.where(items >= 0)
        rows, positions = real[:, 0], real[:, 1]
        found = tf.gather_nd(items, real)
        begins, ends = tf.gather(self.starts, found), tf.gather(self.starts, found + 1)
        entries = tf.ragged.range(begins, ends)
        shares = 1 / tf.cast(tf.shape(items, tf.int64)[1] - positions, tf.float32)
        of = entries.value_rowids()
        weights = tf.gather(self.rules, entries.flat_values) * tf.gather(shares, of)
        columns = tf.gather(self.successors, entries.flat_values)
        cells = tf.stack([tf.gather(rows, of), columns], axis=1)
        shape = [tf.shape(items, tf.int64)[0], self.info.n_items]
        return tf.ensure_shape(tf.scatter_nd(cells, weights, shape), [items.shape[0], shape[1]])

    def objective(self, features, targets, scores):
        """Minus the logarithm of the targets' shares of the total score."""
        return losses.share_nll(scores, targets["target_items"])

    def fit(self, rows, **unused):
        """Counts the rules in `rows`, batches of (features, targets)."""
        n, c = self.info.n_items, self.config
        counts = scipy.sparse.csr_matrix((n, n), dtype=np.float32)
        for features, _ in rows:
            counts += rules_of(np.asarray(features["items"]), n, c.distance)
        sums = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1e-9)
        counts.data /= np.repeat(sums**c.normalization, np.diff(counts.indptr))
        pad = (0, self.rules.shape[0] - counts.nnz)
        self.starts.assign(counts.indptr)
        self.successors.assign(np.pad(counts.indices, pad))
        self.rules.assign(np.pad(counts.data, pad))


def most_rules(info: DatasetInfo, config: SequentialRules.Config) -> int:
    """Largest possible number of rules."""
    return min(info.n_trainable * config.distance, info.n_items**2)


def rules_of(items: np.ndarray, n_items: int, distance: int) -> scipy.sparse.csr_matrix:
    """Counts R in histories.

    Args:
        items: int `[n, length]` in time order, padding -1 anywhere.
        n_items: Size of the vocabulary.
        distance: Maximum distance between the two items of a rule.

    Returns:
        float32 `[n_items, n_items]`.
    """
    rows = np.nonzero(items >= 0)[0]
    sequence = items[items >= 0]
    parts = []
    for d in range(1, distance + 1):
        together = rows[:-d] == rows[d:]
        left, right = sequence[:-d][together], sequence[d:][together]
        parts.append((np.full(len(left), 1 / d, np.float32), left, right))
    values, left, right = (np.concatenate(column) for column in zip(*parts, strict=True))
    return scipy.sparse.csr_matrix((values, (left, right)), (n_items, n_items))
