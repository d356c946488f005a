"""DCN-v2: Wang, Shivanna, Cheng, Jain, Lin, Hong and Chi, "DCN V2: Improved Deep & Cross
Network and Practical Lessons for Web-scale Learning to Rank Systems", WWW 2021.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import Range, setting
from tfrec.layers.dense import Dense
from tfrec.layers.mlp import MLP
from tfrec.models.deepfm import DeepFM
from tfrec.models.fm import FM


@keras.saving.register_keras_serializable("tfrec")
class DCN(FM):
    """y = w0 + sum_j w_j x_j + w . [x_L, MLP(x_0)], x_0 the concatenated field vectors.

    Each cross layer multiplies by x_0 again (eq. 1), with a full-rank W:

        x_{l+1} = x_0 * (W_l x_l + b_l) + x_l.

    Cross layers and MLP run in parallel. Loss and regularization as in `FM`.

    Departs from the paper: FM's linear term; sets and numbers as in `FM`; the rating task.
    """

    paper_settings = dict(
        task="ctr",
        latent=10,
        regularization=0.0,
        damping=0.0,
        depth=3,
        hidden=(400, 400),
        dropout=0.5,
    )

    @dataclasses.dataclass(frozen=True)
    class Config(DeepFM.Config):
        """Settings of FM and its MLP, as of DeepFM, and of the cross layers.

        Attributes:
            depth: Number L of cross layers.
        """

        depth: int = setting(2, "at least 1", search=Range(1, 4))

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
        """Scores and penalties of the events' parameters, `[batch]`."""
        vectors, linear, penalty = self.embed(features)
        start = tf.cast(self.concatenated(vectors), self.compute_dtype)
        crossed = start
        for layer in self.cross:
            crossed = start * layer(crossed) + crossed
        both = tf.concat([crossed, self.mlp(start, training=training)], axis=1)
        return linear + tf.cast(self.head(both)[:, 0], linear.dtype), penalty
