"""EASE: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019 (some call
it ESAE).
"""

import dataclasses

import keras
import numpy as np
import scipy.linalg
import tensorflow as tf

from tfrec.layers.densify import densify
from tfrec.models.base import Recommender


@keras.saving.register_keras_serializable("tfrec")
class EASE(Recommender):
    """S = X B with min_B |X - X B|^2 + lambda |B|^2, diag B = 0.

    Closed form (eq. 8): P = (X'X + lambda I)^-1, B_ij = -P_ij / P_jj, B_jj = 0. The Gram
    matrix is summed up in one pass over the rows; the inverse is LAPACK's Cholesky one in
    float64. There is nothing about users in it: any history can be scored.
    """

    task = "ranking"
    closed_form = True

    @dataclasses.dataclass(frozen=True)
    class Config:
        """EASE's settings.

        Attributes:
            regularization: lambda.
            binary: Every rating counts as 1; else its value is used.
        """

        regularization: float = 500.0
        binary: bool = True

    def build(self, input_shape=None):
        n = self.info.n_items
        self.item_weights = self.add_weight(
            shape=(n, n), initializer="zeros", trainable=False, name="item_weights"
        )
        self.built = True

    def history(self, features) -> tf.Tensor:
        """X: the rows as `[batch, n_items]`."""
        items, values = features["items"], features["values"]
        values = tf.cast(items >= 0, tf.float32) if self.config.binary else values
        return densify(items, values, self.info.n_items)

    def call(self, features, training=False):
        return tf.matmul(tf.cast(self.history(features), tf.float32), self.item_weights)

    def objective(self, features, targets, scores):
        error = self.history(features) - scores
        return tf.reduce_sum(tf.square(error), axis=1)

    def fit(self, rows, **unused):
        """Sums up X'X over one pass of `rows` and solves.

        Args:
            rows: Dataset of `(features, targets)`.
            **unused: What Keras' `fit` would take.
        """
        n = self.info.n_items
        gram = tf.Variable(tf.zeros([n, n]), trainable=False)

        @tf.function(input_signature=[rows.element_spec])
        def add(batch):
            x = self.history(batch[0])
            gram.assign_add(tf.matmul(x, x, transpose_a=True))

        for batch in rows:
            add(batch)
        self.item_weights.assign(solve(gram.numpy(), self.config.regularization))


def solve(gram: np.ndarray, regularization: float) -> np.ndarray:
    """B of the closed form.

    Args:
        gram: X'X, `[n_items, n_items]`.
        regularization: lambda, > 0.

    Returns:
        float32 `[n_items, n_items]` with a zero diagonal.

    Raises:
        ValueError: X'X + lambda I is not positive definite.
    """
    a = np.asfortranarray(gram, dtype=np.float64)
    a[np.diag_indices_from(a)] += regularization
    factor, failed = scipy.linalg.lapack.dpotrf(a, lower=1, overwrite_a=1)
    if failed:
        raise ValueError(
            f"X'X + {regularization:g} I is not positive definite: raise --set regularization"
        )
    inverse, _ = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse, -1)
    diagonal = np.diagonal(inverse)
    b = (lower + lower.T) / -diagonal
    return b.astype(np.float32)
