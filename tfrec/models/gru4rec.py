"""GRU4Rec: Hidasi, Karatzoglou, Baltrunas and Tikk, "Session-based Recommendations with
Recurrent Neural Networks", ICLR 2016.
"""

import dataclasses

import keras

from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import Dense
from tfrec.models.sequence import Sequence


@keras.saving.register_keras_serializable("tfrec")
class GRU4Rec(Sequence):
    """x = drop(e);  h_t = GRU(x_1 .. x_t), stacked;  state = drop(W h_t + c).

    Each position predicts the next item, with score state . e_i + b_i. The first item is predicted
    from h = 0.

    Departs from the paper: whole histories instead of session-parallel mini-batches; input and
    output share the item embeddings ("constrained embedding" of Hidasi and Karatzoglou, CIKM 2018);
    the loss is a softmax over all items or sampled ones, not BPR or TOP1 against the batch.
    """

    defaults = TrainConfig(epochs=100, batch_size=0, learning_rate=5e-4, patience=8)
    paper = TrainConfig(epochs=50, batch_size=128, learning_rate=1e-3)
    paper_settings = dict(
        window=200, slide=0.0, popular=False, loss="softmax", negatives=256, dropout=0.2
    )

    @dataclasses.dataclass(frozen=True)
    class Config(Sequence.Config):
        """GRU4Rec's settings, with those of all sequence models.

        Attributes:
            recurrent: Units of the GRU layers.
        """

        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.7))
        recurrent: tuple[int, ...] = setting(
            (128,), "at least 1", search=OneOf((64,), (128,), (256,), (128, 128))
        )

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        self.dropout = keras.layers.Dropout(self.config.dropout)
        self.recurrent_layers = [
            keras.layers.GRU(units, return_sequences=True, name=f"gru_{i}")
            for i, units in enumerate(self.config.recurrent)
        ]
        self.out = Dense(self.config.width, name="out")

    def states(self, tokens, training, last=False):
        x = self.dropout(self.embed(tokens), training=training)
        for layer in self.recurrent_layers:
            x = layer(x, mask=tokens >= 0, training=training)
        return self.dropout(self.out(x), training=training)
