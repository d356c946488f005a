"""Events as sparse vectors: ids, side information and context encoded in one vocabulary."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import known_names
from tfrec.schema import TIME_KINDS, DatasetInfo, Field

_DAY = 86_400
_THURSDAY = 3  # 1970-01-01, counted from Monday
_NOT_CODES = ("text", "vector")  # kinds without codes


def select(info: DatasetInfo, names: Sequence[str]) -> tuple[Field, ...]:
    """The fields with these names; by default ids, side tables and the event's own fields.

    Raises:
        ValueError: the data has no such field, or it has no codes.
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
    """Names of the context features that events must carry for these fields."""
    names = ["time" if f.kind in TIME_KINDS else f.name for f in fields if f.of == "event"]
    return tuple(dict.fromkeys(names))


@keras.saving.register_keras_serializable("tfrec")
class FieldCodes(keras.layers.Layer):
    """Encodes an event's fields as codes with weights: the nonzero entries of FM's vector x.

    All fields share one vocabulary of `size` codes, field after field; the first code of each field
    stands for unknown values. An id or category has weight 1, each member of a set
    1 / (number of members), padding 0, and a number its value. The side tables of users and items
    are weights of the layer, so that requests carry ids only.

    Args:
        fields: Fields, as `select` returns them.
        n_users: Number of users.
        n_items: Number of items.
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
                # The last row is for unknown users or items.
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
        """The codes of unknown values, one for each field; a number has none."""
        return [self.starts[field.name] for field in self.fields if field.kind != "number"]

    def assign(self, tables) -> None:
        """Sets the side tables: entries by field name, `[n]` or `[n, length]`."""
        for name, weight in self.tables.items():
            entries = tf.reshape(tables[name], [-1, *weight.shape[1:]])
            weight.assign(tf.pad(entries, [[0, 1]] + [[0, 0]] * (len(weight.shape) - 1)))

    def call(self, features):
        """Encodes a batch of events.

        Returns:
            Codes, int32 `[batch, width]` in [0, size), and their weights, float32 `[batch, width]`;
            the width is the sum of the fields' lengths.
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
        """A field's entries, `[batch]` or `[batch, length]`: int32 codes within the field.

        Those of a number or a vector are float32 values.
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
    """Initializes a table `[codes.size, ...]`, with 0 in the rows of unknown values.

    Args:
        start: Initializer of the other rows.
        codes: The layer whose codes are the table's rows.
    """

    def __init__(self, start: keras.initializers.Initializer, codes: FieldCodes):
        self.start, self.codes = start, codes

    def __call__(self, shape, dtype=None):
        """Returns a tensor of this shape."""
        known = np.ones([shape[0], *[1] * (len(shape) - 1)], bool)
        known[self.codes.unknown()] = False
        return tf.where(known, self.start(shape, dtype), 0)


def time_code(field: Field, time: tf.Tensor) -> tf.Tensor:
    """Codes of the weekday, hour or day of a time.

    Args:
        field: A field of one of these kinds.
        time: int64, seconds since 1970 (UTC); 0 or less: unknown.

    Returns:
        int32 of the same shape; 0 is unknown, or a day outside the field's range.
    """
    day = time // _DAY
    if field.kind == "weekday":
        code = (day + _THURSDAY) % 7 + 1
    elif field.kind == "hour":
        code = time % _DAY // 3600 + 1
    else:
        code = day - int(field.boundaries[0]) + 1
        code = tf.where((code > 0) & (code < field.size), code, 0)
    return tf.cast(tf.where(time > 0, code, 0), tf.int32)
