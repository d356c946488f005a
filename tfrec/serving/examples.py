"""Requests as serialized `tf.train.Example`s.

A server that batches requests pads lists of different lengths; a batch of strings needs no
padding, so that histories of any length can share one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfrec.serving.tables import UNKNOWN


def parse(
    serialized: tf.Tensor, lists: Sequence[str] = (), singles: Sequence[str] = ()
) -> dict[str, tf.Tensor]:
    """Reads raw ids; what an Example does not hold is "".

    Args:
        serialized: string `[batch]`.
        lists: Features of any length.
        singles: Features of one value at most.

    Returns:
        string `[batch, longest]` for lists, padded with "", and `[batch]` for singles.
    """
    spec = {name: tf.io.RaggedFeature(tf.string) for name in lists}
    spec |= {name: tf.io.FixedLenFeature([], tf.string, UNKNOWN) for name in singles}
    parsed = tf.io.parse_example(serialized, spec)
    return {name: parsed[name].to_tensor(UNKNOWN) for name in lists} | {
        name: parsed[name] for name in singles
    }


def parse_values(serialized: tf.Tensor, items: tf.Tensor, missing: float) -> tf.Tensor:
    """Reads the values of `items`, float32 of their shape; `missing` where there are too few."""
    spec = {"values": tf.io.RaggedFeature(tf.float32)}
    values = tf.io.parse_example(serialized, spec)["values"]
    return values.to_tensor(missing, shape=tf.shape(items))


def serialize(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Rows as serialized Examples.

    Args:
        columns: Arrays of strings, integers or floats, `[batch]` or `[batch, length]`, by name.
            Padding "" is left out, and the `values` beside padding of `items`.

    Returns:
        bytes `[batch]`, dtype object (NumPy's own strings would lose zeros at the end).
    """
    n = len(next(iter(columns.values())))
    rows = np.empty(n, object)
    for row in range(n):
        cells = {name: np.atleast_1d(column[row]) for name, column in columns.items()}
        if "values" in cells:
            cells["values"] = cells["values"][cells["items"] != UNKNOWN]
        features = {name: _feature(cell) for name, cell in cells.items()}
        example = tf.train.Example(features=tf.train.Features(feature=features))
        rows[row] = example.SerializeToString(deterministic=True)
    return rows


def _feature(cell: np.ndarray) -> tf.train.Feature:
    if cell.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=cell))
    if cell.dtype.kind in "iu":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=cell))
    texts = [str(text).encode() for text in cell if text != UNKNOWN]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
