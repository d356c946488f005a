"""EASE: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019 (also known as
ESAE).
"""

import dataclasses

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf

from tfrec import losses
from tfrec.config import Range, TrainConfig, setting
from tfrec.data import sparse
from tfrec.layers.densify import densify
from tfrec.models import cholesky, sparse_regression
from tfrec.models.base import Recommender
from tfrec.models.capabilities import Additive
from tfrec.models.confidence import Confidence, ConfidenceWeighted
from tfrec.schema import DatasetInfo

BLOCK = 256  # rows copied at once, to stay in the CPU's cache


@keras.saving.register_keras_serializable("tfrec")
class EASE(ConfidenceWeighted, Additive, Recommender):
    """S = X B with min_B |X - X B|^2 + lambda |B|^2, diag B = 0.

    Closed form (eq. 8): P = (X'X + lambda I)^-1, B_ij = -P_ij / P_jj, B_jj = 0. The Gram matrix X'X
    is computed from sparse rows and inverted in float64, by LAPACK's Cholesky decomposition; where
    there are at least twice as many items as users, P is computed from a matrix of users instead
    (`sparse_regression`). The model has no user parameters, so that any history can be scored. X is
    1 where a user has an item or, with `confidence`, c(r) / c(1) of its value r (`Confidence`), in
    training and in requests.

    With `neighbors` P is computed in float32 from a matrix of users, and of each row of B only the
    largest entries are kept: an approximation for catalogues whose `n_items^2` weights do not fit
    into memory.
    """

    task = "ranking"
    closed_form = True
    instead = "ials"
    paper = TrainConfig(batch_size=2048)

    @dataclasses.dataclass(frozen=True)
    class Config(Confidence):
        """EASE's settings, with those of `Confidence` for the entries of X.

        Attributes:
            regularization: lambda.
            neighbors: How many weights of each item are kept, the largest; 0: all.
        """

        regularization: float = setting(500.0, "0 or more", search=Range(10, 5000, log=True))
        neighbors: int = setting(0, "0 or more")

    def build(self, input_shape=None):
        n = self.info.n_items
        size = min(self.config.neighbors, n) or n
        self.item_weights = self.add_weight(
            shape=(n, size), initializer="zeros", trainable=False, name="item_weights"
        )
        if self.config.neighbors:
            self.columns = self.add_weight(
                (n, size), "zeros", "int32", trainable=False, autocast=False, name="columns"
            )
        self.built = True

    def history(self, features) -> tf.Tensor:
        """The rows of X, `[batch, n_items]`."""
        items = features["items"]
        entries = losses.observed(items) * self.config.weigh(features["values"])
        return densify(items, entries, self.info.n_items)

    def call(self, features, training=False):
        """X B: sums of the weights of each row's items."""
        items, weights = features["items"], tf.cast(self.item_weights, tf.float32)
        batch, n = items.shape[0], self.info.n_items
        if self.config.neighbors:
            entries = losses.observed(items) * self.config.weigh(features["values"])
            columns = tf.convert_to_tensor(self.columns)
            found = sparse_regression.scores(features, entries, columns, weights, n)
            return tf.ensure_shape(found, [batch, n])
        entries, cells = losses.entries_of(items)
        n_rows = tf.shape(items, tf.int64)[0]
        if not self.uses_values:
            rows, columns = cells[:, 0], cells[:, 1]
            scores = tf.sparse.segment_sum(weights, columns, rows, num_segments=n_rows)
        else:
            values = tf.cast(tf.gather_nd(features["values"], entries), tf.float32)
            values = self.config.weigh(values)
            x = tf.SparseTensor(cells, values, tf.stack([n_rows, tf.cast(n, tf.int64)]))
            scores = tf.sparse.sparse_dense_matmul(x, weights)
        return tf.ensure_shape(scores, [batch, n])

    def contributions(self, features, items):
        """x_ui B_ij of each item i of the history, for items j."""
        history, weights = features["items"], tf.cast(self.item_weights, tf.float32)
        x = losses.observed(history) * self.config.weigh(features["values"])
        if self.config.neighbors:
            return x[:, tf.newaxis, :] * self._weights_between(tf.maximum(history, 0), items)
        rows, columns = tf.maximum(history, 0)[:, tf.newaxis, :], items[:, :, tf.newaxis]
        shape = tf.broadcast_dynamic_shape(tf.shape(rows), tf.shape(columns))
        pairs = tf.stack([tf.broadcast_to(part, shape) for part in (rows, columns)], axis=-1)
        return x[:, tf.newaxis, :] * tf.gather_nd(weights, pairs)

    def _weights_between(self, history: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """B_ij of i in `history [batch, length]` and j in `items [batch, n]`, where few are kept.

        Returns:
            float32 `[batch, n, length]`.
        """
        weights = tf.gather(tf.cast(self.item_weights, tf.float32), history)
        columns = tf.gather(tf.convert_to_tensor(self.columns), history)
        same = columns[:, tf.newaxis] == items[:, :, tf.newaxis, tf.newaxis]
        return tf.reduce_sum(tf.where(same, weights[:, tf.newaxis], 0.0), axis=-1)

    @classmethod
    def memory(cls, info, config, train):
        """While solving: X'X in float32 and in float64, and two copies of B in float32.

        By users: M in float64, twice, and three copies of B. With `neighbors`: M in float32, two
        copies of the kept weights with their columns, and the products of a batch of histories.
        """
        if not config.neighbors:
            by_users = 12 * info.n_items**2 + 16 * info.n_rows**2
            return by_users if has_few_users(info) else 20 * info.n_items**2
        return 4 * info.n_rows**2 + info.n_items * (16 * config.neighbors + 1024 * 4)

    def objective(self, features, targets, scores):
        error = self.history(features) - scores
        return tf.reduce_sum(tf.square(error), axis=1)

    def fit(self, rows, **unused):
        """Reads `rows` once, sums up X'X and solves for B.

        Args:
            rows: Batches of (features, targets).
            **unused: Other arguments of Keras' `fit`.
        """
        x = sparse.read(rows, self.info.n_items)
        x.data = self.config.weigh(x.data).numpy()
        self._solve(x, 1.0)

    def _solve(self, x: scipy.sparse.csr_matrix, ridge: np.ndarray | float) -> None:
        """Assigns B of X; lambda of item i is multiplied by `ridge[i]`."""
        penalty = self.config.regularization
        penalties = penalty * np.broadcast_to(ridge, self.info.n_items)
        if self.config.neighbors:
            self._assign_neighbors(sparse_regression.blocks(x, penalties))
            return
        if has_few_users(self.info) and penalty:
            blocks = sparse_regression.blocks(x.astype(np.float64), penalties)
            b = [block.astype(np.float32) for _, block in blocks]
            self.item_weights.assign(np.concatenate(b))
            return
        self.item_weights.assign(solve(sparse.gram(x), penalties))

    def _assign_neighbors(self, blocks) -> None:
        """Keeps the largest entries of B; `blocks` as of `sparse_regression.blocks`."""
        weights = np.zeros(self.item_weights.shape, np.float32)
        columns = np.zeros(self.columns.shape, np.int32)
        for start, block in blocks:
            rows = slice(start, start + len(block))
            columns[rows], weights[rows] = sparse_regression.strongest(block, weights.shape[1])
        self.item_weights.assign(weights)
        self.columns.assign(columns)


def has_few_users(info: DatasetInfo) -> bool:
    """Whether the matrix of users is much smaller than that of items."""
    return 2 * info.n_rows <= info.n_items


def solve(gram: np.ndarray, regularization: np.ndarray | float) -> np.ndarray:
    """Solves for B in closed form.

    Args:
        gram: X'X, `[n_items, n_items]`; only the lower triangle is read.
        regularization: lambda, > 0, of all items or of each, `[n_items]`.

    Returns:
        float32 `[n_items, n_items]` with a zero diagonal.

    Raises:
        ValueError: X'X + lambda I is not positive definite.
    """
    a = np.asfortranarray(gram, dtype=np.float64)
    a[np.diag_indices_from(a)] += regularization
    a = cholesky.invert(a)
    scale = -1 / np.diagonal(a).astype(np.float32)
    b = np.empty_like(a, np.float32, order="C")
    for start in range(0, len(a), BLOCK):
        stop = min(start + BLOCK, len(a))
        b[start:stop, :start] = a[start:stop, :start]
        b[start:stop, stop:] = a[stop:, start:stop].T
        corner = np.tril(a[start:stop, start:stop], -1)
        b[start:stop, start:stop] = corner + corner.T
        b[start:stop] *= scale
    return b
