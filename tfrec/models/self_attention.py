"""Base of the sequence models with self-attention."""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import OneOf, Range, setting
from tfrec.layers.transformer import PositionEmbedding, check_heads
from tfrec.models.sequence import Sequence


class SelfAttention(Sequence):
    """A sequence model of attention blocks over item and position embeddings.

    A subclass makes the list of layers `blocks`. The first block's input is `embedded`, or what
    else a subclass makes of the item embeddings with `positions` and `dropout`.
    """

    @dataclasses.dataclass(frozen=True)
    class Config(Sequence.Config):
        """Settings of attention blocks, with those of all sequence models.

        Attributes:
            blocks: Number of blocks.
            heads: Number of attention heads; must divide `width`.
        """

        blocks: int = setting(2, "at least 1", search=Range(1, 3))
        heads: int = setting(1, "at least 1", search=OneOf(1, 2, 4))

        def check(self):
            super().check()
            check_heads(self.heads, self.width)

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.positions = PositionEmbedding(c.window, self.deviation, name="positions")
        self.dropout = keras.layers.Dropout(c.dropout)

    def embedded(self, tokens: tf.Tensor, training: bool) -> tf.Tensor:
        """drop(sqrt(width) e + p) of tokens `[batch, L]`, `[batch, L, width]`."""
        x = self.positions(self.embed(tokens) * self.config.width**0.5)
        return self.dropout(x, training=training)

    def through_blocks(
        self, x: tf.Tensor, *others: tf.Tensor | None, training: bool, last: bool
    ) -> tf.Tensor:
        """The output of the last block.

        Args:
            x: The input of the first block, `[batch, L, width]`.
            *others: Further inputs of every block: the mask, and what else its `call` takes.
            training: Whether there is dropout.
            last: Only the last position is needed: `[batch, 1, width]` is returned.
        """
        for block in self.blocks:
            x = block(x, *others, training=training, last=last and block is self.blocks[-1])
        return x
