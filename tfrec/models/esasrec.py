"""eSASRec: Tikhonovich, Zelenkin, Vladimirova, Volodkevich, Vasilev and Klenitskiy, "eSASRec:
Enhancing Transformer-based Recommendations in a Modular Fashion", RecSys 2025.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import TrainConfig
from tfrec.layers.dense import Dense
from tfrec.layers.transformer import attention_mask, last_queries
from tfrec.models.self_attention import SelfAttention


@keras.saving.register_keras_serializable("tfrec")
class ESASRec(SelfAttention):
    """SASRec with gated blocks (LiGR) and a sampled softmax.

        x_0 = drop(sqrt(width) e + p)
        y = x + sigmoid(W_1 x) * drop(attention(LN(x))), causal
        x' = y + sigmoid(W_2 y) * drop(FFN(LN(y)))                              (a block)
        state = x_L;  score of item i = state . e_i + b_i

    FFN is W_5 drop(SiLU(W_3 x) * W_4 x), four times as wide inside, without biases. p are position
    embeddings, counted from the newest item.

    Departs from the paper: items have biases; negatives are shared by all positions of a batch,
    and none is an item of the row; the first item of a history is predicted, too.
    """

    defaults = TrainConfig(epochs=100, batch_size=0, learning_rate=1e-3, patience=5)
    paper = TrainConfig(epochs=100, batch_size=128, learning_rate=1e-3, patience=50)
    paper_settings = dict(window=200, dropout=0.1, slide=0.0, popular=False, negatives=256)

    @dataclasses.dataclass(frozen=True)
    class Config(SelfAttention.Config):
        """eSASRec's settings: those of attention blocks and of all sequence models.

        Dropout is also on the attention weights.
        """

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.blocks = [
            GatedBlock(c.width, c.heads, c.dropout, name=f"block_{i}") for i in range(c.blocks)
        ]

    def states(self, tokens, training, last=False):
        x, mask = self.embedded(tokens, training), attention_mask(tokens >= 0, causal=True)
        return self.through_blocks(x, mask, training=training, last=last)


@keras.saving.register_keras_serializable("tfrec")
class GatedBlock(keras.layers.Layer):
    """One block of `ESASRec`.

    Args:
        width: Size of the vectors.
        heads: Attention heads; must divide `width`.
        dropout: Dropout rate on attention weights, inside the FFN and after both.
    """

    def __init__(self, width: int, heads: int, dropout: float, **kwargs):
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(
            heads, width // heads, dropout=dropout, name="attention"
        )
        halves = ("attention", "dense")
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-5, name=f"norm_{half}") for half in halves
        ]
        self.gates = [Dense(width, "sigmoid", name=f"gate_{half}") for half in halves]
        self.wide = Dense(8 * width, use_bias=False, name="wide")
        self.narrow = Dense(width, use_bias=False, name="narrow")
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, x, mask, training=False, last=False):
        """`[batch, L, width]` and an `attention_mask` -> `[batch, L, width]`, or the last alone."""
        keys = self.norms[0](x)
        queries = keys
        if last:
            (x, mask), queries = last_queries(x, mask), keys[:, -1:]
        attended = self.attention(queries, keys, attention_mask=mask, training=training)
        x = x + self.gates[0](x) * self.dropout(attended, training=training)
        first, second = tf.split(self.wide(self.norms[1](x)), 2, axis=-1)
        hidden = self.dropout(tf.nn.silu(first) * second, training=training)
        return x + self.gates[1](x) * self.dropout(self.narrow(hidden), training=training)
