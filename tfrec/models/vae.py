"""A variational autoencoder on ratings: Kingma and Welling, "Auto-Encoding Variational
Bayes", ICLR 2014, with a Gaussian likelihood of the observed ratings.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import ACTIVATIONS, Dense
from tfrec.layers.densify import densify
from tfrec.layers.gaussian import GaussianCode
from tfrec.models.residual import Residual
from tfrec.models.variational import Variational


@keras.saving.register_keras_serializable("tfrec")
class VAE(Residual, Variational):
    """r -> mu(r), sigma(r); z ~ N(mu, sigma^2); predicted ratings p = f(z).

    Loss: the negative evidence lower bound of a user's ratings, with weight beta for the KL term:
    sum m (r - p)^2 / (2 s^2) + beta KL(q(z|r) || N(0, I)). The squared errors are summed, not
    averaged, over a user's ratings: with an average and a KL weight of 1, the posterior collapses
    to the prior. beta is annealed linearly up to its maximum. At inference z = mu.

    The input is the residuals of damped biases (`models/residual.py`) or, with base="none", the
    ratings minus the training mean, 0 where missing; the output bias is then initialized with that
    mean.
    """

    task = "rating"
    paper = TrainConfig(epochs=100, batch_size=128, learning_rate=1e-3, patience=10)
    paper_settings = {"l2": 0.0}

    @dataclasses.dataclass(frozen=True)
    class Config(Residual.Config, Variational.Config):
        """The rating VAE's settings, with those of KL annealing and of all `Residual` models.

        Attributes:
            hidden: Sizes of the encoder's layers; the decoder mirrors them.
            latent: Size of z.
            activation: Activation of the hidden layers.
            input_dropout: Dropout rate on the observed ratings.
            dropout: Dropout rate on the last hidden layer of the encoder.
            deviation: s, the standard deviation of ratings around their prediction.
            l2: L2 regularization factor of the kernels of encoder and decoder.
        """

        hidden: tuple[int, ...] = setting(
            (200,), "at least 1", search=OneOf((100,), (200,), (400,))
        )
        latent: int = setting(50, "at least 1", search=OneOf(20, 50, 100, 200))
        activation: str = setting("tanh", choices=ACTIVATIONS)
        input_dropout: float = setting(0.0, "0 or more and less than 1", search=Range(0, 0.6))
        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.8))
        deviation: float = setting(0.85, "more than 0")
        l2: float = setting(0.2, "0 or more", search=Range(0.01, 2, log=True))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.decay = keras.regularizers.L2(c.l2) if c.l2 else None
        self.input_dropout = keras.layers.Dropout(c.input_dropout)
        self.encoder = [self._dense(size, f"encoder_{i}") for i, size in enumerate(c.hidden)]
        self.encoder.append(keras.layers.Dropout(c.dropout))
        self.code = GaussianCode(c.latent, name="code")
        self.decoder = [self._dense(s, f"decoder_{i}") for i, s in enumerate(c.hidden[::-1])]
        self.ratings = Dense(
            info.n_columns,
            kernel_regularizer=self.decay,
            bias_initializer=keras.initializers.Constant(self.output_mean),
            name="ratings",
        )

    def _dense(self, size: int, name: str) -> Dense:
        return Dense(size, self.config.activation, kernel_regularizer=self.decay, name=name)

    def forward(self, features, training=False):
        """Predicted ratings `[batch, n_items]` and KL `[batch]`."""
        base, values = self.base_and_input(features)
        values -= self.output_mean
        values = self.input_dropout(values, training=training)
        x = densify(features["items"], values, self.info.n_columns)
        x, kl = self.autoencode(x, training)
        return base + tf.cast(self.ratings(x), tf.float32), kl

    def objective(self, features, targets, scores):
        ratings, kl = scores
        errors = losses.squared_error(ratings, targets["target_items"], targets["target_values"])
        return errors / (2 * self.config.deviation**2) + self.kl_weight(features) * kl
