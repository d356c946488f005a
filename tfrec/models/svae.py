"""SVAE: Sachdeva, Manco, Ritacco and Pudi, "Sequential Variational Autoencoders for
Collaborative Filtering", WSDM 2019.
"""

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.layers.gaussian import GaussianCode
from tfrec.models import output_bias
from tfrec.models.variational import Variational
from tfrec.schema import PAD


class Steps(NamedTuple):
    """The time steps of all rows, concatenated; a row is a start token and its items.

    Attributes:
        tokens: int32 `[n]`, an item or, at the start of a row, `n_items`.
        rows: int64 `[n]`, the step's row in the batch.
        left: int64 `[n]`, the number of steps up to the row's end, including this one.
    """

    tokens: tf.Tensor
    rows: tf.Tensor
    left: tf.Tensor


@keras.saving.register_keras_serializable("tfrec")
class SVAE(Variational):
    """h_t = GRU(i_1 .. i_t); mu_t, sigma_t = g(h_t); z_t ~ N(mu_t, sigma_t^2); o_t = f(z_t).

    Step t predicts the next k items of the row, y_t (fewer at its end, none at its last
    step). Loss of a row with n predicting steps:

        1/k sum_t - sum_i y_ti log softmax(o_t)_i  +  beta 1/n sum_t KL(q(z_t) || N(0, I))

    The likelihood is summed over the steps while the KL is averaged, as in the authors' code: in a
    row of 100 steps the KL of one z has weight beta / 100 relative to its likelihood. beta is
    annealed as in `Variational`. A row is scored by o at its last step, where z = mu; all its items
    are input, and all are excluded from the ranking.

    Differs from the authors' code, where sigma = exp(s) while the KL takes s as the log variance
    (here sigma = exp(s / 2)), z is sampled at test time, too, annealing restarts with every epoch,
    k is taken from a row's first step (the loss of a row shorter than k is divided by less), and at
    test time the last item is neither input nor excluded.

    Departs from the paper: batches of many users, not one; a learned start token precedes the first
    item and predicts it, so that an empty history has scores; a row longer than `window` steps is
    cut into independent windows, aligned to its end, and is scored by the last one.
    """

    task = "ranking"
    defaults = TrainConfig(epochs=25, batch_size=16, learning_rate=3e-4, patience=4)
    paper = TrainConfig(epochs=25, batch_size=16, learning_rate=1e-3)
    paper_settings = {"window": 200, "ahead": 4, "dropout": 0.0, "popular": False}

    @dataclasses.dataclass(frozen=True)
    class Config(Variational.Config):
        """SVAE's settings, with those of KL annealing.

        Attributes:
            embedding: Size of the item embeddings.
            recurrent: Units of the GRU.
            hidden: Sizes of the encoder's layers (tanh) after the GRU; the decoder mirrors them.
            latent: Size of z.
            ahead: Number of next items that a step predicts, the paper's k.
            window: Maximum number of steps that a prediction depends on.
            dropout: Dropout rate on the item embeddings and on the GRU's output.
            l2: L2 regularization factor of the embeddings and kernels.
            popular: Initialize the output biases with the logarithm of the items' training counts;
                else 0.
        """

        embedding: int = setting(256, "at least 1", search=OneOf(64, 128, 256))
        recurrent: int = setting(200, "at least 1", search=OneOf(100, 200, 400))
        hidden: tuple[int, ...] = setting((150,), "at least 1")
        latent: int = setting(64, "at least 1", search=OneOf(32, 64, 128))
        ahead: int = setting(10, "at least 1", search=Range(1, 10))
        window: int = setting(100, "at least 1")
        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.7))
        l2: float = setting(0.0, "0 or more")
        popular: bool = True

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        decay = keras.regularizers.L2(c.l2) if c.l2 else None
        self.embedding = keras.layers.Embedding(
            info.n_items + 1, c.embedding, embeddings_regularizer=decay, name="embedding"
        )
        self.gru = keras.layers.GRU(
            c.recurrent, return_sequences=True, kernel_regularizer=decay, name="gru"
        )
        self.dropout = keras.layers.Dropout(c.dropout)
        dense = {"kernel_regularizer": decay}
        self.encoder = [
            Dense(size, "tanh", name=f"encoder_{i}", **dense) for i, size in enumerate(c.hidden)
        ]
        self.code = GaussianCode(c.latent, name="code")
        self.decoder = [
            Dense(size, "tanh", name=f"decoder_{i}", **dense)
            for i, size in enumerate(c.hidden[::-1])
        ]
        self.logits = Dense(info.n_items, name="logits", **dense)

    def forward(self, features, training=False):
        """Logits `[n, n_items]` and KL `[n]` of the steps of all rows."""
        steps = self.steps(features["items"])
        return self._decode(self._states(steps, training), training)

    def call(self, features, training=False):
        """Logits of the next item of each row, `[batch, n_items]`."""
        steps = self.steps(features["items"])
        newest = Steps(*(tf.boolean_mask(x, steps.left <= self.config.window) for x in steps))
        last = tf.boolean_mask(self._states(newest, training), newest.left == 1)
        last = tf.ensure_shape(last, [features["items"].shape[0], None])
        return self._decode(last, training)[0]

    def begin_epoch(self, epoch, rows):
        """Before the first epoch: initializes the output biases by `popular`."""
        if not epoch and self.config.popular:
            output_bias.set_popularity(self.logits.bias, rows)

    def steps(self, items: tf.Tensor) -> Steps:
        """The time steps of histories.

        Args:
            items: int32 `[batch, length]` in time order; padding may be anywhere.
        """
        starts = tf.fill([tf.shape(items)[0], 1], self.info.n_items)
        tokens = tf.concat([starts, items], axis=1)
        indices = tf.where(tokens >= 0)
        rows = indices[:, 0]
        ends = tf.cumsum(tf.math.bincount(tf.cast(rows, tf.int32), dtype=tf.int64))
        left = tf.gather(ends, rows) - tf.range(tf.size(rows, tf.int64))
        return Steps(tf.gather_nd(tokens, indices), rows, left)

    def next_items(self, steps: Steps) -> tf.Tensor:
        """The target items of each step, int32 `[n, ahead]`, padding -1."""
        columns = []
        for ahead in range(1, self.config.ahead + 1):
            later = tf.concat([steps.tokens[ahead:], tf.fill([ahead], PAD)], axis=0)
            columns.append(tf.where(steps.left > ahead, later[: tf.size(steps.tokens)], PAD))
        return tf.stack(columns, axis=1)

    def _states(self, steps: Steps, training: bool) -> tf.Tensor:
        """The GRU's output at each step, `[n, recurrent]`.

        Windows are padded on the right, so that no mask is needed.
        """
        begins = (steps.left % self.config.window == 0) | (steps.tokens == self.info.n_items)
        window = tf.cumsum(tf.cast(begins, tf.int64)) - 1
        windows = tf.RaggedTensor.from_value_rowids(steps.tokens, window, validate=False)
        tokens = windows.to_tensor(PAD)
        none = tf.maximum(0, 1 - tf.shape(tokens)[1])  # a request without rows has no step
        tokens = tf.pad(tokens, [[0, 0], [0, none]], constant_values=PAD)
        indices = tf.where(tokens >= 0)
        x = self.dropout(self.embedding(tf.maximum(tokens, 0)), training=training)
        return tf.gather_nd(self.gru(x), indices)

    def _decode(self, states: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits `[n, n_items]` and KL `[n]`, from states `[n, recurrent]`."""
        x, kl = self.autoencode(self.dropout(states, training=training), training)
        return self.logits(x), kl

    def objective(self, features, targets, scores):
        """The loss of the rows' predictions; held-out `targets` are not used."""
        logits, kl = scores
        steps = self.steps(features["items"])
        nll = losses.multinomial_nll(logits, self.next_items(steps)) / self.config.ahead
        nll = tf.math.unsorted_segment_sum(nll, steps.rows, tf.shape(features["items"])[0])
        return nll + self.kl_weight(features) * self._mean_kl(features, kl)

    def loss_parts(self, features, targets, scores):
        """The mean KL of each row's steps, and the present beta."""
        return {"kl": self._mean_kl(features, scores[1]), "beta": self.kl_weight(features)}

    def _mean_kl(self, features, kl: tf.Tensor) -> tf.Tensor:
        """From the KL of all steps, `[n]`, the mean over those of a row that predict, `[batch]`."""
        steps, n_rows = self.steps(features["items"]), tf.shape(features["items"])[0]
        predicts = tf.cast(steps.left > 1, tf.float32)
        total, n = (
            tf.math.unsorted_segment_sum(x, steps.rows, n_rows) for x in (kl * predicts, predicts)
        )
        return tf.math.divide_no_nan(total, n)
