"""Measures metrics by user in one pass over the test set, in total and on slices of items.

Two models are compared on data that neither was trained on: a test entry that one model was
trained on is neither a target nor a candidate for both.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.metrics import Report, SavedValues
from tfrec.metrics.slices import of_users
from tfrec.models.base import Recommender
from tfrec.schema import PAD, DatasetInfo
from tfrec.training import batches
from tfrec.training.evaluation import Evaluator, Reported, Tensors

from . import slices

WHOLE = "all"


@dataclasses.dataclass(frozen=True)
class Measured:
    """Results of a model.

    Attributes:
        result: The report's metrics in total.
        values: Values by user for each slice, including `WHOLE`.
        protocol: The protocol.
    """

    result: dict[str, float]
    values: dict[str, SavedValues]
    protocol: str


def measure(
    model: Recommender, data_dir: pathlib.Path, cut: slices.Slices, learned: np.ndarray
) -> Measured:
    """Measures on the test split.

    Args:
        model: A trained model.
        data_dir: Prepared data that fits it.
        cut: Slices.
        learned: Codes (row * n_columns + column) of entries that are not targets, ascending.

    Raises:
        ValueError: no target is left.
    """
    info, task = model.info, model.task_object
    whole = task.new_report(info)
    parts = {name: _Slice(task.new_report(info), cut.items[name]) for name in cut.items}
    evaluator = Evaluator(model, reported=_without(learned, info) if len(learned) else None)
    result = evaluator(batches.read(model, data_dir, "test"), whole, *parts.values())
    values = {WHOLE: _values(whole)}
    if not task.ranks or info.rows == "user":  # else a row is an item
        for name, members in cut.users.items():
            values[name] = of_users(values[WHOLE], np.flatnonzero(members))
    for name, part in parts.items():
        try:
            values[name] = _values(part.report)
        except ValueError:  # no target is on these items
            continue
    values = {name: saved for name, saved in values.items() if len(saved.users)}
    return Measured(result, values, whole.protocol)


def _values(report: Report) -> SavedValues:
    return SavedValues(report.users, report.per_user(), report.protocol)


def _without(learned: np.ndarray, info: DatasetInfo) -> Reported:
    """Removes entries with codes in `learned` from the targets and excludes them from lists."""
    known_codes = tf.constant(learned, tf.int64)

    def is_known(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        code = tf.cast(row, tf.int64) * info.n_columns + tf.cast(column, tf.int64)
        at = tf.searchsorted(known_codes, tf.reshape(code, [-1]))
        found = tf.gather(known_codes, tf.minimum(at, len(learned) - 1))
        return tf.reshape(found, tf.shape(code)) == code

    def reported(features: Tensors, targets: Tensors) -> tuple[Tensors, Tensors]:
        user = features["user"]
        if "item" in features:
            pair = (user, features["item"]) if info.rows == "user" else (features["item"], user)
            return features | {"user": tf.where(is_known(*pair), PAD, user)}, targets
        items = targets["target_items"]
        known = is_known(user[:, tf.newaxis], items) & (items >= 0)
        seen = tf.concat([features["items"], tf.where(known, items, PAD)], axis=1)
        return features | {"items": seen}, targets | {"target_items": tf.where(known, PAD, items)}

    return reported


class _Slice:
    """A report on the targets that are among some items.

    Args:
        report: An empty report.
        members: bool `[n_items]`.
    """

    def __init__(self, report: Report, members: np.ndarray):
        self.report, self.members = report, members

    def update(self, features: Mapping[str, Any], targets: Mapping[str, Any], scores: Any) -> None:
        """Updates the report, without targets on other items."""
        if "item" in features:
            users = self._kept(features["item"], features["user"])
            self.report.update(features | {"user": users}, targets, scores)
        elif self.report.info.rows == "item":
            rows = self._kept(features["user"], features["user"])
            self.report.update(features | {"user": rows}, targets, scores)
        else:
            items = self._kept(targets["target_items"], targets["target_items"])
            self.report.update(features, targets | {"target_items": items}, scores)

    def _kept(self, items: Any, values: Any) -> np.ndarray:
        """`values`, with -1 where the item is not a member or padding."""
        items = np.asarray(items)
        return np.where((items >= 0) & self.members[np.maximum(items, 0)], values, PAD)
