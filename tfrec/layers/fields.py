"""Events as sparse vectors: ids, side information and context in one space of codes."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import known_names
from tfrec.schema import TIME_KINDS, DatasetInfo, Field

_DAY = 86_400
_THURSDAY = 3  # 1970-01-01, counted from Monday
_NOT_CODES = ("text", "vector")  # what a sum over codes can not read


def select(info: DatasetInfo, names: Sequence[str]) -> tuple[Field, ...]:
    """The fields of these names; without names: ids, side tables and the event's own fields.

    Raises:
        ValueError: the data has no such field.
    """
    ids = [
        Field("user", "user", "id", info.n_users + 1),
        Field("item", "item", "id", info.n_items + 1),
    ]
    known = {f.name: f for f in [*(ids if info.has_ids else []), *info.fields]}
    usual = [n for n, f in known.items() if f.kind not in (*_NOT_CODES, *TIME_KINDS)]
    for name in names:
        if name not in known:
            raise ValueError(
                f"--set fields: {info.name} has no field {name!r}; " + known_names(name, known)
            )
        if known[name].kind in _NOT_CODES:
            raise ValueError(
                f"--set fields: {name!r} is a {known[name].kind}, which this model does not read"
            )
    return tuple(known[name] for name in names or usual)


def context(fields: Sequence[Field]) -> tuple[str, ...]:
    """What the reader must give with each event for these fields."""
    names = ["time" if f.kind in TIME_KINDS else f.name for f in fields if f.of == "event"]
    return tuple(dict.fromkeys(names))


@keras.saving.register_keras_serializable("tfrec")
class FieldCodes(keras.layers.Layer):
    """An event's fields as codes with weights: the nonzero places of FM's vector x.

    All fields share one space of `size` codes, a field after the other, each with a place 0
    for what training did not know. An id or category weighs 1, each member of a set
    1 / (number of members) and a padding place 0, a number as much as its value. The tables of
    users and items are weights, so that requests carry ids only.

    Args:
        fields: As from `select`.
        n_users: Positions of users.
        n_items: Positions of items.
    """

    def __init__(self, fields: Sequence[Field], n_users: int, n_items: int, **kwargs):
        super().__init__(**kwargs)
        self.fields, self.counts = tuple(fields), {"user": n_users, "item": n_items}
        self.starts, self.size = {}, 0
        for field in self.fields:
            self.starts[field.name] = self.size
            self.size += field.size
        self.lengths = [field.length for field in self.fields]
        self.tables = {}

    def build(self, input_shape=None):
        for field in self.fields:
            if field.of != "event" and field.kind != "id":
                # Position n is for whoever is not known.
                n = self.counts[field.of] + 1
                is_number = field.kind == "number"
                self.tables[field.name] = self.add_weight(
                    shape=(n,) if is_number else (n, field.length),
                    dtype="float32" if field.kind in ("number", "vector") else "int32",
                    initializer="zeros",
                    trainable=False,
                    autocast=False,
                    name=f"table_{field.name}",
                )
        self.built = True

    def unknown(self) -> list[int]:
        """The codes for what training did not know, one a field; a number has none."""
        return [self.starts[field.name] for field in self.fields if field.kind != "number"]

    def assign(self, tables) -> None:
        """Takes the side tables: entries by field, `[n]` or `[n, length]`."""
        for name, weight in self.tables.items():
            entries = tf.reshape(tables[name], [-1, *weight.shape[1:]])
            weight.assign(tf.pad(entries, [[0, 1]] + [[0, 0]] * (len(weight.shape) - 1)))

    def call(self, features):
        """Events -> codes and weights.

        Returns:
            int32 `[batch, width]` in [0, size) and float32 `[batch, width]`; the width is the
            sum of the fields' lengths.
        """
        codes, weights = zip(*(self._field(field, features) for field in self.fields), strict=True)
        return tf.concat(codes, axis=1), tf.concat(weights, axis=1)

    def _field(self, field: Field, features) -> tuple[tf.Tensor, tf.Tensor]:
        entries = self.entries(field, features)
        start = self.starts[field.name]
        if field.kind == "number":
            return tf.fill([tf.size(entries), 1], start), entries[:, None]
        codes = tf.reshape(entries, [-1, field.length])
        if field.kind != "set":
            return codes + start, tf.ones_like(codes, tf.float32)
        member = tf.cast(codes > 0, tf.float32)
        weights = tf.math.divide_no_nan(member, tf.reduce_sum(member, axis=1, keepdims=True))
        return codes + start, weights

    def entries(self, field: Field, features) -> tf.Tensor:
        """A field's own entries, `[batch]` or `[batch, length]`.

        They are int32 codes, float32 of a number or a vector.
        """
        if field.kind in TIME_KINDS:
            return time_code(field, features["time"])
        if field.of == "event":
            return features[field.name]
        positions = features[field.of]
        if field.kind == "id":
            return positions + 1
        known = tf.where(positions >= 0, positions, self.counts[field.of])
        return tf.gather(tf.convert_to_tensor(self.tables[field.name]), known)


class ZeroUnknown(keras.initializers.Initializer):
    """An initializer of `[codes.size, ...]` with 0 in the rows of unknown entries.

    Args:
        start: Of the other rows.
        codes: A `FieldCodes`.
    """

    def __init__(self, start: keras.initializers.Initializer, codes: FieldCodes):
        self.start, self.codes = start, codes

    def __call__(self, shape, dtype=None):
        """The values, `shape`."""
        known = np.ones([shape[0], *[1] * (len(shape) - 1)], bool)
        known[self.codes.unknown()] = False
        return tf.where(known, self.start(shape, dtype), 0)


def time_code(field: Field, time: tf.Tensor) -> tf.Tensor:
    """int32 codes of the weekday, hour or day of `time`, int64 seconds since 1970; 0 is no time."""
    day = time // _DAY
    if field.kind == "weekday":
        code = (day + _THURSDAY) % 7 + 1
    elif field.kind == "hour":
        code = time % _DAY // 3600 + 1
    else:
        code = day - int(field.boundaries[0]) + 1
        code = tf.where((code > 0) & (code < field.size), code, 0)
    return tf.cast(tf.where(time > 0, code, 0), tf.int32)
