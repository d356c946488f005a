"""DeepFM: Guo, Tang, Ye, Li and He, "DeepFM: A Factorization-Machine based Neural Network for
CTR Prediction", IJCAI 2017.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import OneOf, Range, setting
from tfrec.layers.dense import ACTIVATIONS, Dense
from tfrec.layers.mlp import MLP
from tfrec.models.fm import FM, pair_term


@keras.saving.register_keras_serializable("tfrec")
class DeepFM(FM):
    """y = y_FM + MLP([v_1 x_1, ..., v_F x_F]), one table of v for both.

    y_FM is the score of `FM`; the MLP reads the concatenated field vectors (those of a set's
    members summed) and has one output. y is the logit (task "ctr") or the rating.

    Departs from the paper: sets and numbers as in `FM`; the rating task.
    """

    paper_settings = dict(
        task="ctr", latent=10, regularization=0.0, damping=0.0, hidden=(400, 400, 400), dropout=0.5
    )

    @dataclasses.dataclass(frozen=True)
    class Config(FM.Config):
        """FM's settings and the MLP's.

        Attributes:
            hidden: Sizes of the MLP's hidden layers.
            activation: Activation of the hidden layers.
            dropout: Dropout rate after each hidden layer.
            l2: L2 regularization factor of all kernels, those of the output layer included.
        """

        hidden: tuple[int, ...] = setting(
            (64,), "at least 1", search=OneOf((32,), (64,), (128,), (64, 32), (128, 64))
        )
        activation: str = setting("relu", choices=ACTIVATIONS)
        dropout: float = setting(0.3, "0 or more and less than 1", search=Range(0, 0.6))
        l2: float = setting(0.0, "0 or more")

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        decay = keras.regularizers.L2(c.l2)
        self.mlp = MLP(c.hidden, c.activation, c.dropout, c.l2, name="mlp")
        self.head = Dense(1, use_bias=False, kernel_regularizer=decay, name="head")

    def forward(self, features, training=False):
        """Scores and penalties of the events' parameters, `[batch]`."""
        vectors, linear, penalty = self.embed(features)
        deep = self.head(self.mlp(self.concatenated(vectors), training=training))[:, 0]
        return linear + pair_term(vectors) + tf.cast(deep, linear.dtype), penalty
