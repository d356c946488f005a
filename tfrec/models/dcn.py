"""DCN-v2: Wang, Shivanna, Cheng, Jain, Lin, Hong and Chi, "DCN V2: Improved Deep & Cross
Network and Practical Lessons for Web-scale Learning to Rank Systems", WWW 2021.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import OneOf, Range, setting
from tfrec.layers.dense import ACTIVATIONS, Dense
from tfrec.layers.mlp import MLP
from tfrec.models.fm import FM


@keras.saving.register_keras_serializable("tfrec")
class DCN(FM):
    """y = w0 + sum_j w_j x_j + w . [x_L, MLP(x_0)], x_0 the fields' vectors side by side.

    The cross layers multiply by x_0 again each time (eq. 1), full-rank W:

        x_{l+1} = x_0 * (W_l x_l + b_l) + x_l.

    Cross layers and MLP stand in parallel. Loss and regularization as in `FM`.

    Departs from the paper: FM's linear part; sets and numbers as in `FM`; the rating task.
    """

    paper_settings = {
        **{"task": "ctr", "latent": 10, "regularization": 0.0},
        **{"depth": 3, "hidden": (400, 400), "dropout": 0.5},
    }

    @dataclasses.dataclass(frozen=True)
    class Config(FM.Config):
        """FM's settings, the cross layers' and the MLP's.

        Attributes:
            depth: Number L of cross layers.
            hidden: Sizes of the MLP's hidden layers.
            activation: Of the hidden layers.
            dropout: After each hidden layer.
            l2: Weight of |W|^2 of the cross layers, the MLP and the head.
        """

        depth: int = setting(2, "at least 1", search=Range(1, 4))
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
        width = len(self.codes.fields) * c.latent
        self.cross = [
            Dense(width, kernel_regularizer=decay, name=f"cross_{i}") for i in range(c.depth)
        ]
        self.mlp = MLP(c.hidden, c.activation, c.dropout, c.l2, name="mlp")
        self.head = Dense(1, use_bias=False, kernel_regularizer=decay, name="head")

    def forward(self, features, training=False):
        """Scores and squares, `[batch]`."""
        vectors, linear, squares = self.embed(features)
        start = tf.cast(self.side_by_side(vectors), self.compute_dtype)
        crossed = start
        for layer in self.cross:
            crossed = start * layer(crossed) + crossed
        both = tf.concat([crossed, self.mlp(start, training=training)], axis=1)
        return linear + tf.cast(self.head(both)[:, 0], linear.dtype), squares
