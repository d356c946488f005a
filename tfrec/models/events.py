"""What models of single events share: MF, FM, DeepFM and their kin."""

from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import OneOf
from tfrec.layers import fields as fields_lib
from tfrec.models.base import Recommender
from tfrec.schema import PAD

BLOCK = 1 << 16  # events scored at once where all items are


class EventModel(Recommender):
    """A model of events: `call` gives one score an event, `[batch]`.

    Features are `user` and `item`, int32 `[batch]`, and what the model's fields need:
    `context` names it. Targets are `value`, float32 `[batch]`. For a rating the score is the
    rating, for clicks (`task="ctr"`) the logit of the probability.

    `forward` returns the scores and, `[batch]` too, the squares that `regularization` weighs:
    those of the event's own parameters, so that frequent users and items pay more often.

    Attributes:
        codes: The fields that a subclass reads, a `FieldCodes`; None where it reads none.
    """

    reads: ClassVar[str] = "events"
    search = {"batch_size": OneOf(512, 1024, 2048, 4096), "weight_decay": None}
    codes: fields_lib.FieldCodes | None = None

    @property
    def context(self) -> tuple[str, ...]:
        """What each event must carry besides user and item."""
        return fields_lib.context(self.codes.fields) if self.codes else ()

    @property
    def start(self) -> float:
        """What the output bias starts at: the mean rating, or the logit of the mean label."""
        mean = self.info.rating_mean
        if self.task != "ctr":
            return mean
        return float(tf.math.log(mean / (1 - mean))) if 0 < mean < 1 else 0.0

    @property
    def given(self):
        return list(self.codes.tables.values()) if self.codes else []

    def known(self, rows) -> dict[str, np.ndarray]:
        """Which users and which items have an event: bool `[n_users]` and `[n_items]`.

        Args:
            rows: Batches of (features, targets).
        """
        sizes = {"user": self.info.n_users, "item": self.info.n_items}
        # The last one takes -1, the position in events that only fill a batch.
        marks = {of: np.zeros(n + 1, bool) for of, n in sizes.items()}
        for features, _ in rows:
            for of, mark in marks.items():
                mark[np.asarray(features[of])] = True
        return {of: mark[:-1] for of, mark in marks.items()}

    def take_tables(self, tables) -> None:
        """Takes the side tables by field; called once, after `create`."""
        if self.codes:
            self.codes.assign(tables)

    def empty_features(self, batch: int = 1) -> dict[str, tf.Tensor]:
        """Features of `batch` events of nobody and nothing."""
        nothing = tf.fill([batch], PAD)
        return {"user": nothing, "item": nothing} | self._no_context(nothing)

    def _no_context(self, like: tf.Tensor) -> dict[str, tf.Tensor]:
        kinds = {field.name: field.kind for field in self.info.fields}
        dtypes = {
            name: tf.int64
            if name == "time"
            else tf.float32
            if kinds[name] == "number"
            else tf.int32
            for name in self.context
        }
        return {name: tf.zeros_like(like, dtype) for name, dtype in dtypes.items()}

    def objective(self, features, targets, scores):
        """Squared error or logistic loss of the event, and its share of the regularization."""
        scores, squares = scores
        if self.task == "ctr":
            loss = tf.nn.sigmoid_cross_entropy_with_logits(targets["value"], scores)
        else:
            loss = tf.square(targets["value"] - scores)
        return loss + self.config.regularization * squares

    def score(self, features, items: tf.Tensor | None = None) -> tf.Tensor:
        """Scores of events, or of items for users.

        Args:
            features: Of events; or without `item`: only `user` is used then, and the context
                is unknown.
            items: int32 `[n]`, which items; default all.

        Returns:
            float32 `[batch]` for events, else `[batch, n]`.
        """
        if "item" in features:
            return super().score(features)
        if items is not None:
            return self.score_items(features["user"], items)
        return tf.ensure_shape(self.score_all(features["user"]), [None, self.info.n_items])

    def score_all(self, users: tf.Tensor) -> tf.Tensor:
        """`score_items` of all items."""
        return self.score_items(users, tf.range(self.info.n_items))

    def score_items(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """`[batch]` users and `[n]` items -> float32 `[batch, n]`, in blocks of events."""
        n_users, n = tf.shape(users)[0], tf.shape(items)[0]
        size = tf.minimum(tf.maximum(1, BLOCK // tf.maximum(1, n_users)), n)
        blocks = tf.reshape(tf.pad(items, [[0, -n % size]]), [-1, size])

        def score_block(block: tf.Tensor) -> tf.Tensor:
            user, item = tf.repeat(users, size), tf.tile(block, [n_users])
            features = {"user": user, "item": item} | self._no_context(user)
            return tf.reshape(self.score(features), [n_users, size])

        scores = tf.map_fn(score_block, blocks, fn_output_signature=tf.float32)
        return tf.reshape(tf.transpose(scores, [1, 0, 2]), [n_users, tf.size(blocks)])[:, :n]


def zero_at_start(
    table: keras.Variable, start: keras.initializers.Initializer, cold: np.ndarray
) -> None:
    """Puts 0 into the rows that no training event will move, but for those already learned.

    Args:
        table: `[n, size]`.
        start: The initializer of `table`; a row that differs from it was learned in another data
            set or pass, and stays.
        cold: bool `[n]`, rows without a training event.
    """
    value = keras.ops.convert_to_numpy(table)
    fresh = (value == keras.ops.convert_to_numpy(start(table.shape, table.dtype))).all(axis=1)
    table.assign(np.where((cold & fresh)[:, None], np.float32(0), value))
