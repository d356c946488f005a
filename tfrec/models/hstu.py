"""HSTU: Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers
for Generative Recommendations", ICML 2024.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import Range, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.layers.transformer import attention_mask
from tfrec.models.self_attention import SelfAttention


@keras.saving.register_keras_serializable("tfrec")
class HSTU(SelfAttention):
    """Causal next-item prediction by gated attention without a softmax.

        U, V, Q, K = SiLU(W LN(x))
        A = SiLU(Q K^T + r) / window, causal, r a learned bias for each distance
        x' = x + W' drop(LN(A V) * U)                                          (a block)
        state = x_L / |x_L|;  score of item i = state . e_i / (|e_i| temperature)

    The loss is the softmax over the target item and sampled negatives.

    Departs from the paper: r depends on the distance in positions, not in time; negatives are
    shared by all positions of a batch; padding is masked; the first item of a history is predicted,
    too.
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
    class Config(SelfAttention.Config):
        """HSTU's settings, with those of attention blocks and of all sequence models.

        The paper's "HSTU-large" has 8 blocks and 2 heads.

        Attributes:
            temperature: Temperature of the softmax over cosine similarities.
        """

        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.7))
        blocks: int = setting(2, "at least 1", search=Range(1, 4))
        temperature: float = setting(0.1, "more than 0", search=Range(0.02, 0.2, log=True))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.blocks = [
            GatedAttention(c.width, c.heads, c.window, c.dropout, name=f"block_{i}")
            for i in range(c.blocks)
        ]

    def outputs(self):
        return tf.math.l2_normalize(self.table[:-1], axis=1) / self.config.temperature, self.bias

    def states(self, tokens, training):
        x = self.positions(self.embed(tokens) * self.config.width**0.5)
        x = self.dropout(x, training=training)
        mask = tf.cast(attention_mask(tokens >= 0, causal=True), x.dtype)
        for block in self.blocks:
            x = block(x, mask, training=training)
        return tf.math.l2_normalize(x, axis=-1)


@keras.saving.register_keras_serializable("tfrec")
class GatedAttention(keras.layers.Layer):
    """One block of `HSTU`.

    Args:
        width: Size of the vectors.
        heads: Attention heads, for Q, K, V and U alike; must divide `width`.
        window: Maximum number of positions.
        dropout: Dropout rate before the last dense layer.
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

    def call(self, x, mask, training=False):
        """`[batch, L, width]` and an `attention_mask` of 0 and 1 -> `[batch, L, width]`."""
        gate, *parts = tf.split(self.wide(self.norms[0](x)), 4, axis=-1)
        values, queries, keys = (self._by_head(part) for part in parts)
        scores = tf.matmul(queries, keys, transpose_b=True) + self._bias(tf.shape(x)[1], x.dtype)
        weights = tf.nn.silu(scores) * (mask / self.window)[:, None]
        attended = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])
        attended = tf.reshape(attended, tf.shape(x))
        return x + self.out(self.dropout(self.norms[1](attended) * gate, training=training))

    def _by_head(self, x: tf.Tensor) -> tf.Tensor:
        """`[batch, L, width]` -> `[batch, heads, L, width / heads]`."""
        shape = tf.shape(x)
        x = tf.reshape(x, [shape[0], shape[1], self.heads, self.width // self.heads])
        return tf.transpose(x, [0, 2, 1, 3])

    def _bias(self, length: tf.Tensor, dtype) -> tf.Tensor:
        """The bias r of query i and key j by their distance i - j, `[L, L]`; unused for j > i."""
        positions = tf.range(length)
        distances = tf.maximum(positions[:, None] - positions[None, :], 0)
        return tf.cast(tf.gather(self.distance, distances), dtype)
