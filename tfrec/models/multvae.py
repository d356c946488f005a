"""Mult-VAE: Liang, Krishnan, Hoffman and Jebara, "Variational Autoencoders for Collaborative
Filtering", WWW 2018.
"""

import dataclasses

import keras

from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.layers.gaussian import GaussianCode
from tfrec.models.multdae import small_bias
from tfrec.models.sampled_output import SampledOutput
from tfrec.models.variational import Variational


@keras.saving.register_keras_serializable("tfrec")
class MultVAE(SampledOutput, Variational):
    """x -> mu(x), sigma(x); z ~ N(mu, sigma^2); pi(z) = softmax(f(z)).

    x is a user's set of items (ratings count as 1), L2-normalized, with dropout in training. Loss
    (eq. 5): - sum_i x_i log pi_i(z) + beta KL(q(z|x) || N(0, I)), with x neither normalized nor
    dropped; beta is annealed linearly up to its maximum. At inference z = mu.
    """

    task = "ranking"
    defaults = TrainConfig(epochs=100, batch_size=100, learning_rate=2e-3, patience=5)
    paper = TrainConfig(epochs=200, batch_size=500, learning_rate=1e-3)

    @dataclasses.dataclass(frozen=True)
    class Config(SampledOutput.Config, Variational.Config):
        """Mult-VAE's settings, with those of KL annealing and of the output layer.

        Attributes:
            hidden: Sizes of the encoder's layers (tanh); the decoder mirrors them. Empty: all is
                linear except for the softmax.
            latent: Size of z.
            dropout: Dropout rate on the normalized input.
        """

        hidden: tuple[int, ...] = setting(
            (600,), "at least 1", may_be_empty=True, search=OneOf((), (300,), (600,))
        )
        latent: int = setting(200, "at least 1", search=OneOf(50, 100, 200, 400))
        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0.1, 0.8))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.dropout = keras.layers.Dropout(c.dropout)
        self.encoder = [self._tanh(size, f"encoder_{i}") for i, size in enumerate(c.hidden)]
        self.code = GaussianCode(c.latent, bias_initializer=small_bias(), name="code")
        self.decoder = [self._tanh(s, f"decoder_{i}") for i, s in enumerate(c.hidden[::-1])]
        units = (*c.hidden, c.latent)[0]
        self.logits = self.last_layer(units, bias_initializer=small_bias(), name="logits")

    def _tanh(self, size: int, name: str) -> keras.layers.Layer:
        make = self.first_layer if name == "encoder_0" else Dense
        return make(size, activation="tanh", bias_initializer=small_bias(), name=name)

    def forward(self, features, training=False):
        """Logits `[batch, n_items]`, or what they are made of, and KL `[batch]`."""
        x = self.read(features["items"], self.dropout, training)
        x, kl = self.autoencode(x, training)
        return x if self.samples else self.logits(x), kl

    def call(self, features, training=False):
        return self.scores_of(self.forward(features, training)[0])

    def objective(self, features, targets, scores):
        outputs, kl = scores
        return self.nll(outputs, targets["target_items"]) + self.kl_weight(features) * kl
