"""Deep ensembles: Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive
Uncertainty Estimation using Deep Ensembles", NeurIPS 2017.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec import config as config_lib
from tfrec.models.autoencoder import AutoEncoder
from tfrec.models.autorec import AutoRec
from tfrec.models.base import Recommender
from tfrec.models.dcn import DCN
from tfrec.models.deepfm import DeepFM
from tfrec.models.deeprec import DeepRec
from tfrec.models.fm import FM
from tfrec.models.mf import MF
from tfrec.models.sparsefc import SparseFC

MEMBERS: dict[str, type[Recommender]] = {
    "autoencoder": AutoEncoder,
    "autorec": AutoRec,
    "dcn": DCN,
    "deepfm": DeepFM,
    "deeprec": DeepRec,
    "fm": FM,
    "mf": MF,
    "sparsefc": SparseFC,
}


@keras.saving.register_keras_serializable("tfrec")
class Ensemble(Recommender):
    """The mean of `members` models that differ in nothing but where they start and what they drop.

    They see the same batches and are trained side by side on the mean of their losses, each on
    its own prediction; only the predictions are averaged (ratings, or logits of clicks). So each
    member is what it would be alone, with its gradients divided by the number of members, which
    Adam and L-BFGS do not feel.

    Departs from the paper: no adversarial examples, no variance. Members with a training step of
    their own take the plain one (DeepRec's re-feeding is left out).
    """

    @dataclasses.dataclass(frozen=True)
    class Config:
        """What is put together.

        Attributes:
            model: Registry key of the members.
            members: How many.
            settings: The members' settings other than their defaults, as name=value; those of
                several values can not be given.
        """

        model: str = "sparsefc"
        members: int = 4
        settings: tuple[str, ...] = ()

    @classmethod
    def _member(cls, config) -> tuple[type[Recommender], object]:
        """Class and settings of the members."""
        if config.model not in MEMBERS:
            raise ValueError(
                f"--set model={config.model} is no member of an ensemble; "
                + config_lib.known_names(config.model, MEMBERS)
            )
        member = MEMBERS[config.model]
        settings = config_lib.override(member.Config(), config.settings, "--set settings:")
        return member, settings

    @classmethod
    def rows(cls, config) -> str:
        member, settings = cls._member(config)
        return member.rows(settings)

    @classmethod
    def task_for(cls, config) -> str:
        member, settings = cls._member(config)
        return member.task_for(settings)

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        member, settings = self._member(self.config)
        self.reads, self.max_items = member.reads, member.max_items
        self.members = [
            member.create(info, settings, name=f"member_{i}") for i in range(self.config.members)
        ]

    @property
    def context(self) -> tuple[str, ...]:
        """What each event must carry, for members that read events."""
        return self.members[0].context

    def take_tables(self, tables) -> None:
        """Hands the side tables to members that read events."""
        for member in self.members:
            member.take_tables(tables)

    def empty_features(self, batch: int = 1) -> dict[str, tf.Tensor]:
        """The members' empty features."""
        return self.members[0].empty_features(batch)

    def begin_epoch(self, epoch, rows):
        for member in self.members:
            member.begin_epoch(epoch, rows)

    def call(self, features, training=False):
        """What each member's `call` gives, in a tuple."""
        return tuple(member(features, training=training) for member in self.members)

    def objective(self, features, targets, scores):
        """The members' mean."""
        losses = [
            m.objective(features, targets, s) for m, s in zip(self.members, scores, strict=True)
        ]
        return tf.add_n(losses) / len(losses)

    @property
    def losses(self) -> list[tf.Tensor]:
        """The members' regularizers, to be added up to their mean."""
        return [loss / self.config.members for loss in super().losses]

    def score(self, features, items: tf.Tensor | None = None) -> tf.Tensor:
        """The members' mean; as their `score`."""
        some = {} if items is None else {"items": items}
        return self._mean([member.score(features, **some) for member in self.members])

    @staticmethod
    def _mean(scores: list[tf.Tensor]) -> tf.Tensor:
        return tf.add_n(scores) / len(scores)

    def encode(self, features) -> tf.Tensor:
        """The members' codes side by side, for rows by item."""
        return tf.concat([member.encode(features) for member in self.members], axis=1)

    def score_columns(self, codes, columns) -> tf.Tensor:
        """The members' mean; as their `score_columns`."""
        parts = tf.split(codes, len(self.members), axis=1)
        scores = [m.score_columns(c, columns) for m, c in zip(self.members, parts, strict=True)]
        return self._mean(scores)
