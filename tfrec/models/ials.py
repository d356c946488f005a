"""iALS: Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM
2008, with the penalty of Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of
iALS on Item Recommendation Benchmarks", RecSys 2022.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, setting
from tfrec.data import sparse
from tfrec.layers import ridge
from tfrec.models.base import Recommender
from tfrec.models.confidence import Confidence, ConfidenceWeighted


@keras.saving.register_keras_serializable("tfrec")
class IALS(ConfidenceWeighted, Recommender):
    """s_ui = p_u . q_i, by alternating least squares.

    Minimised is (Rendle et al., eq. 1 and 5), S being the training interactions,

        sum_(u,i) in S w_ui (1 - s_ui)^2 + alpha sum_(u,i) s_ui^2
            + lambda sum_u (n_u + alpha n_items)^nu |p_u|^2
            + lambda sum_i (n_i + alpha n_users)^nu |q_i|^2

    with n_u items of user u and n_i users of item i. Given all q, each p_u is a ridge regression
    on the items of u alone, because the Gram matrix sum_i q_i q_i' is computed once for all users;
    the vectors are rotated so that it is diagonal. At inference p_u is solved from the history in
    the request: the model has no other user parameters, and any history can be scored.

    w_ui is 1 or, with `confidence`, c(r) / c(1) of the interaction's value r (`Confidence`), in
    training and in requests.

    Departs from the papers: Hu et al.'s confidence c(r) is divided by c(1) (lambda and alpha can
    absorb a common factor of w), and is added to the weight alpha of all pairs instead of replacing
    it. The least squares are solved exactly, where iALS++ takes one step for each block of
    dimensions: solving the smaller of two forms (`tfrec.layers.ridge`) is as fast.
    """

    task = "ranking"
    closed_form = True

    @dataclasses.dataclass(frozen=True)
    class Config(Confidence):
        """iALS's settings, with those of `Confidence` for the weights w.

        Attributes:
            factors: Size of the vectors p and q.
            regularization: lambda.
            frequency: nu, how the penalty of a user or an item grows with the number of
                interactions: 0: the same for all; 1: proportionally.
            unobserved: alpha, the weight of user-item pairs without interaction.
            iterations: Number of alternations between all users and all items.
        """

        factors: int = setting(256, "at least 1", search=OneOf(32, 64, 128, 256, 512))
        regularization: float = setting(1.6, "more than 0", search=Range(0.05, 20, log=True))
        frequency: float = setting(0.25, "0 or more", search=Range(0, 1))
        unobserved: float = setting(0.2, "more than 0", search=Range(0.02, 2, log=True))
        iterations: int = setting(2, "at least 1", search=Range(1, 8))

    def build(self, input_shape=None):
        n, size = self.info.n_items, self.config.factors
        start = keras.initializers.RandomNormal(stddev=0.1 / np.sqrt(size))
        options = {"trainable": False, "autocast": False}
        self.vectors = self.add_weight((n, size), start, name="vectors", **options)
        self.gram = self.add_weight((size,), "zeros", name="gram", **options)
        self.built = True

    def users(self, features) -> tf.Tensor:
        """The vectors p of rows, solved from their items, float32 `[batch, factors]`."""
        table, gram = (tf.convert_to_tensor(w) for w in (self.vectors, self.gram))
        return self._solve(
            features["items"], features["values"], table, gram, float(self.info.n_items)
        )

    def weigh(self, values) -> tf.Tensor:
        """The weights w of interactions with these values, 0 or more."""
        return tf.maximum(self.config.weigh(values), 0)

    def _solve(self, items, values, table, gram, n_others) -> tf.Tensor:
        """Vectors of rows, given those of the other side, `table`, and its diagonal Gram matrix."""
        c = self.config
        ones, weights = tf.ones_like(values), self.weigh(values)
        n = tf.reduce_sum(losses.observed(items), axis=1, keepdims=True)
        penalties = c.regularization * (n + c.unobserved * n_others) ** c.frequency
        return ridge.solve(items, ones, weights, table, c.unobserved * gram + penalties)

    def call(self, features, training=False):
        return tf.matmul(self.users(features), self.vectors, transpose_b=True)

    def objective(self, features, targets, scores):
        """The row's terms of what is minimised, without the penalties."""
        items = targets["target_items"]
        weights = losses.observed(items) * self.weigh(targets["target_values"])
        picked = tf.gather(scores, tf.maximum(items, 0), batch_dims=1)
        errors = tf.reduce_sum(weights * tf.square(1 - picked), axis=1)
        return errors + self.config.unobserved * tf.reduce_sum(tf.square(scores), axis=1)

    def item_vectors(self):
        return tf.convert_to_tensor(self.vectors)

    def fit(self, rows, **unused):
        """Reads `rows`, batches of (features, targets), once and solves."""
        x = sparse.read(rows, self.info.n_items)
        of_users, of_items = list(sparse.padded(x)), list(sparse.padded(x.T.tocsr()))
        size = self.config.factors
        specs = [tf.TensorSpec(shape) for shape in ([None, size], [size], [])]
        solve = ridge.compiled(self._solve, specs)
        x.data = self.weigh(x.data).numpy()
        items = sparse.singular(x, self.vectors.numpy())
        for _ in range(self.config.iterations):
            items, gram = rotated(items)
            users = ridge.solve_all(solve, of_users, x.shape[0], items, gram, float(x.shape[1]))
            users, gram = rotated(users)
            items = ridge.solve_all(solve, of_items, x.shape[1], users, gram, float(x.shape[0]))
        items, gram = rotated(items)
        self.vectors.assign(items)
        self.gram.assign(gram)


def rotated(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in the basis in which their Gram matrix is diagonal, and its diagonal."""
    gram, basis = sparse.diagonal(table)
    return table @ basis, gram
