"""Base of the sequence models with self-attention: SASRec, BERT4Rec and HSTU."""

import dataclasses

import keras

from tfrec.config import OneOf, Range, setting
from tfrec.layers.transformer import PositionEmbedding, check_heads
from tfrec.models.sequence import Sequence


class SelfAttention(Sequence):
    """A sequence model of attention blocks over item and position embeddings.

    A subclass makes the list of layers `blocks`, and applies `positions` and `dropout` to the item
    embeddings before the first of them.
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
