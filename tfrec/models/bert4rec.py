"""BERT4Rec: Sun, Liu, Wu, Pei, Lin, Ou and Jiang, "BERT4Rec: Sequential Recommendation with
Bidirectional Encoder Representations from Transformer", CIKM 2019.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers import windows
from tfrec.layers.dense import Dense
from tfrec.layers.transformer import Block, Places, check_heads, looks_at
from tfrec.models.sequence import Predicting, Sequence


@keras.saving.register_keras_serializable("tfrec")
class BERT4Rec(Sequence):
    """Fills in masked items of the window; the next item is a mask behind the newest one.

        x_0 = drop(LN(e + p));  y = LN(x + drop(attention(x)));  x' = LN(y + drop(FFN(y)))
        state = LN(gelu(W x_L + c));  score of item i = state . e_i + b_i

    Attention looks both ways, FFN is W_2 gelu(W_1 x), four times as wide inside. In training each
    place is masked with probability `mask`, anew each time (always by the mask: no random or
    unchanged items); in a share `mask_last` of the rows only the newest one is, which is what
    scoring asks for (the authors add one such sample to ten of the first kind). Minimised is the
    cross-entropy at masked places; nothing else is sent through head and output.

    Departs from the paper: the authors cut long histories into sliding windows, this takes the
    newest or, for a share `slide` of the long rows, any; here a row whose draw masks nothing has
    its newest item masked.
    """

    defaults = TrainConfig(epochs=100, batch_size=0, learning_rate=1e-3, patience=10)
    paper = TrainConfig(
        epochs=200,
        batch_size=256,
        optimizer="adamw",
        learning_rate=1e-4,
        weight_decay=0.01,
        clip_norm=5.0,
    )
    paper_settings = {
        **{"window": 200, "slide": 0.0, "popular": False, "negatives": 256},
        **{"attention_dropout": 0.2, "dropout": 0.2, "mask": 0.2},
    }

    @dataclasses.dataclass(frozen=True)
    class Config(Sequence.Config):
        """BERT4Rec's settings, with those of all sequence models.

        Attributes:
            blocks: Transformer blocks.
            heads: Of the attention; they share `width` evenly.
            attention_dropout: Rate on the attention's weights.
            mask: Share of the places that are masked in training.
            mask_last: Share of the training rows in which only the newest item is masked.
        """

        loss: str = "softmax"
        dropout: float = 0.1
        blocks: int = setting(2, "at least 1", search=Range(1, 3))
        heads: int = setting(2, "at least 1", search=OneOf(1, 2, 4))
        attention_dropout: float = setting(0.0, "0 or more and less than 1")
        mask: float = setting(0.3, "more than 0 and less than 1", search=Range(0.1, 0.6))
        mask_last: float = setting(0.1, "from 0 to 1", search=Range(0, 0.5))

        def check(self):
            super().check()
            check_heads(self.heads, self.width)

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.places = Places(c.window, self.deviation, name="places")
        self.first_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="first_norm")
        self.dropout = keras.layers.Dropout(c.dropout)
        self.blocks = [
            Block(c.width, c.heads, c.dropout, c.attention_dropout, name=f"block_{i}")
            for i in range(c.blocks)
        ]
        self.head = Dense(c.width, "gelu", name="head")
        self.last_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="last_norm")

    @property
    def the_mask(self) -> int:
        """The token that stands for a masked item."""
        return self.info.n_items

    def encode(self, tokens, training):
        """What the blocks make of a window, `[batch, L, width]`."""
        x = self.first_norm(self.places(self.embed(tokens)))
        x = self.dropout(x, training=training)
        looks = looks_at(tokens >= 0, causal=False)
        for block in self.blocks:
            x = block(x, looks, training=training)
        return x

    def states(self, tokens, training):
        return self.last_norm(self.head(self.encode(tokens, training)))

    def query(self, items):
        tokens = windows.newest(items, self.config.window - 1)
        return tf.pad(tokens, [[0, 0], [0, 1]], constant_values=self.the_mask)

    def predicting(self, items, training):
        tokens = self.window_of(items, self.config.window, training)
        masked = self.masked(tokens, training)
        x = self.encode(tf.where(masked, self.the_mask, tokens), training)
        found = self.at(x, tf.where(masked, tokens, -1))
        return Predicting(self.last_norm(self.head(found.states)), found.rows, found.items)

    def masked(self, tokens: tf.Tensor, training: bool) -> tf.Tensor:
        """Which places of `tokens` are to be filled in, bool `[batch, L]`."""
        real = tokens >= 0
        last = real & (tf.range(tf.shape(tokens)[1]) == tf.shape(tokens)[1] - 1)
        if not training:
            return last
        draws = real & (self.uniform(tf.shape(tokens)) < self.config.mask)
        only_last = self.uniform([tf.shape(tokens)[0], 1]) < self.config.mask_last
        only_last |= ~tf.reduce_any(draws, axis=1, keepdims=True)
        return tf.where(only_last, last, draws)

    def per_row(self):
        return max(1.0, self.config.mask * super().per_row())
