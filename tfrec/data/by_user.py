"""Reads rows of users from data that is stored by user or by item."""

import pathlib

import numpy as np
import tensorflow as tf

from tfrec.data import inputs
from tfrec.schema import PAD, DatasetInfo


def histories(
    data_dir: str | pathlib.Path, info: DatasetInfo, split: str, batch_size: int
) -> tf.data.Dataset:
    """`inputs.histories` with the last batch filled, and always one row a user.

    Data stored by item is transposed in memory, which takes about 16 bytes a rating.

    Args:
        data_dir: A prepared directory.
        info: Its info.
        split: As for `inputs.histories`.
        batch_size: Users a batch.
    """
    if info.rows == "user":
        return inputs.histories(data_dir, info, split, batch_size, fill=True)
    # "validation" and "test" have no row for an item without targets.
    validated = split == "test" and "validation" in info.test_history
    before = {"validation": "train", "test": "train+validation" if validated else "train"}
    seen = _entries(data_dir, info, before.get(split, split), "items", "values", 0)
    held_out = _entries(data_dir, info, split, "target_items", "target_values", 1)
    users = np.unique(held_out[0])
    batches = [users[i : i + batch_size] for i in range(0, len(users), batch_size)]

    def generate():
        for batch in batches:
            filled = np.pad(batch, (0, batch_size - len(batch)), constant_values=PAD)
            (items, values), (targets, ratings) = (_padded(x, filled) for x in (seen, held_out))
            yield (
                {"user": filled.astype(np.int32), "items": items, "values": values},
                {"target_items": targets, "target_values": ratings},
            )

    rows = tf.TensorSpec([batch_size, None], tf.int32), tf.TensorSpec([batch_size, None])
    features = {"user": tf.TensorSpec([batch_size], tf.int32), "items": rows[0], "values": rows[1]}
    spec = (features, {"target_items": rows[0], "target_values": rows[1]})
    return tf.data.Dataset.from_generator(generate, output_signature=spec)


def _entries(
    data_dir: str | pathlib.Path, info: DatasetInfo, split: str, items: str, values: str, which: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and values of a split's input (0) or targets (1), by user."""
    parts = []
    for batch in inputs.histories(data_dir, info, split, 512, fill=True):
        columns, ratings = batch[which][items].numpy(), batch[which][values].numpy()
        row, at = np.nonzero(columns >= 0)
        parts.append((columns[row, at], batch[0]["user"].numpy()[row], ratings[row, at]))
    user, item, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(user, kind="stable")
    return user[order], item[order], value[order]


def _padded(
    entries: tuple[np.ndarray, np.ndarray, np.ndarray], users: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Items (padding -1) and values (padding 0) of users, `[n, longest]` each."""
    owner, item, value = entries
    starts, stops = (np.searchsorted(owner, users, side) for side in ("left", "right"))
    positions = np.arange(max(1, (stops - starts).max())) + starts[:, np.newaxis]
    real = positions < stops[:, np.newaxis]
    positions = np.where(real, positions, 0)
    return np.where(real, item[positions], PAD), np.where(real, value[positions], np.float32(0))
