"""SASRec: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018."""

import dataclasses

import keras

from tfrec.config import Range, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.layers.transformer import attention_mask, last_queries
from tfrec.models.self_attention import SelfAttention


@keras.saving.register_keras_serializable("tfrec")
class SASRec(SelfAttention):
    """A causal Transformer: each position of the window predicts the next item.

        x_0 = drop(sqrt(width) e + p)
        q = LN(x);  s = q + attention(q, x, x), causal;  x' = LN(s) + FFN(LN(s))    (a block)
        state = LN(x_L);  score of item i = state . e_i + b_i

    FFN is W_2 drop(relu(W_1 x)), as wide as x, with dropout on its output. The residual
    connections add the normalized inputs, as in the authors' code. p are position embeddings,
    counted from the newest item.

    The paper's loss is "bce" with one negative; "softmax" or many shared negatives ("sampled")
    rank far better (Klenitskiy and Vasilev, RecSys 2023), and so does "gbce" (Petrov and
    Macdonald, gSASRec, RecSys 2023), here with negatives shared by the batch.

    Departs from the paper: items have a bias; attention has an output projection; the first item of
    a history is predicted as well, from a learned vector.
    """

    defaults = TrainConfig(epochs=100, batch_size=0, learning_rate=1e-3, patience=5)
    paper = TrainConfig(epochs=200, batch_size=128, learning_rate=1e-3)
    paper_settings = dict(
        window=200, width=50, slide=0.0, popular=False, loss="bce", negatives=1, dropout=0.2
    )

    @dataclasses.dataclass(frozen=True)
    class Config(SelfAttention.Config):
        """SASRec's settings, with those of attention blocks and of all sequence models.

        Attributes:
            attention_dropout: Dropout rate on the attention weights.
        """

        dropout: float = 0.3
        attention_dropout: float = setting(0.2, "0 or more and less than 1", search=Range(0, 0.5))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.blocks = [
            CausalBlock(c.width, c.heads, c.dropout, c.attention_dropout, name=f"block_{i}")
            for i in range(c.blocks)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-8, name="norm")

    def states(self, tokens, training, last=False):
        x, mask = self.embedded(tokens, training), attention_mask(tokens >= 0, causal=True)
        return self.norm(self.through_blocks(x, mask, training=training, last=last))


@keras.saving.register_keras_serializable("tfrec")
class CausalBlock(keras.layers.Layer):
    """One block of `SASRec`.

    Args:
        width: Size of the vectors.
        heads: Attention heads; must divide `width`.
        dropout: Dropout rate inside and after the FFN.
        attention_dropout: Dropout rate on the attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float, attention_dropout: float, **kwargs):
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(
            heads, width // heads, dropout=attention_dropout, name="attention"
        )
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-8, name=f"norm_{half}")
            for half in ("attention", "dense")
        ]
        self.first = Dense(width, "relu", name="first")
        self.second = Dense(width, name="second")
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, x, mask, training=False, last=False):
        """`[batch, L, width]` and an `attention_mask` -> `[batch, L, width]`, or the last alone."""
        queries, mask = last_queries(x, mask) if last else (x, mask)
        queries = self.norms[0](queries)
        x = queries + self.attention(queries, x, attention_mask=mask, training=training)
        x = self.norms[1](x)
        hidden = self.dropout(self.first(x), training=training)
        return x + self.dropout(self.second(hidden), training=training)
