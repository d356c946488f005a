"""Values of implicit data as confidence: Hu, Koren and Volinsky, "Collaborative Filtering for
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
    """Settings of models that can weigh an interaction by its value r.

    It counts as c(r) / c(1): one of value 1 counts as 1 whatever is set.

    Attributes:
        confidence: "none": c is 1; "linear": 1 + rate r; "log": 1 + rate log(1 + r), both Hu et
            al.'s, values below 0 as 0; "value": r itself; "auto": see `Weighing.settled`.
        rate: See `confidence`.
    """

    confidence: str = setting("auto", choices=CHOICES, later=True)
    rate: float = setting(1.0, "more than 0", later=True)

    @classmethod
    def renewed(cls, fields):
        """There was a version with `binary`: values count for nothing (true), or as they are."""
        found = dict(fields)
        if "binary" in found:
            found["confidence"] = "none" if found.pop("binary") else "value"
        return found

    def weigh(self, values: tf.Tensor) -> tf.Tensor:
        """c(r) / c(1) of values r, of the same shape and dtype."""
        values = tf.convert_to_tensor(values)
        if self.confidence == "none":
            return tf.ones_like(values)
        return self._c(values) / self._c(tf.ones([], values.dtype))

    def _c(self, values: tf.Tensor) -> tf.Tensor:
        if self.confidence == "value":
            return values
        values = tf.maximum(values, 0)
        return 1 + self.rate * (tf.math.log1p(values) if self.confidence == "log" else values)


class Weighing:
    """Part of a `Recommender` whose `Config` is a `Confidence`."""

    config: Any
    info: DatasetInfo

    @classmethod
    def settled(cls, config: Any, info: DatasetInfo) -> Any:
        """Decides `confidence="auto"`: "log" where values were counted or summed up, else "none".

        Values of other data may be anything, such as ratings, of which a high one is no more sure.
        """
        if config.confidence != "auto":
            return config
        counted = info.config.get("duplicates") in ("sum", "count")
        return dataclasses.replace(config, confidence="log" if counted else "none")

    @property
    def uses_values(self) -> bool:
        """Whether values count for anything."""
        return self.config.confidence != "none"

    @property
    def usual_value(self) -> float:
        """1, or what is nearest to it on the data's scale: an item that is just named.

        Where values count for nothing it does not matter, and is the highest, as elsewhere.
        """
        if not self.uses_values:
            return self.info.rating_max
        return min(max(1.0, self.info.rating_min), self.info.rating_max)
