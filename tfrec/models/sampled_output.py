"""The choice between a softmax over all items and over a sample, of autoencoders of sets."""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import Settings, setting
from tfrec.layers.dense import Dense
from tfrec.layers.densify import normalized, shares
from tfrec.layers.negatives import uniform_items
from tfrec.models.base import Recommender
from tfrec.models.item_sets import FromItems, ToItems

FROM_ITEMS = 100_000  # number of items from which "auto" samples


class SampledOutput(Recommender):
    """An autoencoder of sets of items with a multinomial likelihood.

    With a full softmax its first and last layer are dense. With a sampled one they read only rows
    of their tables, so that no tensor of a training step has a column for each item; evaluation,
    and the loss of validation, are always those of all items.
    """

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """Settings of the output layer.

        Attributes:
            softmax: Of training: over all items, "full", or over the items of the row and
                `negatives` uniform samples per step, shared by all rows, "sampled"; "auto":
                "sampled" from 100,000 items on.
            negatives: See `softmax`.
        """

        softmax: str = setting("auto", choices=("auto", "full", "sampled"), later=True)
        negatives: int = setting(4096, "at least 1", later=True)

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        self.samples = self.is_sampled(info, self.config)
        self.seed_generator = keras.random.SeedGenerator() if self.samples else None

    @classmethod
    def is_sampled(cls, info, config) -> bool:
        """Whether the softmax of training is sampled; a model without a hidden layer has none."""
        large = info.n_columns >= FROM_ITEMS and config.softmax == "auto"
        return bool(config.hidden) and (large or config.softmax == "sampled")

    @classmethod
    def activations(cls, info, config, train):
        if not cls.is_sampled(info, config):
            return super().activations(info, config, train)
        mean = info.n_ratings.get("train", 0) / max(1, info.row_counts.get("train", 1))
        vectors = int(2 * mean * train.batch_size + config.negatives) * cls.size(config)
        return 4 * vectors + 6 * train.batch_size * config.negatives

    def first_layer(self, units: int, **options) -> keras.layers.Layer:
        """The layer that takes the result of `read`."""
        if self.samples:
            return FromItems(self.info.n_columns, units, **options)
        return Dense(units, **options)

    def last_layer(self, units: int, **options) -> keras.layers.Layer:
        """The layer of logits, of an input of size `units`."""
        if self.samples:
            return ToItems(self.info.n_columns, units, **options)
        return Dense(self.info.n_columns, **options)

    def read(self, items: tf.Tensor, dropout: keras.layers.Layer, training: bool):
        """The input of the first layer: L2-normalized sets of items with dropout."""
        if self.samples:
            return items, shares(items, dropout, training)
        return normalized(items, self.info.n_columns, dropout, training)

    def scores_of(self, outputs: tf.Tensor) -> tf.Tensor:
        """Logits, from the first output of `forward`: with a sampled softmax the last state."""
        return self.logits(outputs) if self.samples else outputs

    def nll(self, outputs: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """The negative log-likelihood of rows of items, from the first output of `forward`."""
        if not self.samples or self.exact_loss:
            return losses.multinomial_nll(self.scores_of(outputs), items)
        negatives = uniform_items([self.config.negatives], self.info.n_items, self.seed_generator)
        return self.logits.sampled_nll(outputs, items, negatives)
