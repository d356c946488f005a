"""Lookup tables over the lines of a file: raw ids to positions, and back."""

import hashlib
import pathlib

import tensorflow as tf

from tfrec.schema import PAD

UNKNOWN = ""  # the raw id of padding, and of a place that no item fills


def position_table(path: pathlib.Path) -> tf.lookup.StaticHashTable:
    """Raw id -> position (its line in `path`), -1 for others."""
    lines = Lines(
        path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    return Int32Table(lines)


def line_table(path: pathlib.Path) -> tf.lookup.StaticHashTable:
    """Position -> the line of `path`, "" for others."""
    lines = Lines(
        path, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
    )  # fmt: skip
    return tf.lookup.StaticHashTable(lines, UNKNOWN)


class Lines(tf.lookup.TextFileInitializer):
    """A file's lines; its table is shared by what the file holds, not by where it lies.

    TensorFlow names a table by the file's path, which an export then shows, and by which two
    exports of one path would share a table in a process that loads both.
    """

    def __init__(self, path: pathlib.Path, *columns):
        super().__init__(str(path), *columns)
        self._digest = hashlib.sha256(path.read_bytes()).hexdigest()

    @property
    def _shared_name(self) -> str:
        return f"{self._digest}_{self._key_index}_{self._value_index}"


class Int32Table(tf.lookup.StaticHashTable):
    """A table that counts lines in int64, as TensorFlow demands, and answers in int32."""

    def __init__(self, initializer):
        super().__init__(initializer, PAD)

    def lookup(self, keys, name=None):
        return tf.cast(super().lookup(keys, name), tf.int32)


def tables_of(owner) -> list[tf.lookup.StaticHashTable]:
    """The tables among an object's attributes, dicts of tables included."""
    values = [x for v in vars(owner).values() for x in (v.values() if isinstance(v, dict) else [v])]
    return [x for x in values if isinstance(x, tf.lookup.StaticHashTable)]
