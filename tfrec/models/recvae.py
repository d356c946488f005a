"""RecVAE: Shenbin, Alekseev, Tutubalina, Malykh and Nikolenko, "RecVAE: a New Variational
Autoencoder for Top-N Recommendations with Implicit Feedback", WSDM 2020.
"""

import dataclasses
import math

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, Settings, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.layers.densify import normalized
from tfrec.models.base import Recommender


@keras.saving.register_keras_serializable("tfrec")
class RecVAE(Recommender):
    """q(z|x) by a densely connected encoder, softmax(A z + b) by one linear layer.

    x is a user's set of items (ratings count as 1), L2-normalised, with inverted dropout in
    the encoder's updates. h_j = LayerNorm(swish(A_j h_{j-1} + a_j + sum of all earlier h)),
    h_0 = x not in the sum; mu and log sigma^2 are linear in the last h. Loss:

        mean over users of - sum_i x_i log softmax_i + gamma |x|_1 KL,
        KL = log q(z|x) - log p(z|x) at the one z that was drawn,
        p(z|x) = 3/20 N(0, I) + 3/4 N(mu_old, sigma_old^2) + 1/10 N(0, e^10 I) per dimension,

    x neither normalised nor dropped. "old" is a frozen copy of the encoder, run without
    dropout: the posterior may not move far from where it was. gamma |x|_1 asks more of users
    with many items. At test z = mu (and the loss's KL is taken there).

    Encoder and decoder take turns: a `train_step` is `encoder_steps` updates of the encoder,
    each with new dropout and z, then one of the decoder, with a new z but no dropout.

    Departs from the paper: the turns are taken batch by batch, not pass by pass (3 passes
    over the encoder, then 1 over the decoder). One optimizer serves both: Adam's moments are
    each weight's own, but its step counter counts the updates of both. The old encoder is
    copied as a pass begins, which is when the paper's encoder phase begins; in the first
    pass it is therefore the encoder's own start, not another random network. Kernels start
    by Glorot's rule.
    """

    task = "ranking"
    defaults = TrainConfig(epochs=50, batch_size=100, learning_rate=5e-4, patience=5)
    paper = TrainConfig(epochs=50, batch_size=500, learning_rate=5e-4)

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """RecVAE's settings.

        Attributes:
            hidden: Size of the encoder's layers.
            depth: How many they are.
            latent: Size of z.
            dropout: Rate on the normalised input.
            gamma: Weight of the KL term a item of the user; .005 is ML-20M's.
            encoder_steps: Updates of the encoder for one of the decoder.
        """

        hidden: int = setting(600, "at least 1", search=OneOf(200, 400, 600))
        depth: int = setting(5, "at least 1")
        latent: int = setting(200, "at least 1", search=OneOf(50, 100, 200, 400))
        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0.1, 0.8))
        gamma: float = setting(0.005, "0 or more", search=Range(5e-4, 0.05, log=True))
        encoder_steps: int = setting(3, "at least 1")

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.dropout = keras.layers.Dropout(c.dropout)
        self.encoder = DenselyConnected(c.hidden, c.depth, c.latent, name="encoder")
        self.old_encoder = DenselyConnected(
            c.hidden, c.depth, c.latent, trainable=False, name="old_encoder"
        )
        self.decoder = Dense(info.n_columns, name="decoder")
        self.seed_generator = keras.random.SeedGenerator()

    def forward(self, features, training=False):
        """Logits `[batch, n_items]` and KL `[batch]`."""
        return self.reconstruct(features, dropped=training, drawn=training)

    def reconstruct(self, features, dropped: bool, drawn: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """As `forward`.

        Args:
            features: Of a batch.
            dropped: Whether entries of x are dropped.
            drawn: Whether z is drawn; else it is the mean.
        """
        n = self.info.n_columns
        mean, log_variance = self.encoder(normalized(features["items"], n, self.dropout, dropped))
        z = mean
        if drawn:
            noise = keras.random.normal(tf.shape(mean), dtype=mean.dtype, seed=self.seed_generator)
            z += tf.exp(log_variance / 2) * noise
        old = self.old_encoder(normalized(features["items"], n, self.dropout, False))
        kl = log_normal(z, mean, log_variance) - log_prior(z, *old)
        return self.decoder(z), tf.reduce_sum(kl, axis=1)

    def objective(self, features, targets, scores):
        logits, kl = scores
        nll = losses.multinomial_nll(logits, targets["target_items"])
        n_ones = tf.reduce_sum(losses.observed(features["items"]), axis=1)
        return nll + self.config.gamma * n_ones * kl

    def begin_epoch(self, epoch, rows):
        """Copies the encoder to the old one."""
        for old, new in zip(self.old_encoder.weights, self.encoder.weights, strict=True):
            old.assign(new)

    def train_step(self, data):
        """`encoder_steps` updates of the encoder, then one of the decoder."""
        features, targets = data
        with tf.init_scope():  # Keras would build it for the weights of the first update only
            self.optimizer.build(self.trainable_variables)
        for _ in range(self.config.encoder_steps):
            loss = self._update(self.encoder, features, targets, dropped=True)
        self._update(self.decoder, features, targets, dropped=False)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(loss * replicas)
        return {"loss": self._loss_tracker.result()}

    def _update(self, part: keras.layers.Layer, features, targets, dropped: bool) -> tf.Tensor:
        """One step of the optimizer on the weights of `part` alone; returns the loss."""
        weights = part.trainable_weights
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([w.value for w in weights])
            outputs = self.reconstruct(features, dropped, drawn=True)
            loss = self.compute_loss(features, targets, outputs)
            scaled = self.optimizer.scale_loss(loss)
        self.optimizer.apply(tape.gradient(scaled, [w.value for w in weights]), weights)
        return loss


@keras.saving.register_keras_serializable("tfrec")
class DenselyConnected(keras.layers.Layer):
    """RecVAE's encoder: mu and log sigma^2 of x.

    Args:
        width: Of each layer.
        depth: How many layers.
        size: Of the code.
    """

    def __init__(self, width: int, depth: int, size: int, **kwargs):
        super().__init__(**kwargs)
        options = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.hidden = [Dense(width, name=f"hidden_{i}", **options) for i in range(depth)]
        self.norms = [
            keras.layers.LayerNormalization(epsilon=0.1, name=f"norm_{i}", **options)
            for i in range(depth)
        ]
        self.mean = Dense(size, name="mean", **options)
        self.log_variance = Dense(size, name="log_variance", **options)

    def build(self, input_shape):
        shape = input_shape
        for dense, norm in zip(self.hidden, self.norms, strict=True):
            dense.build(shape)
            shape = (*input_shape[:-1], dense.units)
            norm.build(shape)
        self.mean.build(shape)
        self.log_variance.build(shape)

    def call(self, x):
        """`[batch, n]` -> float32 mean and log variance, `[batch, size]` each."""
        earlier = 0.0
        for dense, norm in zip(self.hidden, self.norms, strict=True):
            x = norm(keras.activations.silu(dense(x) + earlier))
            earlier += x
        return tf.cast(self.mean(x), tf.float32), tf.cast(self.log_variance(x), tf.float32)


def log_prior(z: tf.Tensor, old_mean: tf.Tensor, old_log_variance: tf.Tensor) -> tf.Tensor:
    """The composite prior's log p(z|x), dimension by dimension; all `[batch, size]`."""
    parts = [
        math.log(3 / 20) + log_normal(z, 0.0, 0.0),
        math.log(3 / 4) + log_normal(z, old_mean, old_log_variance),
        math.log(1 / 10) + log_normal(z, 0.0, 10.0),
    ]
    return tf.reduce_logsumexp(tf.stack(parts), axis=0)


def log_normal(z: tf.Tensor, mean, log_variance) -> tf.Tensor:
    """The density log N(z; mean, exp(log_variance)), element by element."""
    error = tf.square(z - mean) / tf.exp(log_variance)
    return -0.5 * (math.log(2 * math.pi) + log_variance + error)
