"""ALS: Zhou, Wilkinson, Schreiber and Pan, "Large-scale Parallel Collaborative Filtering for the
Netflix Prize", AAIM 2008, with the biases of Koren, Bell and Volinsky, IEEE Computer 2009.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfrec import losses
from tfrec.config import Range, Settings, setting
from tfrec.data import sparse
from tfrec.layers import ridge
from tfrec.models.base import Recommender


@keras.saving.register_keras_serializable("tfrec")
class ALS(Recommender):
    """r_ui = mu + b_u + b_i + p_u . q_i, by alternating least squares.

    Minimised is, over the training ratings,

        sum (r - r_ui)^2 + sum_u l(n_u) (b_u^2 + |p_u|^2) + sum_i l(n_i) (b_i^2 + |q_i|^2)

    with n_u ratings of user u, n_i of item i, and l(n) = max(lambda n^nu, damping). Given the
    items, each user's bias and vector are a ridge regression on the user's ratings, and vice versa.
    At inference they are solved from the history in the request, so that users who were not in
    training need no special case.

    Departs from Zhou et al.: biases; nu, which is 1 there; damping, without which users with one or
    two ratings are predicted worse than by their biases.
    """

    task = "rating"
    closed_form = True

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """ALS's settings.

        Attributes:
            factors: Size of the vectors p and q.
            regularization: lambda.
            frequency: nu, how the penalty of a user or an item grows with the number of ratings: 0:
                the same for all; 1: proportionally.
            damping: Smallest penalty of a user or an item.
            iterations: Number of alternations between all users and all items.
        """

        factors: int = setting(32, "at least 1", search=Range(8, 128, log=True))
        regularization: float = setting(1.2, "more than 0", search=Range(0.1, 10, log=True))
        frequency: float = setting(0.5, "0 or more", search=Range(0, 1))
        damping: float = setting(5.0, "0 or more", search=Range(0.5, 50, log=True))
        iterations: int = setting(4, "at least 1")

    def build(self, input_shape=None):
        n, size = self.info.n_columns, self.config.factors
        start = keras.initializers.RandomNormal(stddev=0.1)
        # The last column is the bias.
        self.columns = self.add_weight(
            (n, size + 1), start, trainable=False, autocast=False, name="columns"
        )
        self.built = True

    def _solve(self, items, values, table) -> tf.Tensor:
        """Vectors and biases of rows, `[batch, factors + 1]`, given those of the columns."""
        c = self.config
        biases = tf.gather(table[:, -1], tf.maximum(items, 0))
        n = tf.reduce_sum(losses.observed(items), axis=1, keepdims=True)
        penalties = c.regularization * tf.maximum(n, 1.0) ** c.frequency
        penalties = tf.maximum(penalties, c.damping)
        return ridge.solve(
            items,
            values - self.info.rating_mean - biases,
            tf.ones_like(values),
            tf.concat([table[:, :-1], tf.ones_like(table[:, -1:])], axis=1),
            tf.tile(penalties, [1, c.factors + 1]),
        )

    def call(self, features, training=False):
        columns = tf.convert_to_tensor(self.columns)
        rows = self._solve(features["items"], features["values"], columns)
        products = tf.matmul(rows[:, :-1], columns[:, :-1], transpose_b=True)
        return self.info.rating_mean + rows[:, -1:] + columns[:, -1] + products

    def objective(self, features, targets, scores):
        return losses.pooled_squared_error(
            scores, targets["target_items"], targets["target_values"]
        )

    def item_vectors(self):
        return tf.convert_to_tensor(self.columns)[:, :-1]

    def fit(self, rows, **unused):
        """Reads `rows`, batches of (features, targets), once and solves."""
        x = sparse.read(rows, self.info.n_columns)
        of_rows, of_columns = list(sparse.padded(x)), list(sparse.padded(x.T.tocsr()))
        solve = ridge.compiled(self._solve, [tf.TensorSpec([None, self.config.factors + 1])])
        columns = self._start(x, solve, of_rows, of_columns)
        for _ in range(self.config.iterations):
            rows = ridge.solve_all(solve, of_rows, x.shape[0], columns)
            columns = ridge.solve_all(solve, of_columns, x.shape[1], rows)
        self.columns.assign(columns)

    def _start(self, x, solve, of_rows, of_columns):
        """Initial columns: biases, and the singular vectors of their residuals."""
        zeros = np.zeros(self.columns.shape, np.float32)
        rows = ridge.solve_all(solve, of_rows, x.shape[0], zeros)
        columns = ridge.solve_all(solve, of_columns, x.shape[1], rows)
        residuals = x.copy()
        residuals.data -= self.info.rating_mean + columns[x.indices, -1]
        residuals.data -= np.repeat(rows[:, -1], np.diff(x.indptr))
        columns[:, :-1] = sparse.singular(residuals, self.columns.numpy()[:, :-1])
        return columns
