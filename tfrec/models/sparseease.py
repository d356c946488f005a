"""EASE with a sparse matrix, for large catalogues.

Steck, "Markov Random Fields for Collaborative Filtering", NeurIPS 2019: the approximation by local
blocks, its eq. 9 and section 3.2; EASE itself: Steck, WWW 2019.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import keras
import numpy as np
import scipy.linalg
import scipy.sparse
import tensorflow as tf
import threadpoolctl

from tfrec import losses
from tfrec.config import Range, setting
from tfrec.data import sparse
from tfrec.layers.csr import csr, product
from tfrec.models.ease import EASE

_DENSE = 400_000_000  # cells of a Gram matrix that is kept in memory
_COLUMNS = 256  # of it that are computed at once, where it is not


@keras.saving.register_keras_serializable("tfrec")
class SparseEASE(EASE):
    """S = X B, where column j of B has entries for the `neighbors` of item j only.

    EASE's columns are independent ridge regressions of an item on all others. Here item j has
    the regression on its neighbours N: B_Nj = (G_NN + lambda I)^-1 G_Nj, with G = X'X. Its
    neighbours are the items i with the largest |G_ij| / (G_ii G_jj)^.5. With all items as
    neighbours it is EASE. Memory grows with the number of items times that of the neighbours, and
    not with the square of the catalogue.

    Departs from the paper: the neighbours' number is fixed instead of a threshold on the
    correlation, each item has a block of its own (its r = 0), and columns of X are not centred.
    """

    instead = "ials"

    @dataclasses.dataclass(frozen=True)
    class Config(EASE.Config):
        """EASE's settings and the number of neighbours.

        Attributes:
            neighbors: Number of entries of a column of B.
        """

        neighbors: int = setting(200, "at least 1", search=Range(50, 500, log=True))

    def build(self, input_shape=None):
        n, k = self.info.n_items, self._size
        self.neighbors = self.add_weight(
            (n, k), "zeros", "int32", trainable=False, autocast=False, name="neighbors"
        )
        self.neighbor_weights = self.add_weight(
            (n, k), "zeros", trainable=False, name="neighbor_weights"
        )
        self.built = True

    @property
    def _size(self) -> int:
        return max(1, min(self.config.neighbors, self.info.n_items - 1))

    def call(self, features, training=False):
        """X B, as the transpose of B' X'."""
        n, k = self.neighbors.shape
        columns = tf.cast(tf.reshape(self.neighbors, [-1]), tf.int64)
        indices = tf.stack([tf.repeat(tf.range(n, dtype=tf.int64), k), columns], axis=1)
        weights = tf.reshape(tf.cast(self.neighbor_weights, tf.float32), [-1])
        x = tf.transpose(self.history(features))  # [n_items, batch]
        scores = tf.transpose(product(csr(indices, weights, [n, n]), x))
        return tf.ensure_shape(scores, [features["items"].shape[0], n])

    def contributions(self, features, items):
        """x_ui B_ij of each item i of the history, for items j."""
        history = features["items"]
        x = losses.observed(history) * self.config.weigh(features["values"])
        neighbors = tf.gather(tf.convert_to_tensor(self.neighbors), items)  # [batch, n, k]
        weights = tf.gather(tf.cast(self.neighbor_weights, tf.float32), items)
        same = history[:, tf.newaxis, :, tf.newaxis] == neighbors[:, :, tf.newaxis, :]
        weights = tf.where(same, weights[:, :, tf.newaxis, :], 0.0)
        return x[:, tf.newaxis, :] * tf.reduce_sum(weights, axis=-1)

    @classmethod
    def memory(cls, info, config, train):
        """X'X, or X three times and the pairs of a few of its columns; and two copies of B."""
        n, k = info.n_items, config.neighbors
        if n**2 <= _DENSE:
            return 8 * n**2 + 16 * n * k
        return 24 * info.n_ratings.get("train", 0) + 16 * _COLUMNS * n + 16 * n * k

    def _solve(self, x, ridge):
        """Solves a block for each item; `ridge` is that of `EASE`, 1."""
        gram = DenseGram(x) if self.info.n_items**2 <= _DENSE else SparseGram(x)
        with threadpoolctl.threadpool_limits(1, "blas"):  # threads gain nothing in small blocks
            neighbors, weights = solve(gram, self.config.regularization, self._size)
        self.neighbors.assign(neighbors)
        self.neighbor_weights.assign(weights)


class DenseGram:
    """X'X in memory.

    Args:
        x: The rows.
    """

    def __init__(self, x: scipy.sparse.csr_matrix):
        gram = sparse.gram(x)
        self._gram = np.tril(gram) + np.tril(gram, -1).T

    def diagonal(self) -> np.ndarray:
        """The diagonal, float64 `[n_items]`."""
        return self._gram.diagonal().astype(np.float64)

    def columns(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The entries of each column that are not 0: their rows and values, float64."""
        for column in self._gram:  # symmetric
            rows = np.flatnonzero(column)
            yield rows, column[rows].astype(np.float64)

    def block(self, items: np.ndarray) -> np.ndarray:
        """The rows and columns of these items, float64."""
        return self._gram[np.ix_(items, items)].astype(np.float64)


class SparseGram:
    """X'X, of which only some columns or a block are computed at a time; as `DenseGram`.

    Args:
        x: The rows.
    """

    def __init__(self, x: scipy.sparse.csr_matrix):
        self._rows, self._columns, self._items = x, x.tocsc(), x.T.tocsr()

    def diagonal(self) -> np.ndarray:
        """As of `DenseGram`."""
        return np.asarray(self._rows.multiply(self._rows).sum(axis=0), np.float64).ravel()

    def columns(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As of `DenseGram`."""
        for start in range(0, self._items.shape[0], _COLUMNS):
            part = (self._items[start : start + _COLUMNS] @ self._rows).tocsr()
            part.sort_indices()
            for first, last in itertools.pairwise(part.indptr.tolist()):
                yield part.indices[first:last], part.data[first:last].astype(np.float64)

    def block(self, items: np.ndarray) -> np.ndarray:
        """As of `DenseGram`."""
        own = self._columns[:, items]
        return (own.T @ own).toarray().astype(np.float64)


def solve(
    gram: DenseGram | SparseGram, regularization: float, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Solves for B, column by column.

    Args:
        gram: X'X.
        regularization: lambda, > 0.
        k: Number of neighbours, less than n_items.

    Returns:
        The neighbours of each item, int32 `[n_items, k]`, and their entries in its column,
        float32 `[n_items, k]`; 0 for those that share no row with it.

    Raises:
        ValueError: a block is not positive definite.
    """
    diagonal = gram.diagonal()
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-12))
    shape = len(diagonal), k
    neighbors, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for j, (items, shared) in enumerate(gram.columns()):
        others = items != j
        items, shared = items[others], shared[others]
        order = np.argsort(-np.abs(shared * scale[items]), kind="stable")[:k]
        items, shared = items[order], shared[order]
        if not len(items):
            continue
        block = gram.block(items)
        block[np.diag_indices_from(block)] += regularization
        _, solution, failed = scipy.linalg.lapack.dposv(block, shared, lower=1)
        if failed:
            raise ValueError(
                f"X'X + {regularization:g} I is not positive definite: raise --set regularization"
            )
        neighbors[j, : len(items)], weights[j, : len(items)] = items, solution
    return neighbors, weights
