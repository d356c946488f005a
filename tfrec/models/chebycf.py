"""ChebyCF: Kim, Sung, Han and Lee, "Graph Spectral Filtering with Chebyshev Interpolation for
Recommendation", SIGIR 2025.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, setting
from tfrec.data import sparse
from tfrec.layers.csr import csr, product, transposed
from tfrec.layers.densify import densify
from tfrec.models.base import Recommender

TOLERANCE = 1e-3  # of the low-pass filter: where it ends hardly matters


@keras.saving.register_keras_serializable("tfrec")
class ChebyCF(Recommender):
    """A spectral filter on the item graph, without training.

    X is the matrix of interactions, users by items, of ones and zeros, d_u and d_i its row and
    column sums, N = D_u^-1/2 X D_i^-1/2, and L = I - 2 N'N the Laplacian of the items, scaled to
    eigenvalues from -1 (items that are chosen together) to 1. A history x is scored by

        s = D_i^b (H(L) + a Q Q') D_i^-b x

    where H is the Chebyshev interpolation, of degree `order`, of the plateau

        h(l) = 1/2 + 1/2 |l|^flatness for l < 0,   1/2 - 1/2 |l|^flatness for l >= 0,

    and Q are the first `factors` right singular vectors of N (an ideal low-pass filter). H(L) x
    takes `order` products with the sparse N'N: no item-by-item matrix is made. The model has no
    user parameters, so that any history can be scored. The training interactions are weights of the
    model, and thus part of an export.

    Departs from the paper: items without training interactions score 0 and
    contribute nothing to the scores of others.
    """

    task = "ranking"
    closed_form = True

    @dataclasses.dataclass(frozen=True)
    class Config(Recommender.Config):
        """ChebyCF's settings.

        Attributes:
            order: Degree of the Chebyshev interpolation.
            flatness: Exponent of the plateau.
            factors: Number of singular vectors of the ideal low-pass filter.
            low_pass: a, the weight of the ideal low-pass filter.
            degree: b, the exponent of item counts that scores are multiplied with, and the entries
                of histories divided by.
        """

        order: int = setting(8, "at least 1", search=Range(4, 12))
        flatness: float = setting(10, "at least 1", search=OneOf(1, 1.5, 2, 4, 6, 8, 10, 12))
        factors: int = setting(64, "at least 1", search=OneOf(32, 64, 128, 256, 512))
        low_pass: float = setting(0.1, "0 or more", search=Range(0, 0.5))
        degree: float = setting(0.3, "0 or more", search=Range(0, 0.6))

    def build(self, input_shape=None):
        info, options = self.info, {"trainable": False, "autocast": False}
        size = info.n_trainable
        self.pairs = self.add_weight((size, 2), "zeros", "int64", name="pairs", **options)
        self.entries = self.add_weight((size,), "zeros", name="entries", **options)
        self.scale = self.add_weight((info.n_items,), "ones", name="scale", **options)
        shape = (info.n_items, self.config.factors)
        self.vectors = self.add_weight(shape, "zeros", name="vectors", **options)
        self.built = True

    @classmethod
    def memory(cls, info, config, train):
        """Four dense batches of histories while they are filtered, and the singular vectors."""
        return 4 * info.n_items * (4 * train.eval_batch_size + 3 * config.factors)

    def call(self, features, training=False):
        x = tf.transpose(self._history(features) / self.scale)
        low = tf.matmul(self.vectors, tf.matmul(self.vectors, x, transpose_a=True))
        found = self._filtered(x) + self.config.low_pass * low
        return tf.transpose(found) * self.scale

    def _history(self, features) -> tf.Tensor:
        """X of the rows, `[batch, n_items]`: 1 for the items of the history."""
        items = features["items"]
        return densify(items, losses.observed(items), self.info.n_items)

    def _filtered(self, x: tf.Tensor) -> tf.Tensor:
        """H(L) x by the recurrence T_k = 2 L T_(k-1) - T_(k-2); `[n_items, batch]`."""
        first, second, *others = coefficients(self.config.order, self.config.flatness)
        shape = [self.info.n_rows, self.info.n_items]
        by_user = csr(tf.convert_to_tensor(self.pairs), tf.convert_to_tensor(self.entries), shape)
        by_item = transposed(by_user)

        def laplacian(y):
            return y - 2 * product(by_item, product(by_user, y))

        older, newer = x, laplacian(x)
        found = first * older + second * newer
        for coefficient in others:
            older, newer = newer, 2 * laplacian(newer) - older
            found += coefficient * newer
        return found

    def objective(self, features, targets, scores):
        """The squared error of the history; it is not minimised."""
        return tf.reduce_sum(tf.square(self._history(features) - scores), axis=1)

    def fit(self, rows, **unused):
        """Reads `rows`, batches of (features, targets), once."""
        x = sparse.read(rows, self.info.n_items)
        x.sum_duplicates()
        x.data[:] = 1
        counts = np.bincount(x.indices, minlength=x.shape[1])
        degrees = np.maximum(counts, 1).astype(np.float32)
        of_users = np.repeat(np.diff(x.indptr), np.diff(x.indptr))
        x.data /= np.sqrt(of_users * degrees[x.indices], dtype=np.float32)
        missing = (0, self.info.n_trainable - x.nnz)  # zeros at the last pair keep the order
        self.pairs.assign(np.pad(np.stack(x.nonzero(), axis=1), [missing, (0, 0)], "edge"))
        self.entries.assign(np.pad(x.data, missing))
        self.scale.assign(degrees**self.config.degree)
        if self.config.low_pass:
            found = sparse.right_singular(x, self.config.factors, TOLERANCE).T
            missing = self.config.factors - found.shape[1]
            self.vectors.assign(np.pad(found, [(0, 0), (0, missing)]))


def coefficients(order: int, flatness: float) -> np.ndarray:
    """Coefficients of the Chebyshev polynomials T_0 ... T_order that interpolate the plateau.

    Args:
        order: 1 or more.
        flatness: The exponent of the plateau.

    Returns:
        float32 `[order + 1]`.
    """

    def plateau(at: np.ndarray) -> np.ndarray:
        return 0.5 - 0.5 * np.sign(at) * np.abs(at) ** flatness

    found = np.polynomial.chebyshev.chebinterpolate(plateau, order)
    return found.astype(np.float32)
