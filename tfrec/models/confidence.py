"""Values of implicit feedback as confidence: Hu, Koren and Volinsky, "Collaborative Filtering for
Implicit Feedback Datasets", ICDM 2008.
"""

import dataclasses
from typing import Any

import tensorflow as tf

from tfrec.config import Settings, setting
from tfrec.schema import DatasetInfo

CHOICES = ("auto", "none", "linear", "log", "value")


@dataclasses.dataclass(frozen=True)
class Confidence(Settings):
    """Settings of models that can weight an interaction by its value r.

    The weight is c(r) / c(1), so that an interaction of value 1 always has weight 1.

    Attributes:
        confidence: "none": c(r) = 1; "linear": 1 + rate r; "log": 1 + rate log(1 + r), both as in
            Hu et al., with values below 0 counted as 0; "value": r; "auto": "log" for counts and
            sums of repeated interactions (`--data duplicates`), else "none".
        rate: See `confidence`.
    """

    confidence: str = setting("auto", choices=CHOICES, later=True)
    rate: float = setting(1.0, "more than 0", later=True)

    def weigh(self, values: tf.Tensor) -> tf.Tensor:
        """Weights c(r) / c(1) of values r, of the same shape and dtype."""
        values = tf.convert_to_tensor(values)
        if self.confidence == "none":
            return tf.ones_like(values)
        return self._c(values) / self._c(tf.ones([], values.dtype))

    def _c(self, values: tf.Tensor) -> tf.Tensor:
        if self.confidence == "value":
            return values
        values = tf.maximum(values, 0)
        return 1 + self.rate * (tf.math.log1p(values) if self.confidence == "log" else values)


class ConfidenceWeighted:
    """Mixin of a `Recommender` whose `Config` is a `Confidence`."""

    config: Any
    info: DatasetInfo

    @classmethod
    def settled(cls, config: Any, info: DatasetInfo) -> Any:
        """Replaces `confidence="auto"`: by "log" where values are counts or sums, else by "none".

        Other values may be anything: a high rating, for example, is no more certain than a low one.
        """
        if config.confidence != "auto":
            return config
        counted = info.config.get("duplicates") in ("sum", "count")
        return dataclasses.replace(config, confidence="log" if counted else "none")

    @property
    def uses_values(self) -> bool:
        """Whether values of interactions matter."""
        return self.config.confidence != "none"

    @property
    def usual_value(self) -> float:
        """The value nearest to 1 on the data's scale, for items that a request gives without one.

        Where values do not matter it is the highest one, as in other models.
        """
        if not self.uses_values:
            return self.info.rating_max
        return min(max(1.0, self.info.rating_min), self.info.rating_max)
