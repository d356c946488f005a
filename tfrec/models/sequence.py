"""What sequence models share: a window on the history, one table of items, the losses."""

import dataclasses
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import OneOf, Range, Settings, setting
from tfrec.layers import next_item, windows
from tfrec.layers.scoped import Scoped
from tfrec.losses import entries_of
from tfrec.models.base import Recommender
from tfrec.models.capabilities import Factors
from tfrec.schema import PAD


class Predicting(NamedTuple):
    """The places of a batch that predict an item.

    Attributes:
        states: `[n, width]`, what the model knows there.
        rows: int64 `[n]`, which row of the batch.
        items: int32 `[n]`, the right item.
    """

    states: tf.Tensor
    rows: tf.Tensor
    items: tf.Tensor


class Sequence(Factors, Recommender):
    """A model of the newest `window` items, whose score of item i is state . e_i + b_i.

    A subclass has a nested `Config` that extends this one and gives `states` (vectors at all
    places of a window), and `predicting` if not each place predicts the next item.

    Held-out targets are no part of the loss, which looks at the input alone. It is a sum over
    the row's predictions, divided by a constant, the mean number of them in a training row: with
    the mean of each batch, a prediction would weigh more where rows are short.
    """

    task = "ranking"

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """Settings of all sequence models.

        Attributes:
            window: Items that a prediction looks back on at most.
            width: Size of the items' vectors and of the states.
            dropout: Rate.
            loss: "softmax" (over all items), "sampled" (softmax over the right item and
                `negatives` uniform draws a step, shared by all places), "bce" (`negatives` draws
                for each place) or "gbce" (`negatives` draws a step, shared, with `calibration`).
                Draws that are in the row do not count.
            negatives: See `loss`; softmax uses none.
            calibration: gbce: its t.
            slide: Share of the training rows longer than the window that show an earlier part of
                theirs, any, instead of the newest.
            popular: The items' biases start at the logarithm of their numbers in the training rows,
                so that the state has only to say how a user differs; else at 0.
        """

        window: int = setting(100, "at least 2", search=OneOf(20, 50, 100, 200))
        width: int = setting(64, "at least 1", search=OneOf(32, 64, 128))
        dropout: float = setting(0.2, "0 or more and less than 1", search=Range(0, 0.6))
        loss: str = setting("sampled", choices=next_item.LOSSES)
        negatives: int = setting(1000, "at least 1")
        calibration: float = setting(0.75, "from 0 to 1")
        slide: float = setting(0.5, "from 0 to 1", search=Range(0, 1))
        popular: bool = True

    deviation = 0.02  # of the vectors' truncated normal start

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        self.max_items, self.exact = self.config.window, False
        start = keras.initializers.TruncatedNormal(stddev=self.deviation)
        # The last vector is no item's: what it stands for is the model's to say.
        self.table = self.add_weight(
            (info.n_items + 1, self.config.width), start, name="table", autocast=False
        )
        self.bias = self.add_weight((info.n_items,), "zeros", name="bias", autocast=False)
        self.seed_generator = keras.random.SeedGenerator()

    @classmethod
    def activations(cls, info, config, train):
        """The loss over all items has a score for each place of the batch and each item."""
        mean = info.n_ratings.get("train", 0) / max(1, info.row_counts.get("train", 1))
        places = int(train.batch_size * np.clip(2 * mean, 1, config.window))  # the longer rows
        softmax = 3 * places * info.n_items if config.loss == "softmax" else 0
        return softmax + train.batch_size * info.n_items + 64 * places * config.width

    def begin_epoch(self, epoch, rows):
        """Before the first pass: biases that nothing has moved yet start as `popular` says."""
        if epoch or not self.config.popular or np.any(keras.ops.convert_to_numpy(self.bias)):
            return
        counts = np.zeros(self.info.n_items + 1)
        for features, _ in rows:
            items = np.asarray(features["items"]).ravel()
            counts += np.bincount(items + 1, minlength=len(counts))
        logs = np.log(counts[1:] + 1)
        self.bias.assign(logs - logs.mean())

    def states(self, tokens: tf.Tensor, training: bool) -> tf.Tensor:
        """`[batch, L, width]` from int32 `[batch, L]`, -1 in front of short histories."""
        raise NotImplementedError

    def predicting(self, items: tf.Tensor, training: bool) -> Predicting:
        """What of the input is predicted from where.

        Here for models that look back only: each place of the window predicts the item after
        it. The first item of a history is predicted, too, from nothing: so is a user without one.

        Args:
            items: int32 `[batch, any]` in time order, padding anywhere.
            training: False: without dropout, and with nothing drawn.
        """
        length = self.config.window
        tokens = self.window_of(items, length + 1, training)
        before = tf.pad(tokens, [[0, 0], [1, 0]], constant_values=PAD)[:, :-1]
        return self.at(self.states(before[:, -length:], training), tokens[:, -length:])

    def query(self, items: tf.Tensor) -> tf.Tensor:
        """The window whose last state scores the next item, int32 `[batch, L]`."""
        return windows.newest(items, self.config.window)

    def forward(self, features, training=False):
        """All places that predict, as a `Predicting`."""
        return tuple(self.predicting(tf.cast(features["items"], tf.int32), training))

    def call(self, features, training=False):
        """Scores of the item after the history, float32 `[batch, n_items]`."""
        table, bias = self.outputs()
        return tf.matmul(self._last(features, training), table, transpose_b=True) + bias

    def _last(self, features, training: bool = False) -> tf.Tensor:
        """The state after the history, float32 `[batch, width]`."""
        items = tf.cast(features["items"], tf.int32)
        return tf.cast(self.states(self.query(items), training)[:, -1], tf.float32)

    def query_vectors(self, features):
        """[state, 1]."""
        last = Scoped(self._last, dtype=self.dtype_policy, name=self.name)(features)
        return tf.pad(last, [[0, 0], [0, 1]], constant_values=1.0)

    def candidate_vectors(self, items):
        """[e, b]."""
        table, bias = self.outputs()
        return tf.gather(tf.concat([table, tf.convert_to_tensor(bias)[:, None]], axis=1), items)

    def outputs(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The items' vectors, `[n_items, width]`, and biases by which states are scored."""
        return self.table[:-1], tf.convert_to_tensor(self.bias)

    def item_vectors(self):
        return self.outputs()[0]

    def embed(self, tokens: tf.Tensor) -> tf.Tensor:
        """The items' vectors, `[batch, L, width]`; padding has the last one."""
        x = tf.gather(self.table, tf.where(tokens >= 0, tokens, self.info.n_items))
        return tf.cast(x, self.compute_dtype)

    def window_of(self, items: tf.Tensor, length: int, training: bool) -> tf.Tensor:
        """The newest `length` items; in training, for a share of longer rows, earlier ones."""
        if not (training and self.config.slide):
            return windows.newest(items, length)
        spare = tf.reduce_sum(tf.cast(items >= 0, tf.float32), axis=1) - length
        draws = self.uniform([2, tf.shape(items)[0]])
        slides = tf.cast(draws[0] < self.config.slide, tf.float32)
        skip = slides * tf.floor(draws[1] * (tf.maximum(spare, 0.0) + 1))
        return windows.newest(items, length, tf.cast(skip, tf.int32))

    @staticmethod
    def at(states: tf.Tensor, items: tf.Tensor) -> Predicting:
        """Predictions of the `items` int32 `[batch, L]` that are no padding."""
        places = tf.where(items >= 0)
        return Predicting(tf.gather_nd(states, places), places[:, 0], tf.gather_nd(items, places))

    def objective(self, features, targets, scores):
        """The loss; it looks at the input alone, held-out `targets` are no part of it."""
        predicting = Predicting(*scores)
        losses = self.loss_of(predicting, features["items"])
        n_rows = tf.shape(features["items"])[0]
        return tf.math.unsorted_segment_sum(losses, predicting.rows, n_rows) / self.per_row()

    def per_row(self) -> float:
        """About the mean number of predictions in a training row, at least 1."""
        n_rows = max(1, self.info.row_counts.get("train", 1))
        return float(np.clip(self.info.n_ratings.get("train", 0) / n_rows, 1, self.config.window))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Of the base; in evaluation by the softmax over all items, whatever trains."""
        self.exact = not training
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def loss_of(self, predicting: Predicting, history: tf.Tensor) -> tf.Tensor:
        """Loss of each prediction, float32 `[n]`; `history` int32 `[batch, any]` are the rows."""
        c, (states, rows, items), outputs = self.config, predicting, self.outputs()
        if c.loss == "softmax" or self.exact:
            return next_item.softmax(states, items, *outputs)
        in_row = self._in_row(history)
        if c.loss == "bce":
            negatives = self._draw([tf.shape(items)[0], c.negatives])
            places = rows[:, None] * self.info.n_items + tf.cast(negatives, tf.int64)
            seen = tf.gather(tf.reshape(in_row, [-1]), places)
            return next_item.binary(states, items, *outputs, negatives, seen)
        negatives = self._draw([c.negatives])
        seen = tf.gather(tf.gather(in_row, negatives, axis=1), rows)
        if c.loss == "sampled":
            return next_item.sampled_softmax(states, items, *outputs, negatives, seen)
        beta = next_item.gbce_beta(c.negatives, self.info.n_items, c.calibration)
        return next_item.binary(states, items, *outputs, negatives, seen, beta)

    def _in_row(self, history: tf.Tensor) -> tf.Tensor:
        """Which items a row has, bool `[batch, n_items]`."""
        _, places = entries_of(history)
        shape = [tf.shape(history)[0], self.info.n_items]
        have = tf.ones([tf.shape(places)[0]], tf.bool)
        in_row = tf.tensor_scatter_nd_update(tf.zeros(shape, tf.bool), places, have)
        return tf.ensure_shape(in_row, [history.shape[0], self.info.n_items])

    def _draw(self, shape) -> tf.Tensor:
        return tf.cast(self.uniform(shape) * self.info.n_items, tf.int32)

    def uniform(self, shape) -> tf.Tensor:
        """Random numbers of the run's own stream, float32 in [0, 1)."""
        return keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
