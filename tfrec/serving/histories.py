"""Histories in a graph: removal of repeats, the newest items, features of a model."""

import tensorflow as tf

from tfrec.schema import NO_TIME, PAD
from tfrec.serving import examples
from tfrec.serving.tables import UNKNOWN


def features(positions: tf.Tensor, values: tf.Tensor) -> dict[str, tf.Tensor]:
    """Features of a model of histories, with an unknown user."""
    values = tf.where(positions != PAD, values, 0.0)
    return {"user": tf.fill(tf.shape(positions)[:1], PAD), "items": positions, "values": values}


def time_features(positions: tf.Tensor, times: tf.Tensor, ask_time: tf.Tensor) -> dict:
    """The features of a model that reads times; 0 is an unknown time in requests.

    Args:
        positions: int32 `[batch, length]`, padding -1.
        times: int64 `[batch, length]`, seconds since 1970.
        ask_time: int64 `[batch]`, likewise.
    """
    unknown = tf.constant(NO_TIME, tf.int64)
    return {
        "times": tf.where((positions == PAD) | (times == 0), unknown, times),
        "ask_time": tf.where(ask_time == 0, unknown, ask_time),
    }


def as_long(entries: tf.Tensor, length: tf.Tensor, missing: float) -> tf.Tensor:
    """The first `length` entries of each row, `[batch, length]`.

    Where there are fewer, the first entry of the row follows, with which a server that batches
    pads them; a row without any has `missing`.
    """
    first = tf.pad(entries, [[0, 0], [0, 1]], constant_values=missing)[:, :1]
    rest = tf.repeat(first, tf.maximum(0, length - tf.shape(entries)[1]), axis=1)
    return tf.concat([entries, rest], axis=1)[:, :length]


def no_lists(like: tf.Tensor) -> dict[str, tf.Tensor]:
    """Empty `exclude` and `allow` for as many rows as `like` has: no restrictions."""
    empty = tf.fill([tf.shape(like)[0], 0], UNKNOWN)
    return {"exclude": empty, "allow": empty}


def without_repeats(positions: tf.Tensor) -> tf.Tensor:
    """Pads all but the first of equal positions in each row, int32 `[batch, length]`."""
    order = tf.argsort(positions, axis=1, stable=True)
    ordered = tf.gather(positions, order, batch_dims=1)
    repeated = tf.concat(
        [tf.zeros_like(ordered[:, :1], tf.bool), ordered[:, 1:] == ordered[:, :-1]], axis=1
    )
    back = tf.argsort(order, axis=1)
    return tf.where(tf.gather(repeated, back, batch_dims=1), PAD, positions)


def newest(n: int, positions: tf.Tensor, *more: tf.Tensor) -> list[tf.Tensor]:
    """The last n items of each row and what belongs to them, `[batch, n]`, padded on the left.

    Args:
        n: Number of items.
        positions: int32 `[batch, any]`, with padding -1 in any column.
        more: Tensors of the same shape, padded with 0.
    """
    known = tf.cast(positions != PAD, tf.int32)
    order = tf.argsort(known, axis=1, stable=True)[:, -n:]
    missing = [[0, 0], [n - tf.shape(order)[1], 0]]
    found = [tf.gather(x, order, batch_dims=1) for x in (positions, *more)]
    paddings = [PAD, *[0] * len(more)]
    found = [tf.pad(x, missing, constant_values=p) for x, p in zip(found, paddings, strict=True)]
    return [tf.ensure_shape(x, [None, n]) for x in found]


def history(lists: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
    """Dense items of Examples, and as many values, and times where they are read."""
    items = examples.dense(lists["items"])
    found = {"items": items}
    for name in (name for name in ("values", "times") if name in lists):
        entries = lists[name]
        given = tf.sequence_mask(entries.row_lengths(), tf.shape(items)[1])
        first = examples.single(entries)[:, tf.newaxis]  # as in `as_long`
        found[name] = tf.where(given, entries.to_tensor(shape=tf.shape(items)), first)
    return found
