"""The plain autoencoder on ratings, as in many projects (such as layers of 200, 100 and 200)."""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import ACTIVATIONS, Dense
from tfrec.layers.densify import densify
from tfrec.models.residual import PenaltyConfig, Residual


@keras.saving.register_keras_serializable("tfrec")
class AutoEncoder(Residual):
    """Dense layers from a user's ratings (0 where missing) to predictions of all ratings.

    Loss: masked squared error averaged over the ratings of the batch, sum m (r - p)^2 / sum m. With
    `bottleneck` the layers are `hidden`, `bottleneck` and `hidden` mirrored; without, `hidden`.
    """

    task = "rating"
    paper = TrainConfig(epochs=100, batch_size=128, learning_rate=1e-3, patience=10)
    paper_settings = {"activation": "sigmoid", "dropout": 0.0, "regularization": 0.0}

    @dataclasses.dataclass(frozen=True)
    class Config(PenaltyConfig):
        """AutoEncoder's settings.

        Attributes:
            hidden: Sizes of the hidden layers.
            bottleneck: Size of the code between `hidden` and its mirror, 0 for none.
            activation: Activation of the hidden layers.
            input_dropout: Dropout rate on the observed ratings (the others are scaled by
                1/(1 - rate)).
            dropout: Dropout rate on the smallest hidden layer.
            l2: L2 regularization factor of the kernels, besides `regularization`.
        """

        hidden: tuple[int, ...] = setting(
            (200, 100, 200),
            "at least 1",
            search=OneOf((50,), (100,), (200,), (400,), (200, 100, 200)),
        )
        bottleneck: int = setting(0, "0 or more")
        activation: str = setting("tanh", choices=ACTIVATIONS)
        input_dropout: float = setting(0.0, "0 or more and less than 1", search=Range(0, 0.8))
        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.8))
        l2: float = setting(0.0, "0 or more")

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        sizes = (*c.hidden, c.bottleneck, *c.hidden[::-1]) if c.bottleneck else c.hidden
        decay = self.l2_by_ratings(c.regularization, c.l2)
        self.input_dropout = keras.layers.Dropout(c.input_dropout)
        self.hidden = [
            Dense(size, c.activation, kernel_regularizer=decay, name=f"hidden_{i}")
            for i, size in enumerate(sizes)
        ]
        self.code = sizes.index(min(sizes))
        self.dropout = keras.layers.Dropout(c.dropout)
        self.decoder = Dense(
            info.n_columns,
            kernel_initializer=self.output_start,
            kernel_regularizer=decay,
            bias_initializer=keras.initializers.Constant(self.output_mean),
            name="decoder",
        )

    def call(self, features, training=False):
        base, values = self.base_and_input(features)
        values = self.input_dropout(values, training=training)
        x = densify(features["items"], values, self.info.n_columns)
        for i, layer in enumerate(self.hidden):
            x = layer(x)
            if i == self.code:
                x = self.dropout(x, training=training)
        return base + tf.cast(self.decoder(x), tf.float32)

    def objective(self, features, targets, scores):
        return losses.pooled_squared_error(
            scores, targets["target_items"], targets["target_values"]
        )
