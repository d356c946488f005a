"""What some models can do besides scoring: base classes by which they say so.

A model names them before `Recommender` among its bases, and those who need a capability ask by
`isinstance`. Models of single events have one more, `tfrec.models.events.EventModel`; what is said
by a class attribute or has a default is in `Recommender`.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf


class ItemRows:
    """A model of histories that can read rows by item: its `Config` has `rows`.

    With rows by item it has weights for each user and can not score a history that it was not
    trained on. Served are the codes of all items' rows and the users' weights.
    """

    @classmethod
    def rows(cls, config) -> str:
        """What a row is with these settings, "item" or "user"."""
        return config.rows

    def encode(self, features) -> tf.Tensor:
        """The codes of rows, `[batch, size]`."""
        raise NotImplementedError

    def encode_all(self, batches: Iterable) -> np.ndarray:
        """The codes of all rows, float32 `[n_rows, size]`; those of no batch are empty.

        Args:
            batches: Rows as `(features, targets)`; `user` names the row, -1 fillers.
        """
        codes = np.repeat(self.encode(self.empty_features()).numpy(), self.info.n_rows, axis=0)
        for features, _ in batches:
            rows = features["user"].numpy()
            codes[rows[rows >= 0]] = self.encode(features).numpy()[rows >= 0]
        return codes

    def score_columns(self, codes: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """Scores of a few columns for many encoded rows.

        Args:
            codes: `[n_rows, size]` from `encode`.
            columns: int32 `[batch]`.

        Returns:
            `[batch, n_rows]`, what `score` gives for these rows and columns, transposed.
        """
        raise NotImplementedError


class Factors:
    """A model whose score is a product of two vectors, one of the query and one of the item.

    A query is a user, or a history. `tfrec.export --index` finds the best items of such a model by
    an index of the items' vectors.
    """

    def query_vectors(self, features) -> tf.Tensor:
        """Vectors of queries, float32 `[batch, size]`.

        Args:
            features: Of a model of events `user` alone, -1 for one that it does not know; else
                those of `score`.
        """
        raise NotImplementedError

    def candidate_vectors(self, items: tf.Tensor) -> tf.Tensor:
        """Vectors of items, int32 `[n]` -> float32 `[n, size]`; times a query's: its scores."""
        raise NotImplementedError


class Additive:
    """A model of histories whose score is a sum over the history's items."""

    def contributions(self, features, items: tf.Tensor) -> tf.Tensor:
        """The summands of scores.

        Args:
            features: Of histories, as for `score`.
            items: Whose scores, int32 `[batch, n]`, each row its own.

        Returns:
            float32 `[batch, n, length]`, 0 of padding; its sums over the last axis are the scores.
        """
        raise NotImplementedError


class Resumable:
    """A model in closed form whose `fit` takes many steps of its own, and goes on after a break."""

    def fit(
        self,
        rows: Iterable,
        *,
        saved: Mapping[str, np.ndarray] | None = None,
        step: Callable[[Callable[[], Mapping[str, np.ndarray]]], object] = lambda save: None,
        **unused: object,
    ) -> None:
        """Solves.

        Args:
            rows: Batches of `(features, targets)`.
            saved: What an earlier `fit` on the same rows would have saved after one of its steps,
                to end where it would have ended; nothing: from the start. The model's variables
                are those of that moment.
            step: Called after each step with a function that gives what is to be saved now.
            **unused: What Keras' `fit` would take.
        """
        raise NotImplementedError
