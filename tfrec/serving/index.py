"""An index of inverted lists in the graph, of core operations only."""

import numpy as np
import tensorflow as tf

from tfrec import ranking
from tfrec.schema import PAD
from tfrec.serving import blocks
from tfrec.serving.answers import usable
from tfrec.serving.histories import without_repeats
from tfrec.serving.inverted_lists import InvertedLists

NUMBERS = 1 << 24  # maximum number of float32 values in memory at once, 64 MB


class Index:
    """Inverted lists in the graph.

    Args:
        vectors: Vectors of all items, float32 `[n_items, size]`.
        lists: Inverted lists of these vectors.
        k: Number of items of an answer.
        n_probe: Number of lists that a query reads; can be set until the graph is traced.
    """

    def __init__(self, vectors: np.ndarray, lists: InvertedLists, k: int, n_probe: int = 1):
        self.n_items, self.size = vectors.shape
        self.n_lists, self.length = lists.items.shape
        self.k, self.n_probe = k, n_probe
        rows = vectors[lists.items.ravel()]  # padding gets the last vector, and is never returned
        self.vectors = _variable(rows.reshape(*lists.items.shape, -1), "lists_vectors")
        self.items = _variable(lists.items, "lists_items")
        self.keys = _variable(lists.keys, "lists_keys")
        self.scale = _variable(lists.scale, "lists_scale")
        where = np.empty(self.n_items, np.int32)
        filled = np.flatnonzero(lists.items.ravel() != PAD)
        where[lists.items.ravel()[filled]] = filled
        self.where = _variable(where, "lists_where")

    def search(self, queries: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions `[batch, k]` of the best items, as returned by `ranking.top_k`.

        Args:
            queries: float32 `[batch, size]`.
            seen: int32 `[batch, any]`, positions of items to leave out, padding -1.
        """
        values, items = self.probe(queries, seen)
        lacking = tf.where(values[:, -1] == -float("inf"))

        def completed():
            exact = self.exact(tf.gather_nd(queries, lacking), tf.gather_nd(seen, lacking))
            found = zip((values, items), exact, strict=True)
            return tuple(tf.tensor_scatter_nd_update(x, lacking, new) for x, new in found)

        return tf.cond(tf.size(lacking) > 0, completed, lambda: (values, items))

    def probe(self, queries: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`search` in the lists with the highest list scores, even if these have too few items."""
        numbers = max(self.n_probe * self.length * self.size, self.n_lists)
        return self._by_rows(self._probe, queries, seen, NUMBERS // numbers)

    def _probe(self, queries, seen):
        _, lists = tf.math.top_k(self.list_scores(queries), self.n_probe)
        shape = [-1, self.n_probe * self.length]
        vectors = tf.reshape(tf.gather(self.vectors, lists), [*shape, self.size])
        items = tf.reshape(tf.gather(self.items, lists), shape)
        return self._top(_products(vectors, queries), items, seen)

    def list_scores(self, queries: tf.Tensor) -> tf.Tensor:
        """Scores by which lists are chosen, `[batch, n_lists]`."""
        norm = tf.norm(queries * self.scale, axis=1, keepdims=True)
        return tf.matmul(tf.concat([queries, norm], axis=1), self.keys, transpose_b=True)

    def exact(self, queries: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`search` in all lists."""
        return self._by_rows(self._exact, queries, seen, NUMBERS // (self.n_lists * self.length))

    def _exact(self, queries, seen):
        vectors = tf.reshape(self.vectors, [-1, self.size])
        scores = tf.matmul(queries, vectors, transpose_b=True)
        items = tf.broadcast_to(tf.reshape(self.items, [1, -1]), tf.shape(scores))
        return self._top(scores, items, seen)

    def of_allowed(self, queries, seen, allowed) -> tuple[tf.Tensor, tf.Tensor]:
        """`search` among the items `allowed`, int32 `[batch, any]`, padding -1."""
        items = without_repeats(tf.where(allowed < self.n_items, allowed, PAD))
        size = NUMBERS // (self.size * tf.maximum(1, tf.shape(items)[1]))
        return self._by_rows(self._of_allowed, queries, seen, size, items)

    def _of_allowed(self, queries, seen, items):
        rows = tf.gather(self.where, tf.maximum(items, 0))
        vectors = tf.gather(tf.reshape(self.vectors, [-1, self.size]), rows)
        return self._top(_products(vectors, queries), items, seen)

    def scores(self, queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Dot products of queries with the first columns of the items' vectors.

        Args:
            queries: float32 `[batch, up to size]`.
            items: int32 `[batch, n]`; the scores of -1 are arbitrary.

        Returns:
            float32 `[batch, n]`.
        """
        rows = tf.gather(self.where, tf.maximum(items, 0))
        vectors = tf.gather(tf.reshape(self.vectors, [-1, self.size]), rows)
        return usable(_products(vectors[..., : queries.shape[1]], queries))

    def _top(self, scores, items, seen):
        return ranking.top_k_of(usable(scores), items, seen, self.k, self.n_items)

    def _by_rows(self, function, queries, seen, size, *more):
        rows = (tf.ensure_shape(queries, [None, self.size]), seen, *more)
        values, items = blocks.by_rows(function, rows, size, [tf.float32, tf.int32])
        return tf.ensure_shape(values, [None, self.k]), tf.ensure_shape(items, [None, self.k])


def _products(vectors: tf.Tensor, queries: tf.Tensor) -> tf.Tensor:
    """`[batch, n, size]` and `[batch, size]` -> `[batch, n]`."""
    return tf.squeeze(tf.matmul(vectors, queries[:, :, tf.newaxis]), -1)


def _variable(array: np.ndarray, name: str) -> tf.Variable:
    return tf.Variable(array, trainable=False, name=name)
