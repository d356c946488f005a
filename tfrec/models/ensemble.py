"""A weighted sum of trained models, as one model."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrec import config as config_lib
from tfrec.config import Settings, setting
from tfrec.models import registry
from tfrec.models.base import Recommender
from tfrec.schema import DatasetInfo

TASKS = ("rating", "ranking")  # of models that can be combined


@keras.saving.register_keras_serializable("tfrec")
class Ensemble(Recommender):
    """score = sum_m w_m s_m, of members m that were trained on the same users and items.

    Of ratings s_m is the member's prediction, clipped to the range of ratings; of rankings it is
    its score less the row's mean, divided by the row's standard deviation over all items.

    Lists of predicted ratings are ordered by the same sum of the members' own orders.

    Where all members score histories, so does the ensemble. Where one has weights of known users
    it is asked by user, and `reads` is "events"; then only serving can score (`members` differ in
    what they read).

    `tfrec.ensemble` makes one; it is not trained. The members' weights are saved with it.
    """

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """What an ensemble is made of; the tuples are of equal length.

        Attributes:
            runs: The members' run directories.
            data_dirs: The prepared data of each.
            weights: Of each.
            combines: "rating" or "ranking", the members' task.
        """

        runs: tuple[str, ...] = ()
        data_dirs: tuple[str, ...] = ()
        weights: tuple[float, ...] = ()
        combines: str = setting("rating", choices=TASKS)

    def __init__(
        self, info: DatasetInfo, config: Any, members: Sequence[Recommender], **kwargs: Any
    ):
        super().__init__(info, config, **kwargs)
        self.members = list(members)
        self.reads = "events" if any(map(needs_user, members)) else "histories"
        self.reads_times = any(member.reads_times for member in members)
        self.shares = self.add_weight(
            (len(members),), "zeros", trainable=False, autocast=False, name="shares"
        )
        self.built = True

    @classmethod
    def of(cls, members: Sequence[Recommender], config: Any) -> "Ensemble":
        """An ensemble of models.

        Args:
            members: Trained models of the same users and items.
            config: Its settings.
        """
        made = cls(members[base_of(members)].info, config, members)
        made.weigh(config.weights)
        made.list_order.counts.assign(members[0].list_order.counts)
        made.list_order.recent.assign(members[0].list_order.recent)
        return made

    @classmethod
    def create(cls, info: DatasetInfo, config: Any = None, **kwargs: Any) -> "Ensemble":
        """An ensemble is not trained.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "an ensemble is made of finished runs, not trained: `tfrec ensemble --runs=A,B "
            "--run_dir=C`, or tfrec.ensemble([a, b], path)"
        )

    @classmethod
    def task_for(cls, config):
        return config.combines

    def weigh(self, weights: Sequence[float]) -> None:
        """Sets the members' weights, and with them the order of lists of predicted ratings."""
        self.shares.assign(weights)
        self.config = dataclasses.replace(self.config, weights=tuple(weights))
        order, parts = self.list_order, [member.list_order for member in self.members]
        if order.scale:
            order.vectors.assign(parts[0].vectors)
            for name in ("weight", "choice"):
                own = zip(weights, (getattr(part, name) for part in parts), strict=True)
                getattr(order, name).assign(sum(w * float(x.numpy()) for w, x in own))

    @property
    def uses_values(self):
        return any(member.uses_values for member in self.members)

    @property
    def usual_value(self):
        """That of the first member to which values count."""
        return next((m.usual_value for m in self.members if m.uses_values), self.info.rating_max)

    def call(self, features, training=False):
        """The sum for histories, `[batch, n_items]`."""
        return self.combined([member.score(features) for member in self.members])

    def combined(self, scores: Sequence[tf.Tensor]) -> tf.Tensor:
        """The sum of the members' scores, float32 `[batch, n]` each.

        Rankings: n is the number of all items.
        """
        shares = tf.unstack(tf.convert_to_tensor(self.shares))
        return tf.add_n([w * self._comparable(s) for w, s in zip(shares, scores, strict=True)])

    def _comparable(self, scores: tf.Tensor) -> tf.Tensor:
        if self.task == "rating":
            return self.task_object.predictions(scores, self.info)
        mean, variance = tf.nn.moments(scores, axes=[1], keepdims=True)
        return tf.math.divide_no_nan(scores - mean, tf.sqrt(variance))

    def get_config(self):
        members = [[registry.name_of(type(m)), m.get_config()] for m in self.members]
        return {**super().get_config(), "members": members}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The inverse of `get_config`; the members come back built."""
        fields = dict(config)
        members = [registry.model_class(n).from_config(c) for n, c in fields.pop("members")]
        info = DatasetInfo.from_dict(fields.pop("info"))
        settings = config_lib.from_dict(cls.Config, fields.pop("config"))
        return cls(info, settings, members, **fields)


def needs_user(model: Recommender) -> bool:
    """Whether a model cannot score histories, only users that it knows."""
    return model.reads == "events" or model.info.rows == "item"


def base_of(members: Sequence[Recommender]) -> int:
    """The position of the member whose data an ensemble uses: the first with rows by user."""
    return next((i for i, member in enumerate(members) if member.info.rows == "user"), 0)
