"""Base of the models of single events: MF, FM, DeepFM and others."""

from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import OneOf
from tfrec.layers import fields as fields_lib
from tfrec.layers.gathered import gathered
from tfrec.models.base import Recommender
from tfrec.models.capabilities import SideTables
from tfrec.schema import PAD

BLOCK = 1 << 16  # events scored at once when all items are scored


class EventModel(SideTables, Recommender):
    """A model of events: `call` returns one score for each event, `[batch]`.

    Features are `user` and `item`, int32 `[batch]`, and the context features that the model's
    fields need (`context`). The target is `value`, float32 `[batch]`. The score is the rating or,
    for clicks (`task="ctr"`), the logit of the probability.

    `forward` returns the scores and the penalty of the parameters of each event, `[batch]`:
    parameters of frequent users and items are penalized more often.
    """

    reads: ClassVar[str] = "events"
    search = {"batch_size": OneOf(512, 1024, 2048, 4096), "weight_decay": None}

    @property
    def context(self) -> tuple[str, ...]:
        """Names of the features of an event besides user and item."""
        return fields_lib.context(self.codes.fields) if self.codes else ()

    @property
    def start(self) -> float:
        """Initial output bias: the mean rating, or the logit of the mean label."""
        mean = self.info.rating_mean
        if self.task != "ctr":
            return mean
        return float(tf.math.log(mean / (1 - mean))) if 0 < mean < 1 else 0.0

    def empty_features(self, batch: int = 1) -> dict[str, tf.Tensor]:
        """Features of `batch` events with unknown user, item and context."""
        unknown = tf.fill([batch], PAD)
        return {"user": unknown, "item": unknown} | self._no_context(unknown)

    def _no_context(self, like: tf.Tensor) -> dict[str, tf.Tensor]:
        """Unknown context features, of the shape of `like`."""
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
        """Squared error or logistic loss of the event, plus the penalty of its parameters."""
        scores, penalty = scores
        if self.task == "ctr":
            loss = tf.nn.sigmoid_cross_entropy_with_logits(targets["value"], scores)
        else:
            loss = tf.square(targets["value"] - scores)
        return loss + penalty

    def score(self, features, items: tf.Tensor | None = None) -> tf.Tensor:
        """Scores of events, or of items for users.

        Args:
            features: Features of events; without `item` all items (or `items`) are scored for each
                `user`, with unknown context.
            items: int32 `[n]`; default: all items.

        Returns:
            float32 `[batch]` for events, else `[batch, n]`.
        """
        if "item" in features:
            return super().score(features)
        if items is not None:
            return self.score_items(features["user"], items)
        return tf.ensure_shape(self.score_all(features["user"]), [None, self.info.n_items])

    def score_all(self, users: tf.Tensor) -> tf.Tensor:
        """Scores of all items for users `[batch]`, float32 `[batch, n_items]`."""
        return self.score_items(users, tf.range(self.info.n_items))

    def score_items(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Scores of items `[n]` for users `[batch]`, float32 `[batch, n]`, in blocks of events."""
        n_users, n = tf.shape(users)[0], tf.shape(items)[0]
        size = tf.minimum(tf.maximum(1, BLOCK // tf.maximum(1, n_users)), n)
        blocks = tf.reshape(tf.pad(items, [[0, -n % size]]), [-1, size])

        def score_block(block: tf.Tensor) -> tf.Tensor:
            user, item = tf.repeat(users, size), tf.tile(block, [n_users])
            features = {"user": user, "item": item} | self._no_context(user)
            return tf.reshape(self.score(features), [n_users, size])

        scores = tf.map_fn(score_block, blocks, fn_output_signature=tf.float32)
        return tf.reshape(tf.transpose(scores, [1, 0, 2]), [n_users, tf.size(blocks)])[:, :n]


class DampedEventModel(EventModel):
    """A model of events with the settings `regularization`, lambda, and `damping`.

    The squared norm of the parameters of a user, an item or a field's value with n training events
    is weighed by max(lambda, damping / n) in each of them, in all by max(lambda n, damping). Losses
    other than the squared error of ratings are not damped.

    Attributes:
        n_events: The numbers of training events by table of parameters, int32 `[rows]`; empty where
            nothing is damped. They are counted before the first epoch.
    """

    @property
    def data_weights(self):
        return [*super().data_weights, *self.n_events.values()]

    def _tables(self, **rows: int) -> None:
        """Takes the numbers of rows of the tables of parameters."""
        self.n_rows, self.n_events = rows, {}
        if self.task == "rating" and self.config.damping:
            options = {"dtype": "int32", "trainable": False, "autocast": False}
            self.n_events = {
                name: self.add_weight((n,), "zeros", name=f"{name}_events", **options)
                for name, n in rows.items()
            }

    def rows_read(self, features) -> dict[str, tf.Tensor]:
        """The rows of each table that events read; -1 is none."""
        raise NotImplementedError

    def count_events(self, rows) -> dict[str, np.ndarray]:
        """Counts the events that read each row of each table; keeps the counts for `penalty`.

        Args:
            rows: Batches of (features, targets).
        """
        counts = {name: np.zeros(n + 1, np.int32) for name, n in self.n_rows.items()}
        for features, _ in rows:
            for name, read in self.rows_read(features).items():
                np.add.at(counts[name], np.asarray(read), 1)
        for name, weight in self.n_events.items():
            weight.assign(counts[name][:-1])
        return {name: n[:-1] for name, n in counts.items()}

    def penalty(self, table: str, rows: tf.Tensor, squares: tf.Tensor) -> tf.Tensor:
        """The weighed squared norms, float32.

        Args:
            table: Name of the table.
            rows: Rows that are read, as from `rows_read`.
            squares: The squared norms of their parameters, of the same shape.
        """
        c, squares = self.config, tf.cast(squares, tf.float32)
        if not self.n_events:
            return c.regularization * squares
        n = tf.cast(tf.maximum(1, gathered(self.n_events[table], tf.maximum(rows, 0))), tf.float32)
        return tf.maximum(c.regularization, c.damping / n) * squares


def zero_cold_rows(
    table: keras.Variable, start: keras.initializers.Initializer, cold: np.ndarray
) -> None:
    """Sets embeddings of users or items without training events to 0.

    Args:
        table: `[n, size]`.
        start: The initializer of `table`. Rows that differ from their initial value were trained
            before, as in a warm start, and stay.
        cold: bool `[n]`, rows without a training event.
    """
    value = keras.ops.convert_to_numpy(table)
    initial = keras.ops.convert_to_numpy(start(table.shape, table.dtype))
    untrained = (value == initial).all(axis=1)
    table.assign(np.where((cold & untrained)[:, None], np.float32(0), value))
