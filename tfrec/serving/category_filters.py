"""Filters of a request by the items' categories: `allow_genres`, `block_genres`."""

import pathlib

import numpy as np
import tensorflow as tf

from tfrec.data import fields, vocabulary
from tfrec.schema import DatasetInfo, Field, vocabulary_file
from tfrec.serving.tables import UNKNOWN, position_table

KINDS = ("category", "set")


class CategoryFilter:
    """Selects items by a request's categories of one field.

    Args:
        field: An item field of the kind category or set.
        entries: The items' codes, int32 `[n_items]` or `[n_items, length]`; 0 is none.
        file: Its vocabulary.

    Attributes:
        allow: Name of the input with categories of which an item must have at least one.
        block: Name of the input with categories of which an item must have none.
    """

    def __init__(self, field: Field, entries: np.ndarray, file: pathlib.Path):
        self.allow, self.block = f"allow_{field.name}", f"block_{field.name}"
        self.size, self.length, self.file = field.size, field.length, file
        entries = entries.reshape(len(entries), -1)
        self.entries = tf.Variable(entries, trainable=False, name=f"filter_{field.name}")
        self.codes = position_table(file)

    def passes(self, allow: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
        """Which items pass the filter in each row, bool `[batch, n_items]`.

        Args:
            allow: string `[batch, any]`, padding ""; a row of padding allows all.
            block: string `[batch, any]`, padding "".
        """
        unlimited = ~tf.reduce_any(allow != UNKNOWN, axis=1, keepdims=True)
        return (unlimited | self._have(allow)) & ~self._have(block)

    def _have(self, categories: tf.Tensor) -> tf.Tensor:
        """Which items have one of the categories, bool `[batch, n_items]`."""
        marks = tf.one_hot(self.codes.lookup(categories) + 1, self.size, True, False)
        marks = tf.reduce_any(marks, axis=1) & (tf.range(self.size) > 0)
        return tf.reduce_any(tf.gather(marks, self.entries, axis=1), axis=2)

    def samples(self, n: int) -> dict[str, np.ndarray]:
        """Sample inputs of n rows: every third allows some categories, every third blocks one."""
        known = vocabulary.read(self.file)
        allow = [[*known[:2], "no such"] if row % 3 == 1 else [UNKNOWN] * 3 for row in range(n)]
        block = [[known[-1]] if row % 3 == 2 else [UNKNOWN] for row in range(n)]
        width = max(map(len, allow))
        allow = [row + [UNKNOWN] * (width - len(row)) for row in allow]
        return {self.allow: np.array(allow), self.block: np.array(block)}


def filters_of(data_dir: pathlib.Path, info: DatasetInfo) -> list[CategoryFilter]:
    """A filter for each category or set of the items."""
    wanted = [f for f in info.fields if f.of == "item" and f.kind in KINDS and f.size > 1]
    if not wanted:
        return []
    tables = fields.read(data_dir)
    return [CategoryFilter(f, tables[f.name], data_dir / vocabulary_file(f.name)) for f in wanted]
