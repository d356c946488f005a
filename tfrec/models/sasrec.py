"""SASRec: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018."""

import dataclasses

import keras

from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.layers.transformer import Places, check_heads, looks_at
from tfrec.models.sequence import Sequence


@keras.saving.register_keras_serializable("tfrec")
class SASRec(Sequence):
    """Each place of the window looks back, and predicts the next item.

        x_0 = drop(sqrt(width) e + p)
        q = LN(x);  s = q + attention(q, x, x), causal;  x' = LN(s) + FFN(LN(s))    (a block)
        state = LN(x_L);  score of item i = state . e_i + b_i

    FFN is W_2 drop(relu(W_1 x)), as wide as x, with dropout on its result. The residuals start
    at the normalised vectors, as in the authors' code. Places are counted from the newest item.

    The paper's loss is "bce" with one negative; "softmax" or many shared negatives ("sampled")
    rank far better (Klenitskiy and Vasilev, RecSys 2023), and so does "gbce" (Petrov and
    Macdonald, gSASRec, RecSys 2023), here with negatives that a batch shares.
    Departs from the paper: items have a bias; attention ends in a dense layer; the first item of
    a history is predicted as well, from a learnt vector.
    """

    defaults = TrainConfig(epochs=100, batch_size=0, learning_rate=1e-3, patience=5)
    paper = TrainConfig(epochs=200, batch_size=128, learning_rate=1e-3)
    paper_settings = {
        **{"window": 200, "width": 50, "slide": 0.0, "popular": False},
        **{"loss": "bce", "negatives": 1, "dropout": 0.2},
    }

    @dataclasses.dataclass(frozen=True)
    class Config(Sequence.Config):
        """SASRec's settings, with those of all sequence models.

        Attributes:
            blocks: Transformer blocks.
            heads: Of the attention; they share `width` evenly.
            attention_dropout: Rate on the attention's weights.
        """

        dropout: float = 0.3
        blocks: int = setting(2, "at least 1", search=Range(1, 3))
        heads: int = setting(1, "at least 1", search=OneOf(1, 2, 4))
        attention_dropout: float = setting(0.2, "0 or more and less than 1", search=Range(0, 0.5))

        def check(self):
            super().check()
            check_heads(self.heads, self.width)

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.places = Places(c.window, self.deviation, name="places")
        self.dropout = keras.layers.Dropout(c.dropout)
        self.blocks = [
            CausalBlock(c.width, c.heads, c.dropout, c.attention_dropout, name=f"block_{i}")
            for i in range(c.blocks)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-8, name="norm")

    def states(self, tokens, training):
        x = self.places(self.embed(tokens) * self.config.width**0.5)
        x = self.dropout(x, training=training)
        looks = looks_at(tokens >= 0, causal=True)
        for block in self.blocks:
            x = block(x, looks, training=training)
        return self.norm(x)


@keras.saving.register_keras_serializable("tfrec")
class CausalBlock(keras.layers.Layer):
    """One block of SASRec (see there).

    Args:
        width: Of the vectors.
        heads: Of the attention.
        dropout: Rate inside and after the FFN.
        attention_dropout: Rate on the attention's weights.
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

    def call(self, x, looks, training=False):
        """`[batch, L, width]` and, bool `[batch, L, L]`, which place looks at which."""
        queries = self.norms[0](x)
        x = queries + self.attention(queries, x, attention_mask=looks, training=training)
        x = self.norms[1](x)
        hidden = self.dropout(self.first(x), training=training)
        return x + self.dropout(self.second(hidden), training=training)
