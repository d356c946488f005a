"""One pass over the test set: per-user values of the whole and of slices of items.

Two models are compared on what neither has learned: a test entry that the other model was
trained on is no target for either, and is not listed either.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfrec import metrics, ranking
from tfrec.data import inputs
from tfrec.metrics import SavedValues
from tfrec.models.base import Recommender
from tfrec.schema import PAD, DatasetInfo

from . import slices

WHOLE = "all"
_BATCH = 512
_EVENTS = 8192


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a model reached.

    Attributes:
        result: The report's metrics on the whole.
        values: Per-user values by slice, `WHOLE` among them.
        protocol: How it was measured.
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
        data_dir: Prepared data it fits.
        cut: Slices.
        learned: Codes (row * n_columns + column) of entries that are no targets, rising.

    Raises:
        ValueError: no target is left.
    """
    info = model.info
    whole = metrics.report_for(model.task, info)
    parts = {name: metrics.report_for(model.task, info) for name in cut.items}
    score = tf.function(model.score, reduce_retracing=True)
    for features, targets in _batches(model, data_dir):
        scores = score(features).numpy()
        features, targets = _numpy(features), _numpy(targets)
        features, targets = _without(features, targets, learned, info)
        if whole.depth:
            _, top = ranking.top_k(tf.constant(scores), tf.constant(features["items"]), whole.depth)
            scores = top.numpy()
        whole.update(features, targets, scores)
        for name, report in parts.items():
            report.update(*_only(features, targets, cut.items[name], info), scores)
    values = {WHOLE: _values(whole)}
    if model.task != "ranking" or info.rows == "user":  # else a row is an item
        for name, members in cut.users.items():
            values[name] = _of_users(values[WHOLE], members)
    for name, report in parts.items():
        try:
            values[name] = _values(report)
        except ValueError:  # no target is on these items
            continue
    values = {name: saved for name, saved in values.items() if len(saved.users)}
    return Measured(whole.result(), values, whole.protocol)


def _batches(model: Recommender, data_dir: pathlib.Path) -> tf.data.Dataset:
    if model.reads == "histories" or model.task == "ranking":
        return inputs.histories(data_dir, model.info, "test", _BATCH, by_length=model.max_items)
    return inputs.events(data_dir, model.info, "test", _EVENTS, context=model.context)


def _numpy(tensors: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _values(report) -> SavedValues:
    return SavedValues(report.users, report.per_user(), report.protocol)


def _of_users(saved: SavedValues, members: np.ndarray) -> SavedValues:
    picked = members[saved.users]
    values = {name: column[picked] for name, column in saved.values.items()}
    return SavedValues(saved.users[picked], values, saved.protocol)


def _without(features: dict, targets: dict, learned: np.ndarray, info: DatasetInfo):
    """Takes the entries with codes in `learned` out of the targets; lists must not hold them."""
    if not len(learned):
        return features, targets
    if "item" in features:
        user, item = features["user"].astype(np.int64), features["item"]
        row, column = (user, item) if info.rows == "user" else (item, user)
        known = np.isin(row * info.n_columns + column, learned)
        return features | {"user": np.where(known, PAD, features["user"])}, targets
    items = targets["target_items"]
    codes = features["user"].astype(np.int64)[:, None] * info.n_columns + items
    known = np.isin(codes, learned) & (items >= 0)
    seen = np.concatenate([features["items"], np.where(known, items, PAD)], axis=1)
    return features | {"items": seen}, targets | {"target_items": np.where(known, PAD, items)}


def _only(features: dict, targets: dict, members: np.ndarray, info: DatasetInfo):
    """Takes all targets but those on some items out."""
    if "item" in features:
        item = features["item"]
        return features | {
            "user": np.where(members[np.maximum(item, 0)], features["user"], PAD)
        }, targets
    if info.rows == "item":
        rows = features["user"]
        return features | {"user": np.where(members[np.maximum(rows, 0)], rows, PAD)}, targets
    items = targets["target_items"]
    kept = np.where(members[np.maximum(items, 0)], items, PAD)
    return features, targets | {"target_items": kept}
