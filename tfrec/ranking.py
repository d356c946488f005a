"""Strikes out what a row has seen and picks its top k: for evaluation AND for serving.

Core TensorFlow operations only, so that the same function runs eagerly, inside
`tf.function`, under a distribution strategy and in an exported SavedModel.

Ties. `tf.math.top_k` puts equal scores in the order of their positions. Where positions
follow popularity, or the target was put first, that rule hands a constant scorer hits it
did not earn. Here equal scores are ordered by a fixed hash of the item's position and of
what the row has seen: no target and no vocabulary order enters, rows with different
histories get different orders (rows with equal ones share theirs), and the same request
always gets the same answer, whatever the batch around it.
"""

import tensorflow as tf

_LOW_32_BITS = 0xFFFFFFFF
_ODD_1 = 0x1E3779B97F4A7C15  # odd 61-bit multipliers: they spread neighbouring positions
_ODD_2 = 0x1F58476D1CE4E5B9


def strike_out(scores: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Sets the scores of seen items to minus infinity.

    Args:
        scores: `[batch, n]`, any float type.
        seen: `[batch, L]` int positions, padded with -1. Positions outside `[0, n)` are
            ignored, duplicates are harmless, L may be 0.

    Returns:
        `[batch, n]` float32.
    """
    scores = tf.cast(scores, tf.float32)
    seen = tf.convert_to_tensor(seen)
    known = _known(seen, tf.shape(scores)[1])
    rows = tf.broadcast_to(tf.range(tf.shape(seen)[0])[:, tf.newaxis], tf.shape(seen))
    places = tf.stack([rows, tf.where(known, tf.cast(seen, tf.int32), 0)], axis=-1)
    # Padding must point somewhere: it takes the minimum of item 0 and infinity.
    bounds = tf.where(known, -float("inf"), float("inf"))
    return tf.tensor_scatter_nd_min(scores, places, bounds)


def top_k(scores: tf.Tensor, seen: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best items of each row that it has not seen, best first.

    Equal scores come in a fixed pseudo-random order (see the module's text).

    Args:
        scores: `[batch, n]`, any float type; compared as float32. An item a model scores
            as minus infinity is never returned.
        seen: `[batch, L]` int positions to leave out, padded with -1.
        k: How many; may exceed n.

    Returns:
        values `[batch, k]` float32 and items `[batch, k]` int32. Where fewer than k items
        are left, the value is minus infinity and the item -1.

    Raises:
        tf.errors.InvalidArgumentError: a score is NaN or plus infinity.
    """
    scores, seen = tf.cast(scores, tf.float32), tf.convert_to_tensor(seen)
    tf.debugging.Assert(
        tf.reduce_all(scores < float("inf")),  # false for NaN, too
        ["scores hold NaN or infinity: the model diverged, or divided by an empty row"],
    )
    scores = strike_out(scores, seen)
    n = tf.shape(scores)[1]
    found = tf.minimum(k, n)
    values, items = tf.math.top_k(scores, tf.minimum(k + 1, n))  # one more: a tie at the cut
    tied = (values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -float("inf"))
    values, items = tf.cond(
        tf.reduce_any(tied),
        lambda: _top_k_by_hash(scores, seen, found),
        lambda: (values[:, :found], items[:, :found]),
    )
    items = tf.where(values > -float("inf"), items, -1)
    missing = [[0, 0], [0, k - found]]
    values = tf.pad(values, missing, constant_values=-float("inf"))
    items = tf.pad(items, missing, constant_values=-1)
    return tf.ensure_shape(values, [None, k]), tf.ensure_shape(items, [None, k])


def _top_k_by_hash(scores: tf.Tensor, seen: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`tf.math.top_k` on 64-bit keys: the score in the high half, the hash in the low one."""
    scores = tf.where(scores == 0.0, 0.0, scores)  # -0.0 equals 0.0, its bits do not
    bits = tf.cast(tf.bitcast(scores, tf.int32), tf.int64)
    # The bits of negative floats grow as the float falls; turned over, they rise with it.
    rising = tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, 0x7FFFFFFF), bits)
    keys = rising * (_LOW_32_BITS + 1) + _tie_order(seen, tf.shape(scores)[1])
    _, items = tf.math.top_k(keys, k)
    return tf.gather(scores, items, batch_dims=1), items


def _tie_order(seen: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """`[batch, n]` int64 in `[0, 2^32)`: a hash of each item and of the row's seen items."""
    spread = _mix(tf.where(_known(seen, n), tf.cast(seen, tf.int64) + 1, 0))
    row = tf.reduce_sum(spread, axis=1, keepdims=True)  # padding adds 0, order does not matter
    item = _mix(tf.range(1, tf.cast(n, tf.int64) + 1, dtype=tf.int64))
    return tf.bitwise.bitwise_and(_mix(row + item), _LOW_32_BITS)


def uniform_of(rows: tf.Tensor, n: tf.Tensor, seed: int = 0) -> tf.Tensor:
    """`[batch, n]` float32 in (0, 1): a hash of each row's id, the item's position and `seed`.

    Unlike a generator's, a row's numbers do not depend on the batch around it.
    """
    row = _mix(tf.cast(rows, tf.int64)[:, tf.newaxis] + (seed + 1) * _ODD_2)
    item = _mix(tf.range(1, tf.cast(n, tf.int64) + 1, dtype=tf.int64))
    bits = tf.bitwise.bitwise_and(_mix(row + item), (1 << 23) - 1)
    return (tf.cast(bits, tf.float32) + 0.5) / (1 << 23)


def _mix(x: tf.Tensor) -> tf.Tensor:
    """Scrambles int64 (multiplications wrap around); 0 stays 0."""
    x = x * _ODD_1
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, 31)) * _ODD_2
    return tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, 29))


def _known(seen: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Which entries of `seen` are positions in `[0, n)`."""
    return (seen >= 0) & (seen < tf.cast(n, seen.dtype))
