"""What some models can do besides scoring: base classes by which they say so.

A model names them before `Recommender` among its bases, and those who need a capability ask by
`isinstance`. Models of single events have one more, `tfrec.models.events.EventModel`; what is said
by a class attribute or has a default is in `Recommender`.
"""

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
    """A model of events whose score is a product of a user's and an item's vector.

    `tfrec.export --index=tfrs` makes an index of them.
    """

    def factors(self, users: tf.Tensor, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Vectors of positions, int32 `[n]`; user -1 is one that the model does not know.

        Returns:
            float32 `[n_users, size]` and `[n_items, size]`; their product is the score.
        """
        raise NotImplementedError
