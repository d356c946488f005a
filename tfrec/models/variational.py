"""Base of the variational autoencoders: KL annealing."""

import dataclasses

import tensorflow as tf

from tfrec.config import Range, Settings, setting
from tfrec.models.base import Recommender

PASSES_TO_ONE = 857  # epochs: 200,000 steps of 500 rows, 116,677 rows (Liang et al., ML-20M)


class Variational(Recommender):
    """A model whose `forward` returns (scores, KL), KL float32 `[batch]`.

    A subclass makes `encoder` and `decoder`, lists of layers, and `code`, a `GaussianCode`.

    The weight of the KL term in the loss is min(beta, step / total_anneal_steps). The step counter
    is a weight of the model, so that it is saved and restored with it.
    """

    logged = ("kl", "beta")

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """Settings of KL annealing.

        Attributes:
            beta: Maximum weight of the KL term.
            total_anneal_steps: Steps after which the weight would reach 1; 0: the steps of 857
                epochs, which are the Mult-VAE paper's 200,000 steps on ML-20M, whatever the data's
                size and the batch size.
        """

        beta: float = setting(0.2, "0 or more", search=Range(0.01, 1, log=True))
        total_anneal_steps: int = setting(0, "0 or more")

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        self.trained_steps = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
            name="trained_steps",
        )

    def autoencode(self, x: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs encoder, code and decoder; returns the output and the KL of the code."""
        for layer in self.encoder:
            x = layer(x)
        x, kl = self.code(x, training=training)
        for layer in self.decoder:
            x = layer(x)
        return x, kl

    def kl_weight(self, features) -> tf.Tensor:
        """The current weight of the KL term, float32 scalar.

        Args:
            features: Those of a batch, whose size determines the number of steps of an epoch.
        """
        c = self.config
        steps = tf.cast(c.total_anneal_steps, tf.float32)
        if not c.total_anneal_steps:
            rows = tf.shape(features["user"])[0] * tf.distribute.get_strategy().num_replicas_in_sync
            steps = PASSES_TO_ONE * self.training_rows / tf.cast(rows, tf.float32)
        return tf.minimum(c.beta, tf.cast(self.trained_steps, tf.float32) / steps)

    def loss_parts(self, features, targets, scores):
        """The KL of each row, and the present beta."""
        return {"kl": scores[1], "beta": self.kl_weight(features)}

    def train_step(self, data):
        """Keras' step; increments the step counter."""
        logs = super().train_step(data)
        self.trained_steps.assign_add(1)
        return logs
