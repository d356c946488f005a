"""BERT4Rec: Sun, Liu, Wu, Pei, Lin, Ou and Jiang, "BERT4Rec: Sequential Recommendation with
Bidirectional Encoder Representations from Transformer", CIKM 2019.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import Range, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.layers.newest_items import newest_items
from tfrec.layers.transformer import Block, attention_mask
from tfrec.models.self_attention import SelfAttention
from tfrec.models.sequence import Predictions
from tfrec.schema import PAD


@keras.saving.register_keras_serializable("tfrec")
class BERT4Rec(SelfAttention):
    """Predicts masked items of the window; the next item is a mask after the newest one.

        x_0 = drop(LN(e + p));  y = LN(x + drop(attention(x)));  x' = LN(y + drop(FFN(y)))
        state = LN(gelu(W x_L + c));  score of item i = state . e_i + b_i

    p are position embeddings, counted from the newest item. Attention is bidirectional; FFN is
    W_2 gelu(W_1 x), four times as wide inside. In training each position is masked with probability
    `mask`, at random in every step (always by the mask token: no random or unchanged items); in a
    share `mask_last` of the rows only the newest item is, as at inference (the authors add one such
    sample to ten of the first kind). Minimised is the cross-entropy at masked positions; head and
    output are computed for these alone.

    Departs from the paper: the authors cut long histories into sliding windows, here a step takes
    the newest window or, for a share `slide` of the long rows, a random one; a row in which no
    position was chosen has its newest item masked.
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
    paper_settings = dict(
        window=200,
        slide=0.0,
        popular=False,
        negatives=256,
        attention_dropout=0.2,
        dropout=0.2,
        mask=0.2,
    )

    @dataclasses.dataclass(frozen=True)
    class Config(SelfAttention.Config):
        """BERT4Rec's settings, with those of attention blocks and of all sequence models.

        Attributes:
            attention_dropout: Dropout rate on the attention weights.
            mask: Share of the positions that are masked in training.
            mask_last: Share of the training rows in which only the newest item is masked.
        """

        loss: str = "softmax"
        dropout: float = 0.1
        heads: int = 2
        attention_dropout: float = setting(0.0, "0 or more and less than 1")
        mask: float = setting(0.3, "more than 0 and less than 1", search=Range(0.1, 0.6))
        mask_last: float = setting(0.1, "from 0 to 1", search=Range(0, 0.5))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.first_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="first_norm")
        self.blocks = [
            Block(c.width, c.heads, c.dropout, c.attention_dropout, name=f"block_{i}")
            for i in range(c.blocks)
        ]
        self.head = Dense(c.width, "gelu", name="head")
        self.last_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="last_norm")

    @property
    def mask_token(self) -> int:
        """The token that replaces a masked item."""
        return self.info.n_items

    def encode(self, tokens, training, last=False):
        """The output of the last block, `[batch, L, width]`, or with `last` `[batch, 1, width]`."""
        x = self.first_norm(self.positions(self.embed(tokens)))
        x = self.dropout(x, training=training)
        mask = attention_mask(tokens >= 0, causal=False)
        return self.through_blocks(x, mask, training=training, last=last)

    def states(self, tokens, training, last=False):
        return self.last_norm(self.head(self.encode(tokens, training, last)))

    def query(self, items):
        tokens = newest_items(items, self.config.window - 1)
        return tf.pad(tokens, [[0, 0], [0, 1]], constant_values=self.mask_token)

    def predictions(self, items, training):
        tokens = self.cut_window(items, self.config.window, training)
        masked = self.masked(tokens, training)
        x = self.encode(tf.where(masked, self.mask_token, tokens), training)
        found = self.predictions_of(x, tf.where(masked, tokens, PAD))
        return Predictions(self.last_norm(self.head(found.states)), found.rows, found.items)

    def masked(self, tokens: tf.Tensor, training: bool) -> tf.Tensor:
        """Which positions of `tokens` are masked, bool `[batch, L]`."""
        real = tokens >= 0
        last = real & (tf.range(tf.shape(tokens)[1]) == tf.shape(tokens)[1] - 1)
        if not training:
            return last
        chosen = real & (self.uniform(tf.shape(tokens)) < self.config.mask)
        only_last = self.uniform([tf.shape(tokens)[0], 1]) < self.config.mask_last
        only_last |= ~tf.reduce_any(chosen, axis=1, keepdims=True)
        return tf.where(only_last, last, chosen)

    def predictions_per_row(self):
        return max(1.0, self.config.mask * super().predictions_per_row())
