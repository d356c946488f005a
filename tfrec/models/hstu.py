"""HSTU: Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers
for Generative Recommendations", ICML 2024.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.layers.transformer import Places, check_heads, looks_at
from tfrec.models.sequence import Sequence


@keras.saving.register_keras_serializable("tfrec")
class HSTU(Sequence):
    """SASRec's task by gated attention without a softmax.

        U, V, Q, K = SiLU(W LN(x))
        A = SiLU(Q K^T + r) / window, causal, r a learnt bias for each distance
        x' = x + W' drop(LN(A V) * U)                                          (a block)
        state = x_L / |x_L|;  score of item i = state . e_i / (|e_i| temperature)

    The loss is the softmax over the right item and sampled ones.

    Departs from the paper: r knows the distance in places, not in time; negatives are shared by
    the places of a batch; padding in front is nobody's to see; the first item is predicted, too.
    """

    defaults = TrainConfig(epochs=100, batch_size=0, learning_rate=5e-4, patience=8)
    paper = TrainConfig(epochs=101, batch_size=128, learning_rate=1e-3)
    paper_settings = {
        "window": 200,
        "width": 50,
        "dropout": 0.2,
        "slide": 0.0,
        "popular": False,
        "negatives": 128,
        "temperature": 0.05,
    }

    @dataclasses.dataclass(frozen=True)
    class Config(Sequence.Config):
        """HSTU's settings, with those of all sequence models; "large" has 8 blocks, 2 heads.

        Attributes:
            blocks: Blocks.
            heads: Of the attention; they share `width` evenly, for Q, K, V and U alike.
            temperature: Of the softmax over cosines.
        """

        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.7))
        blocks: int = setting(2, "at least 1", search=Range(1, 4))
        heads: int = setting(1, "at least 1", search=OneOf(1, 2, 4))
        temperature: float = setting(0.1, "more than 0", search=Range(0.02, 0.2, log=True))

        def check(self):
            super().check()
            check_heads(self.heads, self.width)

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.places = Places(c.window, self.deviation, name="places")
        self.dropout = keras.layers.Dropout(c.dropout)
        self.blocks = [
            GatedAttention(c.width, c.heads, c.window, c.dropout, name=f"block_{i}")
            for i in range(c.blocks)
        ]

    def outputs(self):
        return tf.math.l2_normalize(self.table[:-1], axis=1) / self.config.temperature, self.bias

    def states(self, tokens, training):
        x = self.places(self.embed(tokens) * self.config.width**0.5)
        x = self.dropout(x, training=training)
        looks = tf.cast(looks_at(tokens >= 0, causal=True), x.dtype)
        for block in self.blocks:
            x = block(x, looks, training=training)
        return tf.math.l2_normalize(x, axis=-1)


@keras.saving.register_keras_serializable("tfrec")
class GatedAttention(keras.layers.Layer):
    """One block of HSTU (see there).

    Args:
        width: Of the vectors.
        heads: Of the attention.
        window: Most places.
        dropout: Rate before the last dense layer.
    """

    def __init__(self, width: int, heads: int, window: int, dropout: float, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads, self.window = width, heads, window
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_{i}") for i in ("in", "out")
        ]
        self.wide = Dense(4 * width, "silu", name="wide")
        self.out = Dense(width, name="out")
        self.dropout = keras.layers.Dropout(dropout)

    def build(self, shape):
        start = keras.initializers.TruncatedNormal(stddev=0.02)
        self.distance = self.add_weight((self.window,), start, name="distance")

    def call(self, x, looks, training=False):
        """`[batch, L, width]` and, 0 or 1 `[batch, L, L]`, which place looks at which."""
        gate, *parts = tf.split(self.wide(self.norms[0](x)), 4, axis=-1)
        values, queries, keys = (self._by_head(part) for part in parts)
        scores = tf.matmul(queries, keys, transpose_b=True) + self._bias(tf.shape(x)[1], x.dtype)
        weights = tf.nn.silu(scores) * (looks / self.window)[:, None]
        found = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])
        found = tf.reshape(found, tf.shape(x))
        return x + self.out(self.dropout(self.norms[1](found) * gate, training=training))

    def _by_head(self, x: tf.Tensor) -> tf.Tensor:
        """`[batch, L, width]` -> `[batch, heads, L, width / heads]`."""
        shape = tf.shape(x)
        x = tf.reshape(x, [shape[0], shape[1], self.heads, self.width // self.heads])
        return tf.transpose(x, [0, 2, 1, 3])

    def _bias(self, length: tf.Tensor, dtype) -> tf.Tensor:
        """The bias of place i looking at place j by i - j, `[L, L]`; anything where j > i."""
        places = tf.range(length)
        distances = tf.maximum(places[:, None] - places[None, :], 0)
        return tf.cast(tf.gather(self.distance, distances), dtype)
