"""A model that is no part of tfrec: the file that docs/adding-a-model.md shows."""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import Settings, TrainConfig, setting
from tfrec.layers.densify import normalized
from tfrec.models import Recommender


@keras.saving.register_keras_serializable("shop")
class LinearRanker(Recommender):
    """Scores = x W + b: a weight from each item that a user has had to each other item.

    x is the user's set of items, L2-normalised; in training a share `dropout` of it is left out,
    so that W learns to bring it back. Loss: the multinomial log-likelihood of the whole set.
    """

    task = "ranking"
    paper = TrainConfig(epochs=30, batch_size=100, learning_rate=0.01, patience=5)

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """The model's settings: `--set dropout=0.3`, or `tfrec.fit(..., dropout=0.3)`.

        Attributes:
            dropout: Share of a user's items that a training step leaves out.
            l2: Weight of the squared W in the loss.
        """

        dropout: float = setting(0.5, "0 or more and less than 1")
        l2: float = setting(1e-5, "0 or more")

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        self.dropout = keras.layers.Dropout(self.config.dropout)
        decay = keras.regularizers.L2(self.config.l2)
        self.scores = keras.layers.Dense(info.n_columns, kernel_regularizer=decay, name="scores")

    def call(self, features, training=False) -> tf.Tensor:
        """Scores of all items, `[batch, n_columns]`."""
        x = normalized(features["items"], self.info.n_columns, self.dropout, training)
        return self.scores(x)

    def objective(self, features, targets, scores) -> tf.Tensor:
        """One loss a row, `[batch]`."""
        return losses.multinomial_nll(scores, targets["target_items"])
