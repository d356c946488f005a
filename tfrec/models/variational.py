"""What variational autoencoders share: the mean at test, and a KL term that warms up."""

import dataclasses

import tensorflow as tf

from tfrec.config import Range, Settings, setting
from tfrec.models.base import Recommender

PASSES_TO_ONE = 857  # 200,000 steps of 500 rows over 116,677 rows (Liang et al., ML-20M)


class Variational(Recommender):
    """A model whose `forward` returns (scores, KL), KL float32 `[batch]`.

    A subclass makes `encoder` and `decoder`, lists of layers, and `code`, a `GaussianCode`.

    The loss weighs the KL by beta = min(cap, step / total_anneal_steps). The step counter is
    a weight of the model, so it is saved, restored and resumed with it.
    """

    logged = ("kl", "beta")

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """Settings of the annealing.

        Attributes:
            beta: Cap of the KL term's weight.
            total_anneal_steps: Steps after which beta would reach 1; 0: as many as 857 passes
                over the training rows take, the number of the Mult-VAE paper on ML-20M (it
                wrote 200,000), whatever the size of data and batch.
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
        """`x` through encoder, code and decoder; with it the code's KL."""
        for layer in self.encoder:
            x = layer(x)
        x, kl = self.code(x, training=training)
        for layer in self.decoder:
            x = layer(x)
        return x, kl

    def kl_weight(self, features) -> tf.Tensor:
        """The present beta, float32 scalar.

        Args:
            features: Of a batch of the running step: its size says how many steps a pass has.
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
        """Keras' step, counted."""
        logs = super().train_step(data)
        self.trained_steps.assign_add(1)
        return logs
