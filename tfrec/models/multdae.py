"""Mult-DAE: Liang, Krishnan, Hoffman and Jebara, "Variational Autoencoders for Collaborative
Filtering", WWW 2018, section 2.3.
"""

import dataclasses

import keras

from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.models.sampled_output import SampledOutput


def small_bias() -> keras.initializers.Initializer:
    """The initializer of biases, a new one for each layer so that their seeds differ."""
    return keras.initializers.TruncatedNormal(stddev=0.001)


@keras.saving.register_keras_serializable("tfrec")
class MultDAE(SampledOutput):
    """pi(x) = softmax(f(g(x))), a denoising autoencoder with a multinomial likelihood.

    x is a user's set of items (ratings count as 1), L2-normalized, with dropout in training. Loss:
    - sum_i x_i log pi_i + l2 |weights|^2, with x neither normalized nor dropped.
    """

    task = "ranking"
    defaults = TrainConfig(epochs=100, batch_size=100, learning_rate=2e-3, patience=5)
    paper = TrainConfig(epochs=200, batch_size=500, learning_rate=1e-3)
    search = {"weight_decay": None}  # it has an L2 penalty

    @dataclasses.dataclass(frozen=True)
    class Config(SampledOutput.Config):
        """Mult-DAE's settings, with those of the output layer.

        Attributes:
            hidden: Sizes of the layers (tanh) up to the code; the decoder mirrors those before
                the code.
            dropout: Dropout rate on the normalized input.
            l2: L2 regularization factor of the kernels; the authors' code has .01 / 500.
        """

        hidden: tuple[int, ...] = setting(
            (200,), "at least 1", search=OneOf((100,), (200,), (400,), (600, 200))
        )
        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0.1, 0.8))
        l2: float = setting(2e-5, "0 or more", search=Range(1e-6, 1e-3, log=True))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        decay = {"kernel_regularizer": keras.regularizers.L2(c.l2) if c.l2 else None}
        self.dropout = keras.layers.Dropout(c.dropout)
        self.hidden = [
            (Dense if i else self.first_layer)(
                size, activation="tanh", bias_initializer=small_bias(), name=f"hidden_{i}", **decay
            )
            for i, size in enumerate((*c.hidden, *c.hidden[-2::-1]))
        ]
        self.logits = self.last_layer(
            c.hidden[0], bias_initializer=small_bias(), name="logits", **decay
        )

    def forward(self, features, training=False):
        """Logits `[batch, n_items]`, or what they are made of."""
        x = self.read(features["items"], self.dropout, training)
        for layer in self.hidden:
            x = layer(x)
        return x if self.samples else self.logits(x)

    def call(self, features, training=False):
        """Logits `[batch, n_items]`."""
        return self.scores_of(self.forward(features, training))

    def objective(self, features, targets, scores):
        return self.nll(scores, targets["target_items"])
