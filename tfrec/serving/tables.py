"""Lookup tables of the lines of a file: raw ids to positions and vice versa."""

import hashlib
import pathlib

import tensorflow as tf

from tfrec.schema import PAD

UNKNOWN = ""  # the raw id of padding, and of empty positions of an answer


def position_table(path: pathlib.Path) -> tf.lookup.StaticHashTable:
    """Raw id -> position (line number in `path` from 0), -1 for unknown ids."""
    lines = Lines(
        path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    return Int32Table(lines)


def line_table(path: pathlib.Path) -> tf.lookup.StaticHashTable:
    """Position -> line of `path`, "" for unknown positions."""
    lines = Lines(
        path, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
    )  # fmt: skip
    return tf.lookup.StaticHashTable(lines, UNKNOWN)


class Lines(tf.lookup.TextFileInitializer):
    """The lines of a file; tables are shared by the content of the file, not by its path.

    TensorFlow names a table after the path. An export would contain it, and two exports with the
    same path would share one table in a process that loads both.
    """

    def __init__(self, path: pathlib.Path, *columns):
        super().__init__(str(path), *columns)
        self._digest = hashlib.sha256(path.read_bytes()).hexdigest()

    @property
    def _shared_name(self) -> str:
        return f"{self._digest}_{self._key_index}_{self._value_index}"


class Int32Table(tf.lookup.StaticHashTable):
    """A table of int64 line numbers, as TensorFlow requires, that returns int32."""

    def __init__(self, initializer):
        super().__init__(initializer, PAD)

    def lookup(self, keys, name=None):
        return tf.cast(super().lookup(keys, name), tf.int32)


def tables_of(owner) -> list[tf.lookup.StaticHashTable]:
    """The tables among an object's attributes, including dicts of tables."""
    values = [x for v in vars(owner).values() for x in (v.values() if isinstance(v, dict) else [v])]
    return [x for x in values if isinstance(x, tf.lookup.StaticHashTable)]
