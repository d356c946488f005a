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

    x is a user's set of items (ratings count as 1), L2-normalized, with dropout in the encoder's
    updates. h_j = LayerNorm(swish(A_j h_{j-1} + a_j + sum of all earlier h)), with h_0 = x not in
    the sum; mu and log sigma^2 are linear in the last h. Loss:

        mean over users of - sum_i x_i log softmax_i + gamma |x|_1 KL,
        KL = log q(z|x) - log p(z|x) at a single sample z,
        p(z|x) = 3/20 N(0, I) + 3/4 N(mu_old, sigma_old^2) + 1/10 N(0, e^10 I) per dimension,

    with x neither normalized nor dropped. "old" is a frozen copy of the encoder, run without
    dropout, which keeps the posterior close to its previous state. gamma |x|_1 is a stronger
    penalty for users with many items. At inference z = mu (where the KL is also evaluated).

    Encoder and decoder are trained alternately: a `train_step` is `encoder_steps` updates of the
    encoder, each with new dropout and a new z, then one of the decoder, with a new z and no
    dropout.

    Departs from the paper: updates alternate within each batch, not by epoch (3 epochs of the
    encoder, then 1 of the decoder). One optimizer is used for both: Adam's moments belong to each
    weight, but its step counter counts the updates of both. The old encoder is copied at the start
    of each epoch, as in the paper at the start of the encoder's epochs; in the first epoch it is
    therefore the initial encoder, not another random network. Kernels are Glorot-initialized.
    """

    task = "ranking"
    logged = ("kl", "beta")
    defaults = TrainConfig(epochs=50, batch_size=100, learning_rate=5e-4, patience=5)
    paper = TrainConfig(epochs=50, batch_size=500, learning_rate=5e-4)

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """RecVAE's settings.

        Attributes:
            hidden: Size of the encoder's layers.
            depth: Number of the encoder's layers.
            latent: Size of z.
            dropout: Dropout rate on the normalized input.
            gamma: Weight of the KL term for each item of the user; the paper has .005 on ML-20M.
            encoder_steps: Updates of the encoder for each one of the decoder.
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
        """As `forward`, with dropout and sampling switched separately.

        Args:
            features: Features of a batch.
            dropped: Whether there is dropout on x.
            drawn: Whether z is sampled; otherwise it is the mean.
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
        return nll + self.kl_weight(features) * kl

    def kl_weight(self, features) -> tf.Tensor:
        """The factor gamma |x|_1 of each row, `[batch]`."""
        return self.config.gamma * tf.reduce_sum(losses.observed(features["items"]), axis=1)

    def loss_parts(self, features, targets, scores):
        """The KL of each row, and its weight, beta."""
        return {"kl": scores[1], "beta": self.kl_weight(features)}

    def begin_epoch(self, epoch, rows):
        """Copies the encoder to the old encoder."""
        for old, new in zip(self.old_encoder.weights, self.encoder.weights, strict=True):
            old.assign(new)

    def train_step(self, data):
        """`encoder_steps` updates of the encoder, then one of the decoder."""
        features, targets = data
        if not self.optimizer.built:  # the first update would build it for its weights only
            with tf.init_scope():
                self.optimizer.build(self.trainable_variables)
        for _ in range(self.config.encoder_steps):
            loss, outputs = self._update(self.encoder, features, targets, dropped=True)
        self._update(self.decoder, features, targets, dropped=False)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(loss * replicas)
        return self.training_logs(features, targets, outputs)

    def _update(self, part: keras.layers.Layer, features, targets, dropped: bool) -> tuple:
        """One step of the optimizer on the weights of `part` alone; the loss and the outputs."""
        weights = part.trainable_weights
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([w.value for w in weights])
            outputs = self.reconstruct(features, dropped, drawn=True)
            loss = self.compute_loss(features, targets, outputs)
            scaled = self.optimizer.scale_loss(loss)
        self.optimizer.apply(tape.gradient(scaled, [w.value for w in weights]), weights)
        return loss, outputs


@keras.saving.register_keras_serializable("tfrec")
class DenselyConnected(keras.layers.Layer):
    """RecVAE's encoder, from x to mu and log sigma^2.

    Args:
        width: Size of each layer.
        depth: Number of layers.
        size: Size of the code.
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
    """The composite prior log p(z|x) for each dimension; all `[batch, size]`."""
    parts = [
        math.log(3 / 20) + log_normal(z, 0.0, 0.0),
        math.log(3 / 4) + log_normal(z, old_mean, old_log_variance),
        math.log(1 / 10) + log_normal(z, 0.0, 10.0),
    ]
    return tf.reduce_logsumexp(tf.stack(parts), axis=0)


def log_normal(z: tf.Tensor, mean, log_variance) -> tf.Tensor:
    """The log density log N(z; mean, exp(log_variance)), elementwise."""
    error = tf.square(z - mean) / tf.exp(log_variance)
    return -0.5 * (math.log(2 * math.pi) + log_variance + error)
