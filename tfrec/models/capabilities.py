"""Optional capabilities of models, as base classes.

A model inherits from them before `Recommender`; callers check for a capability by `isinstance`.
Models of single events have one more, `tfrec.models.events.EventModel`. Capabilities that are a
class attribute or have a default are in `Recommender`.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from tfrec.layers import fields


class ItemRows:
    """A model of histories that can read rows by item, as its setting `rows` says.

    With rows by item it has weights for each user and cannot score histories that it was not
    trained on. For serving, the rows of all items are encoded once; a user's scores are computed
    from these codes and the user's weights.
    """

    @classmethod
    def rows(cls, config) -> str:
        """Whether rows are by "item" or by "user" with these settings."""
        return config.rows

    def encode(self, features) -> tf.Tensor:
        """Latent codes of rows, `[batch, size]`."""
        raise NotImplementedError

    def encode_all(self, batches: Iterable) -> np.ndarray:
        """Latent codes of all rows, float32 `[n_rows, size]`.

        Rows that are in no batch get the code of an empty row.

        Args:
            batches: Batches of (features, targets); `user` is the row's index, -1 in rows that
                only fill up a batch.
        """
        codes = np.repeat(self.encode(self.empty_features()).numpy(), self.info.n_rows, axis=0)
        for features, _ in batches:
            rows = features["user"].numpy()
            codes[rows[rows >= 0]] = self.encode(features).numpy()[rows >= 0]
        return codes

    def score_columns(self, codes: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """Scores of some columns for many encoded rows.

        Args:
            codes: `[n_rows, size]`, from `encode`.
            columns: int32 `[batch]`.

        Returns:
            `[batch, n_rows]`: the result of `score` for these rows and columns, transposed.
        """
        raise NotImplementedError


class Factors:
    """A model whose score is the dot product of a query vector and an item vector.

    A query is a user or a history. `tfrec.export --index` retrieves the best items of such a model
    from a nearest-neighbour index of the item vectors.
    """

    def query_vectors(self, features) -> tf.Tensor:
        """Query vectors, float32 `[batch, size]`.

        Args:
            features: For a model of events `user` alone, -1 for an unknown user; else as in
                `score`.
        """
        raise NotImplementedError

    def candidate_vectors(self, items: tf.Tensor) -> tf.Tensor:
        """Item vectors, float32 `[n, size]`, of items int32 `[n]`."""
        raise NotImplementedError


class SideTables:
    """A model that reads the side tables of users or items.

    Attributes:
        codes: The `FieldCodes` layer that holds them, or None.
    """

    codes: fields.FieldCodes | None = None

    @property
    def data_weights(self) -> list:
        """The side tables."""
        return list(self.codes.tables.values()) if self.codes else []

    def take_tables(self, tables: Mapping[str, np.ndarray]) -> None:
        """Sets the side tables, by field name; called once, after `create`."""
        if self.codes:
            self.codes.assign(tables)


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
    """A model in closed form whose `fit` takes many steps and can be resumed."""

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
            rows: Batches of (features, targets).
            saved: The state that an interrupted `fit` on the same rows saved after one of its
                steps, to continue from; the model's variables are as they were then. None: starts
                at the first step.
            step: Called after each step with a function that returns the state to save.
            **unused: Other arguments of Keras' `fit`.
        """
        raise NotImplementedError
