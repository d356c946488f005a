"""EASE and RecVAE combined; see `weightedease` and `recvae` for the papers."""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import Range, setting
from tfrec.models.recvae import RecVAE
from tfrec.models.weightedease import WeightedEASE


@keras.saving.register_keras_serializable("tfrec")
class EASEVAE(RecVAE):
    """Ranks by log softmax(RecVAE's logits) + linear_weight * (weighted EASE's score).

    The linear model is solved in closed form when training begins; RecVAE is trained independently
    of it. On held-out users of ML-1M the combination is better than each alone. RecVAE's term is a
    log-probability and EASE's is close to a probability, so that one `linear_weight` fits users
    with few and with many items.
    """

    @dataclasses.dataclass(frozen=True)
    class Config(RecVAE.Config):
        """RecVAE's settings and weighted EASE's.

        Attributes:
            linear_weight: Weight of the linear model's scores.
            regularization: As in `WeightedEASE`.
            activity: As in `WeightedEASE`.
            ridge: As in `WeightedEASE`.
            discount: As in `WeightedEASE`.
        """

        linear_weight: float = setting(30.0, "0 or more", search=Range(1, 100, log=True))
        regularization: float = setting(500.0, "0 or more", search=Range(10, 5000, log=True))
        activity: float = setting(0.5, "0 or more", search=Range(0, 1))
        ridge: float = setting(0.5, "0 or more", search=Range(0, 1))
        discount: float = setting(0.2, "0 or more", search=Range(0, 0.5))

    instead = "ials"

    @classmethod
    def memory(cls, info, config, train):
        """The sum for both models."""
        linear = WeightedEASE.memory(info, cls._of_linear(config), train)
        return super().memory(info, config, train) + linear

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        self.linear = WeightedEASE.create(info, self._of_linear(self.config))

    @staticmethod
    def _of_linear(config: "EASEVAE.Config") -> WeightedEASE.Config:
        """The settings of the linear model."""
        names = ("regularization", "activity", "ridge", "discount")
        settings = {name: getattr(config, name) for name in names}
        return WeightedEASE.Config(**settings, confidence="none")

    def call(self, features, training=False):
        """Combined scores, float32 `[batch, n_items]`."""
        deep = tf.nn.log_softmax(tf.cast(super().call(features, training), tf.float32))
        return deep + self.config.linear_weight * self.linear.score(features)

    def begin_epoch(self, epoch, rows):
        """As in RecVAE; before the first epoch it also solves the linear model."""
        super().begin_epoch(epoch, rows)
        if epoch == 0:
            self.linear.fit(rows)
