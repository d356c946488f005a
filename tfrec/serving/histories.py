"""Histories in a graph: removal of repeats, the newest items, features of a model."""

import tensorflow as tf

from tfrec.schema import PAD
from tfrec.serving import examples
from tfrec.serving.tables import UNKNOWN


def features(positions: tf.Tensor, values: tf.Tensor) -> dict[str, tf.Tensor]:
    """Features of a model of histories, with an unknown user."""
    values = tf.where(positions != PAD, values, 0.0)
    return {"user": tf.fill(tf.shape(positions)[:1], PAD), "items": positions, "values": values}


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


def newest(positions: tf.Tensor, values: tf.Tensor, n: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The last n items of each row and their values, `[batch, n]`, padded on the left.

    Args:
        positions: int32 `[batch, any]`, with padding -1 in any column.
        values: float32 `[batch, any]`.
        n: Number of items.
    """
    known = tf.cast(positions != PAD, tf.int32)
    order = tf.argsort(known, axis=1, stable=True)[:, -n:]
    missing = [[0, 0], [n - tf.shape(order)[1], 0]]
    positions, values = (
        tf.pad(tf.gather(x, order, batch_dims=1), missing, constant_values=padding)
        for x, padding in ((positions, PAD), (values, 0.0))
    )
    return tf.ensure_shape(positions, [None, n]), tf.ensure_shape(values, [None, n])


def history(lists: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
    """Dense items and values of Examples, with as many values as items."""
    items, values = examples.dense(lists["items"]), lists["values"]
    given = tf.sequence_mask(values.row_lengths(), tf.shape(items)[1])
    first = examples.single(values)[:, tf.newaxis]  # as in `HistoryTopK.ratings`
    return {
        "items": items,
        "values": tf.where(given, values.to_tensor(shape=tf.shape(items)), first),
    }
