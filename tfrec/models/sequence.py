"""Base of the sequence models: the window of the history, the item embeddings, the losses."""

import dataclasses
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import OneOf, Range, Settings, setting
from tfrec.layers import negatives as negatives_lib
from tfrec.layers import next_item_losses
from tfrec.layers.function_layer import FunctionLayer
from tfrec.layers.gathered import gathered, is_large
from tfrec.layers.newest_items import newest_items
from tfrec.models import output_bias
from tfrec.models.base import Recommender
from tfrec.models.capabilities import Factors
from tfrec.schema import PAD


class Predictions(NamedTuple):
    """The positions of a batch at which an item is predicted.

    Attributes:
        states: Hidden states, `[n, width]`.
        rows: Rows of the batch that the positions are in, int64 `[n]`.
        items: Target items, int32 `[n]`.
    """

    states: tf.Tensor
    rows: tf.Tensor
    items: tf.Tensor


class Sequence(Factors, Recommender):
    """A model of the newest `window` items, with score state . e_i + b_i for item i.

    A subclass extends the nested `Config` and implements `states`, the hidden states at all
    positions of a window, and `predictions` unless every position predicts the next item.

    The loss depends on the history alone, not on held-out targets. It is summed over the row's
    predictions and divided by a constant, their mean number in a training row: with a mean over
    each batch, a prediction would weigh more in batches of short rows.
    """

    task = "ranking"

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """Settings of all sequence models.

        Attributes:
            window: Maximum sequence length: a prediction reads the newest `window` items.
            width: Size of the item embeddings and of the hidden states.
            dropout: Dropout rate.
            loss: "softmax": cross-entropy over all items; "sampled": over the target item and
                `negatives` uniform samples per step, shared by all positions; "bce": binary
                cross-entropy with `negatives` samples for each position; "gbce": the same with
                `negatives` samples per step, shared, and `calibration`. Sampled items that are in
                the row are ignored.
            negatives: Number of sampled negatives, see `loss`; unused by softmax.
            calibration: t of gbce, from 0 (plain BCE) to 1.
            slide: Share of the training rows longer than the window of which a random window is
                used instead of the newest one.
            popular: Initialize the item biases with the logarithm of the items' training counts,
                so that the state only has to learn how a user differs from the average; else 0.
        """

        window: int = setting(100, "at least 2", search=OneOf(20, 50, 100, 200))
        width: int = setting(64, "at least 1", search=OneOf(32, 64, 128))
        dropout: float = setting(0.2, "0 or more and less than 1", search=Range(0, 0.6))
        loss: str = setting("sampled", choices=next_item_losses.LOSSES)
        negatives: int = setting(1000, "at least 1")
        calibration: float = setting(0.75, "from 0 to 1")
        slide: float = setting(0.5, "from 0 to 1", search=Range(0, 1))
        popular: bool = True

    deviation = 0.02  # of the truncated normal initializer of the embeddings

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        self.max_items = self.config.window
        start = keras.initializers.TruncatedNormal(stddev=self.deviation)
        # The last vector is a special token: padding, a start or a mask token.
        self.table = self.add_weight(
            (info.n_items + 1, self.config.width), start, name="table", autocast=False
        )
        self.bias = self.add_weight((info.n_items,), "zeros", name="bias", autocast=False)
        self.seed_generator = keras.random.SeedGenerator()

    @classmethod
    def activations(cls, info, config, train):
        """The softmax loss has a logit for each position of the batch and each item."""
        mean = info.n_ratings.get("train", 0) / max(1, info.row_counts.get("train", 1))
        positions = int(train.batch_size * np.clip(2 * mean, 1, config.window))  # of long rows
        softmax = 3 * positions * info.n_items if config.loss == "softmax" else 0
        return softmax + 64 * positions * config.width

    def begin_epoch(self, epoch, rows):
        """Before the first epoch: initializes the biases by `popular`, unless they were trained."""
        if not epoch and self.config.popular:
            output_bias.set_popularity(self.bias, rows)

    def states(self, tokens: tf.Tensor, training: bool, last: bool = False) -> tf.Tensor:
        """Hidden states of left-padded histories.

        Args:
            tokens: int32 `[batch, L]`.
            training: Whether there is dropout.
            last: Only the state of the last position is needed: others may be left out.

        Returns:
            `[batch, L, width]`, or with `last` `[batch, any, width]`, of the last positions.
        """
        raise NotImplementedError

    def predictions(self, items: tf.Tensor, training: bool) -> Predictions:
        """Which items of the histories are predicted, and from which states.

        This is the causal case: each position of the window predicts the next item. The first item
        of a history is predicted, too, from padding alone, as for a user without history.

        Args:
            items: int32 `[batch, any]` in time order, padding anywhere.
            training: Whether there are dropout and random windows.
        """
        length = self.config.window
        tokens = self.cut_window(items, length + 1, training)
        before = tf.pad(tokens, [[0, 0], [1, 0]], constant_values=PAD)[:, :-1]
        return self.predictions_of(self.states(before[:, -length:], training), tokens[:, -length:])

    def query(self, items: tf.Tensor) -> tf.Tensor:
        """The window whose last state scores the next item, int32 `[batch, L]`."""
        return newest_items(items, self.config.window)

    def forward(self, features, training=False):
        """The fields of `Predictions`."""
        return tuple(self.predictions(tf.cast(features["items"], tf.int32), training))

    def call(self, features, training=False):
        """Scores of the next item, float32 `[batch, n_items]`."""
        table, bias = self.outputs()
        return tf.matmul(self._last(features, training), table, transpose_b=True) + bias

    def _last(self, features, training: bool = False) -> tf.Tensor:
        """The state after the history, float32 `[batch, width]`."""
        items = tf.cast(features["items"], tf.int32)
        return tf.cast(self.states(self.query(items), training, last=True)[:, -1], tf.float32)

    def query_vectors(self, features):
        """[state, 1]."""
        last = FunctionLayer(self._last, dtype=self.dtype_policy, name=self.name)(features)
        return tf.pad(last, [[0, 0], [0, 1]], constant_values=1.0)

    def candidate_vectors(self, items):
        """[e, b]."""
        vectors = self.as_output(gathered(self.table, items))
        return tf.concat([vectors, gathered(self.bias, items)[..., None]], axis=-1)

    def outputs(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Output embeddings of the items, `[n_items, width]`, and their biases, `[n_items]`."""
        return self.as_output(self.table[:-1]), tf.convert_to_tensor(self.bias)

    def as_output(self, vectors: tf.Tensor) -> tf.Tensor:
        """Output embeddings, from rows of the table; by default the same."""
        return vectors

    def output_rows(self, items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`outputs` of some items, of any shape; the gradient of a small table is dense."""
        if is_large(self.table):
            return self.as_output(gathered(self.table, items)), gathered(self.bias, items)
        table, bias = self.outputs()
        return tf.gather(table, items), tf.gather(bias, items)

    def item_vectors(self):
        return self.outputs()[0]

    def embed(self, tokens: tf.Tensor) -> tf.Tensor:
        """Item embeddings, `[batch, L, width]`; that of padding is the last one of the table."""
        x = gathered(self.table, tf.where(tokens >= 0, tokens, self.info.n_items))
        return tf.cast(x, self.compute_dtype)

    def cut_window(self, items: tf.Tensor, length: int, training: bool) -> tf.Tensor:
        """The newest `length` items; in training, by `slide`, a random window of long rows."""
        if not (training and self.config.slide):
            return newest_items(items, length)
        spare = tf.reduce_sum(tf.cast(items >= 0, tf.float32), axis=1) - length
        draws = self.uniform([2, tf.shape(items)[0]])
        slides = tf.cast(draws[0] < self.config.slide, tf.float32)
        skip = slides * tf.floor(draws[1] * (tf.maximum(spare, 0.0) + 1))
        return newest_items(items, length, tf.cast(skip, tf.int32))

    @staticmethod
    def predictions_of(states: tf.Tensor, items: tf.Tensor) -> Predictions:
        """Predictions of `items`, int32 `[batch, L]`, from the states there; padding is dropped."""
        indices = tf.where(items >= 0)
        return Predictions(
            tf.gather_nd(states, indices), indices[:, 0], tf.gather_nd(items, indices)
        )

    def objective(self, features, targets, scores):
        """The loss of the rows' predictions; held-out `targets` are not used."""
        predictions = Predictions(*scores)
        losses = self.prediction_losses(predictions, features["items"])
        n_rows = tf.shape(features["items"])[0]
        totals = tf.math.unsorted_segment_sum(losses, predictions.rows, n_rows)
        return totals / self.predictions_per_row()

    def predictions_per_row(self) -> float:
        """Approximate mean number of predictions in a training row, at least 1."""
        n_rows = max(1, self.info.row_counts.get("train", 1))
        return float(np.clip(self.info.n_ratings.get("train", 0) / n_rows, 1, self.config.window))

    def prediction_losses(self, predictions: Predictions, history: tf.Tensor) -> tf.Tensor:
        """Loss of each prediction, float32 `[n]`.

        Args:
            predictions: n predictions.
            history: The rows of the batch, int32 `[batch, any]`: their items are no negatives.
        """
        c, (states, rows, items) = self.config, predictions
        if c.loss == "softmax" or self.exact_loss:
            return next_item_losses.softmax(states, items, *self.outputs())
        vectors, bias = self.output_rows(items)
        positive = tf.reduce_sum(states * vectors, axis=1) + bias
        if c.loss == "bce":
            negatives = self._sample([tf.shape(items)[0], c.negatives])
            vectors, bias = self.output_rows(negatives)
            negative = tf.reduce_sum(states[:, None] * vectors, axis=2) + bias
            seen = negatives_lib.in_rows(history, rows, negatives)
            return next_item_losses.binary(positive, negative, seen)
        negatives = self._sample([c.negatives])
        vectors, bias = self.output_rows(negatives)
        negative = tf.matmul(states, vectors, transpose_b=True) + bias
        n_rows = tf.shape(history, tf.int64)[0]
        in_row = negatives_lib.in_rows(history, tf.range(n_rows), negatives[tf.newaxis])
        seen = tf.gather(in_row, rows)
        if c.loss == "sampled":
            return next_item_losses.sampled_softmax(positive, negative, seen)
        beta = next_item_losses.gbce_beta(c.negatives, self.info.n_items, c.calibration)
        return next_item_losses.binary(positive, negative, seen, beta)

    def _sample(self, shape) -> tf.Tensor:
        """Uniform random items, int32."""
        return negatives_lib.uniform_items(shape, self.info.n_items, self.seed_generator)

    def uniform(self, shape) -> tf.Tensor:
        """Random numbers from the model's seed generator, float32 in [0, 1)."""
        return keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
