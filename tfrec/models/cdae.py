"""CDAE: Wu, DuBois, Zheng and Ester, "Collaborative Denoising Auto-Encoders for Top-N
Recommender Systems", WSDM 2016.
"""

import dataclasses
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from tfrec.config import Range, Settings, TrainConfig, setting
from tfrec.layers.densify import densify
from tfrec.layers.function_layer import FunctionLayer
from tfrec.models.base import Recommender


def square(labels: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """(y - s)^2 / 2, elementwise."""
    return tf.square(labels - scores) / 2


def logistic(labels: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """- y log sigmoid(s) - (1 - y) log(1 - sigmoid(s)), elementwise; never overflows."""
    return tf.nn.softplus(scores) - labels * scores


_ROUNDING = 1e-5  # relative difference of losses that may be rounding alone

VARIANTS: dict[str, tuple[Callable, Callable]] = {
    # name: hidden activation h, loss that includes the output activation f
    "M1": (tf.identity, square),
    "M2": (tf.identity, logistic),
    "M3": (tf.sigmoid, square),
    "M4": (tf.sigmoid, logistic),
}


@keras.saving.register_keras_serializable("tfrec")
class CDAE(Recommender):
    """z_u = h(W^T x~_u + V_u + b), x^_ui = f(W'_i . z_u + b'_i), V_u an embedding of the user.

    x_u is the user's set of items O_u (ratings count as 1); x~_u keeps an item with
    probability 1 - q, scaled by 1 / (1 - q), in training only. Minimised, with n training
    rows, is 1/n [sum_u sum_{i in O_u + N_u} l(x_ui, x^_ui)
    + lambda/2 (|W|^2 + |W'|^2 + |V|^2 + |b|^2 + |b'|^2)], so that lambda does not depend on the
    batch size. N_u are `negatives` |O_u| items, sampled uniformly with replacement in every step;
    samples in O_u have weight 0, which the weight n_items / (n_items - |O_u|) of the others
    compensates. l is (y - s)^2 / 2 or the logistic loss; scores are W'_i . z_u + b'_i without f,
    which does not change their order.

    V_u is initialized with zero, which users without training rows keep. They, and users given by
    their items only, are folded in: `call` finds the V_u that minimises the user's terms of the
    loss, with the expectation over N_u, all other weights fixed and no dropout.

    Departs from the paper: it has no fold-in; batches of users instead of single ones; by default
    (`sampled=false`) the expectation over N_u is also used in training, which takes a third of the
    epochs to leave the plateau where all users get the most popular items.
    """

    task = "ranking"
    knows_users = True
    defaults = TrainConfig(epochs=40, batch_size=100, learning_rate=5e-3, patience=10)
    paper = TrainConfig(epochs=100, batch_size=100, optimizer="adagrad", learning_rate=0.1)
    paper_settings = {"latent": 50, "sampled": True}
    search = {"weight_decay": None}  # it has an L2 penalty

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """CDAE's settings.

        Attributes:
            variant: Hidden activation, output activation and loss. M1: identity, identity,
                square; M2: identity, sigmoid, logistic; M3: sigmoid, identity, square;
                M4: sigmoid, sigmoid, logistic.
            latent: Size K of z.
            dropout: q.
            negatives: Sampled negatives for each item of the user.
            sampled: Sample the negatives; false: use all other items, weighted by the expected
                number of samples.
            regularization: lambda.
            tied: Tie the decoder's kernel W' to the encoder's, W.
            fold_in_steps: Gradient steps that fit the embedding of a user without training rows; 0
                leaves it at zero.
        """

        variant: str = setting("M4", choices=VARIANTS)
        latent: int = setting(200, "at least 1", search=Range(20, 200, log=True))
        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.8))
        negatives: int = setting(5, "at least 1", search=Range(1, 10))
        sampled: bool = False
        regularization: float = setting(0.01, "0 or more", search=Range(1e-4, 0.1, log=True))
        tied: bool = False
        fold_in_steps: int = setting(20, "0 or more")

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c, n_items = self.config, info.n_columns
        self.activation, self.loss_of = VARIANTS[c.variant]
        self.dropout = keras.layers.Dropout(c.dropout)
        self.seed_generator = keras.random.SeedGenerator()
        limit = 4 * math.sqrt(6 / (n_items + c.latent))
        decay = keras.regularizers.L2(c.regularization / (2 * self.training_rows))

        def weight(name, *shape, start="zeros", regularizer=decay):
            return self.add_weight(shape, start, name=name, regularizer=regularizer)

        def uniform():
            return keras.initializers.RandomUniform(-limit, limit)

        self.encoder = weight("encoder", n_items, c.latent, start=uniform())
        self.decoder = None
        if not c.tied:
            self.decoder = weight("decoder", n_items, c.latent, start=uniform())
        self.hidden_bias = weight("hidden_bias", c.latent)
        self.output_bias = weight("output_bias", n_items)
        # Regularized row by row, in `objective`.
        self.nodes = weight("nodes", info.n_rows, c.latent, regularizer=None)

    def encode(self, items, training=False) -> tf.Tensor:
        """W^T x~ + b, `[batch, latent]`."""
        ones = self.dropout(tf.cast(items >= 0, tf.float32), training=training)
        kernel = tf.convert_to_tensor(self.encoder)
        x = densify(items, tf.cast(ones, tf.float32), self.info.n_columns)
        return tf.matmul(tf.cast(x, kernel.dtype), kernel) + self.hidden_bias

    def decode(self, hidden) -> tf.Tensor:
        """Scores `[batch, n_items]`, from `hidden` before the activation h."""
        kernel = tf.convert_to_tensor(self.encoder if self.config.tied else self.decoder)
        return tf.matmul(self.activation(hidden), kernel, transpose_b=True) + self.output_bias

    def node(self, users) -> tf.Tensor:
        """V_u `[batch, latent]`, zeros where the user is -1."""
        nodes = tf.gather(tf.convert_to_tensor(self.nodes), tf.maximum(users, 0))
        return nodes * tf.cast(users >= 0, nodes.dtype)[:, None]

    def forward(self, features, training=False):
        """Scores `[batch, n_items]` with the trained V_u.

        In training with sampled negatives, also how often each item was sampled, float32 of the
        same shape.
        """
        items = features["items"]
        scores = self.decode(self.encode(items, training) + self.node(features["user"]))
        return (scores, self.draw(items)) if training and self.config.sampled else scores

    def draw(self, items) -> tf.Tensor:
        """Samples `negatives` items for each item of a row, those of the row included.

        Returns:
            How often each item was sampled, float32 `[batch, n_items]`.
        """
        n_items, negatives = self.info.n_columns, self.config.negatives
        rows = tf.repeat(tf.where(items >= 0)[:, 0], negatives)
        uniform = keras.random.uniform(tf.shape(rows), dtype="float32", seed=self.seed_generator)
        drawn = tf.minimum(tf.cast(uniform * n_items, tf.int64), n_items - 1)
        shape = [tf.shape(items, tf.int64)[0], n_items]
        return tf.scatter_nd(tf.stack([rows, drawn], 1), tf.ones_like(uniform), shape)

    def user_loss(self, own, scores, node, drawn=None) -> tf.Tensor:
        """A user's terms of the loss, regularization included, float32 `[batch]`.

        Args:
            own: 1 for the user's items, else 0, float32 `[batch, n_items]`.
            scores: `[batch, n_items]`.
            node: V_u, `[batch, latent]`.
            drawn: From `draw`; None: its expectation.
        """
        n_items = self.info.n_columns
        n_own = tf.reduce_sum(own, axis=1, keepdims=True)
        if drawn is None:
            drawn = self.config.negatives * n_own / n_items
        unhit = tf.math.divide_no_nan(float(n_items), n_items - n_own)
        weights = own + (1 - own) * drawn * unhit
        loss = tf.reduce_sum(weights * self.loss_of(own, scores), axis=1)
        return loss + self.config.regularization / 2 * tf.reduce_sum(tf.square(node), axis=1)

    def objective(self, features, targets, scores):
        scores, drawn = scores if isinstance(scores, tuple) else (scores, None)
        return self.user_loss(
            self._own(targets["target_items"]), scores, self.node(features["user"]), drawn
        )

    def _own(self, items) -> tf.Tensor:
        return densify(items, tf.cast(items >= 0, tf.float32), self.info.n_columns)

    def call(self, features, training=False):
        """Scores `[batch, n_items]`, with the trained V_u or else the result of `fold_in`.

        In float32 under mixed precision, too, which `fold_in` needs.
        """
        return FunctionLayer(self._folded_in, dtype="float32", name="folded_in")(features)

    def _folded_in(self, features, training: bool) -> tf.Tensor:
        own, hidden = self._own(features["items"]), self.encode(features["items"])
        node = self.node(features["user"])
        trained = tf.reduce_any(node != 0, axis=1)
        steps = tf.where(tf.reduce_all(trained), 0, self.config.fold_in_steps)
        fitted = self.fold_in(own, hidden, steps)
        return self.decode(hidden + tf.where(trained[:, None], node, fitted))

    def fold_in(self, own, hidden, steps) -> tf.Tensor:
        """Fits V_u to each user's items, independently for each row.

        Gradient descent from zero with the step size of Barzilai and Borwein (1988),
        |s . y| / y . y with s and y the last changes of V_u and of its gradient. The result is the
        iterate with the least loss; among those whose losses differ by less than `_ROUNDING`, the
        one with the smallest gradient.

        Args:
            own: As in `user_loss`.
            hidden: From `encode`, `[batch, latent]`.
            steps: int32 scalar.

        Returns:
            `[batch, latent]`.
        """

        def dot(a, b):
            return tf.reduce_sum(a * b, axis=1, keepdims=True)

        def step(i, node, before, slope_before, best, least, flattest):
            with tf.GradientTape() as tape:
                tape.watch(node)
                loss = self.user_loss(own, self.decode(hidden + node), node)
            slope = tape.gradient(loss, node)
            square = dot(slope, slope)
            better = (loss < least * (1 - _ROUNDING)) | (
                (loss < least * (1 + _ROUNDING)) & (square[:, 0] < flattest)
            )
            best = tf.where(better[:, None], node, best)
            moved, turned = node - before, slope - slope_before
            length = tf.math.divide_no_nan(tf.abs(dot(moved, turned)), dot(turned, turned))
            first = 1 / tf.maximum(1.0, tf.sqrt(square))
            after = node - tf.where(i == 0, first, length) * slope
            least = tf.where(better, loss, least)
            return i + 1, after, node, slope, best, least, tf.where(better, square[:, 0], flattest)

        zero = tf.zeros_like(hidden)
        most = tf.fill(tf.shape(hidden)[:1], math.inf)
        start = (0, zero, zero, zero, zero, most, most)
        return tf.while_loop(lambda i, *_: (i <= steps) & (steps > 0), step, start)[4]
