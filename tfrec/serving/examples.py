"""Requests as serialized `tf.train.Example`s.

A server that batches requests pads lists of different lengths; a batch of strings needs no
padding, so that histories of any length can share one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfrec.serving.tables import UNKNOWN

MISSING = {tf.string: UNKNOWN, tf.float32: float("nan"), tf.int64: 0}


def parse_lists(serialized: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
    """Reads lists of raw ids; one that an Example does not hold is empty.

    Args:
        serialized: string `[batch]`.
        names: Of the features.

    Returns:
        string `[batch, longest]`, padded with "", by name.
    """
    spec = {name: tf.io.RaggedFeature(tf.string) for name in names}
    parsed = tf.io.parse_example(serialized, spec)
    return {name: parsed[name].to_tensor(UNKNOWN) for name in names}


def parse_singles(serialized: tf.Tensor, dtypes: Mapping[str, tf.DType]) -> dict[str, tf.Tensor]:
    """Reads features of one value; what is missing or empty is "", NaN or 0.

    Args:
        serialized: string `[batch]`.
        dtypes: string, float32 or int64 by name.

    Returns:
        `[batch]` by name.
    """
    spec = {name: tf.io.RaggedFeature(dtype) for name, dtype in dtypes.items()}
    parsed = tf.io.parse_example(serialized, spec)
    # A feature of fixed length would refuse a list that is there, but empty.
    return {
        name: parsed[name].to_tensor(MISSING[dtype], shape=[None, 1])[:, 0]
        for name, dtype in dtypes.items()
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
