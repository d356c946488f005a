"""EASE with a sparse matrix, for large catalogues.

Steck, "Markov Random Fields for Collaborative Filtering", NeurIPS 2019: the approximation by local
blocks, its eq. 9 and section 3.2; EASE itself: Steck, WWW 2019.
"""

import dataclasses
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
from tfrec.models.ease import EASE

_DENSE = 100_000_000  # cells of a Gram matrix that is kept dense
_CELLS = 1 << 24  # of a block of it, and of the scores that are gathered at once


@keras.saving.register_keras_serializable("tfrec")
class SparseEASE(EASE):
    """S = X B, where column j of B has entries for the `neighbors` of item j only.

    EASE's columns are independent ridge regressions of an item on all others. Here item j has
    the regression on its neighbours N: B_Nj = (G_NN + lambda I)^-1 G_Nj, with G = X'X. Its
    neighbours are the items i with the largest |G_ij| / (G_ii G_jj)^.5. With all items as
    neighbours it is EASE. Time and memory grow with the number of items times the neighbours'
    cube and number, not with the square of the catalogue.

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
        """X B, by a few of the neighbours of all items at a time."""
        x = tf.transpose(self.history(features))  # [n_items, batch]
        neighbors = tf.transpose(tf.convert_to_tensor(self.neighbors))
        weights = tf.transpose(tf.cast(self.neighbor_weights, tf.float32))
        step = tf.maximum(1, _CELLS // tf.maximum(1, tf.size(x)))

        def add(start, scores):
            at = slice(start, start + step)
            gathered = tf.gather(x, neighbors[at])
            return start + step, scores + tf.einsum("kib,ki->ib", gathered, weights[at])

        _, scores = tf.while_loop(
            lambda start, scores: start < self._size,
            add,
            (tf.constant(0), tf.zeros_like(x)),
            shape_invariants=(tf.TensorShape([]), x.shape),
        )
        return tf.ensure_shape(tf.transpose(scores), [features["items"].shape[0], x.shape[0]])

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
        """X'X, dense or at most as many pairs as rows have; and two copies of B."""
        n, n_train = info.n_items, info.n_ratings.get("train", 0)
        mean = n_train / max(1, info.n_users)
        pairs = min(n**2, 4 * n_train * mean)  # histories of unequal lengths: the mean square
        return int((4 * n**2 if n**2 <= _DENSE else 8 * pairs) + 16 * n * config.neighbors)

    def fit(self, rows, **unused):
        """Reads `rows` once, sums up X'X and solves a block for each item.

        Args:
            rows: Batches of (features, targets).
            **unused: Other arguments of Keras' `fit`.
        """
        x = sparse.read(rows, self.info.n_items)
        x.data = self.config.weigh(x.data).numpy()
        gram = _gram(x)
        with threadpoolctl.threadpool_limits(1, "blas"):  # threads gain nothing in small blocks
            neighbors, weights = solve(gram, self.config.regularization, self._size)
        self.neighbors.assign(neighbors)
        self.neighbor_weights.assign(weights)


def _gram(x: scipy.sparse.csr_matrix) -> np.ndarray | scipy.sparse.csr_matrix:
    """X'X, dense where that is small."""
    n = x.shape[1]
    if n**2 > _DENSE:
        return (x.T.tocsr() @ x).tocsr()
    gram = sparse.gram(x)
    return np.tril(gram) + np.tril(gram, -1).T


def solve(
    gram: np.ndarray | scipy.sparse.csr_matrix, regularization: float, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Solves for B, column by column.

    Args:
        gram: X'X, `[n_items, n_items]`, symmetric.
        regularization: lambda, > 0.
        k: Number of neighbours, less than n_items.

    Returns:
        The neighbours of each item, int32 `[n_items, k]`, and their entries in its column,
        float32 `[n_items, k]`; 0 for those that share no row with it.

    Raises:
        ValueError: a block is not positive definite.
    """
    n = gram.shape[0]
    diagonal = np.asarray(gram.diagonal(), np.float64)
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-12))
    neighbors, weights = np.zeros((n, k), np.int32), np.zeros((n, k), np.float32)
    for j, (items, shared) in enumerate(_columns(gram)):
        others = items != j
        items, shared = items[others], shared[others]
        order = np.argsort(-np.abs(shared * scale[items]), kind="stable")[:k]
        items, shared = items[order], shared[order]
        if not len(items):
            continue
        block = _block(gram, items)
        block[np.diag_indices_from(block)] += regularization
        _, solution, failed = scipy.linalg.lapack.dposv(block, shared, lower=1, overwrite_a=1)
        if failed:
            raise ValueError(
                f"X'X + {regularization:g} I is not positive definite: raise --set regularization"
            )
        neighbors[j, : len(items)], weights[j, : len(items)] = items, solution
    return neighbors, weights


def _columns(
    gram: np.ndarray | scipy.sparse.csr_matrix,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The entries of each column that are not 0: their rows and values, float64."""
    for j in range(gram.shape[0]):
        if isinstance(gram, np.ndarray):
            rows = np.flatnonzero(gram[j])
            yield rows, gram[j, rows].astype(np.float64)
        else:
            at = slice(gram.indptr[j], gram.indptr[j + 1])
            yield gram.indices[at], gram.data[at].astype(np.float64)


def _block(gram: np.ndarray | scipy.sparse.csr_matrix, items: np.ndarray) -> np.ndarray:
    """The rows and columns of these items, float64 in Fortran order."""
    if isinstance(gram, np.ndarray):
        return np.asfortranarray(gram[np.ix_(items, items)], np.float64)
    rows = gram[items]
    position = np.full(gram.shape[0], -1, np.int32)
    position[items] = np.arange(len(items))
    column = position[rows.indices]
    row = np.repeat(np.arange(len(items)), np.diff(rows.indptr))
    block = np.zeros((len(items), len(items)), np.float64, order="F")
    block[row[column >= 0], column[column >= 0]] = rows.data[column >= 0]
    return block
