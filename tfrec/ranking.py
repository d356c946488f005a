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

from collections.abc import Callable

import tensorflow as tf

from tfrec.schema import PAD

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
    places, known = _places(seen, tf.shape(scores)[1])
    # Padding must point somewhere: it takes the minimum of item 0 and infinity.
    bounds = tf.where(known, -float("inf"), float("inf"))
    return tf.tensor_scatter_nd_min(scores, places, bounds)


def keep_only(scores: tf.Tensor, allow: tf.Tensor, limited: tf.Tensor | None = None) -> tf.Tensor:
    """Sets the scores of all but the allowed items to minus infinity.

    Args:
        scores: `[batch, n]` float32.
        allow: `[batch, L]` int positions, padded with -1; others outside `[0, n)` are nobody.
        limited: `[batch, 1]` bool, the rows that it is for; default those where `allow` holds
            anything but padding.

    Returns:
        `[batch, n]` float32.
    """
    limited = is_limited(allow) if limited is None else limited

    def kept():
        places, known = _places(allow, tf.shape(scores)[1])
        marks = tf.tensor_scatter_nd_max(tf.zeros_like(scores), places, tf.cast(known, tf.float32))
        return tf.where((marks > 0) | ~limited, scores, -float("inf"))

    return tf.cond(tf.reduce_any(limited), kept, lambda: scores)


def is_limited(allow: tf.Tensor) -> tf.Tensor:
    """Which rows name anything to allow, `[batch, 1]`."""
    return tf.reduce_any(allow != PAD, axis=1, keepdims=True)


def top_k(
    scores: tf.Tensor,
    seen: tf.Tensor,
    k: int,
    allow: tf.Tensor | None = None,
    order: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best items of each row that it has not seen, best first.

    Equal scores come in a fixed pseudo-random order (see the module's text).

    Args:
        scores: `[batch, n]`, any float type; compared as float32, none NaN or plus infinity
            (see `checked`). An item a model scores as minus infinity is never returned.
        seen: `[batch, L]` int positions to leave out, padded with -1.
        k: How many; may exceed n.
        allow: `[batch, M]` int positions, as `keep_only` takes them; default all.
        order: `[batch, n]`, what is compared in the place of `scores`.

    Returns:
        scores `[batch, k]` float32 and items `[batch, k]` int32. Where fewer than k items
        are left, the value is minus infinity and the item -1.
    """
    seen = tf.convert_to_tensor(seen)
    compared = strike_out(scores if order is None else order, seen)
    if allow is not None:
        compared = keep_only(compared, allow)
    n = tf.shape(compared)[1]
    found = tf.minimum(k, n)
    values, items = _best(compared, _row_hash(seen, n), tf.range(n)[tf.newaxis], found)
    if order is not None:
        values = _own(scores, values, items)
    return _named(values, items, k, found)


def top_k_of(
    scores: tf.Tensor,
    candidates: tf.Tensor,
    seen: tf.Tensor,
    k: int,
    n: int,
    order: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """What `top_k` gives where each row has candidates of its own.

    Args:
        scores: `[batch, m]`, any float type.
        candidates: `[batch, m]` int32, the items that the scores belong to. Positions outside
            `[0, n)` are ignored; none may be twice in a row.
        seen: As for `top_k`.
        k: As for `top_k`.
        n: How many items there are.
        order: As for `top_k`.

    Returns:
        As `top_k` does.
    """
    seen = tf.convert_to_tensor(seen)
    kept = _known(candidates, n) & ~contains(seen, candidates)
    compared = tf.where(kept, scores if order is None else order, -float("inf"))
    found = tf.minimum(k, tf.shape(compared)[1])
    values, columns = _best(compared, _row_hash(seen, n), candidates, found)
    if order is not None:
        values = _own(scores, values, columns)
    return _named(values, tf.gather(candidates, columns, batch_dims=1), k, found)


def contains(lists: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Which of int32 `wanted` `[batch, m]` are in the same row of `lists` `[batch, L]`."""
    # A last entry above all others: what is sought is never beyond the end.
    ordered = tf.pad(tf.sort(lists, axis=1), [[0, 0], [0, 1]], constant_values=lists.dtype.max)
    # Nor is it given rows without a column, which it can not count.
    places = tf.searchsorted(ordered, tf.pad(wanted, [[0, 0], [0, 1]]))[:, :-1]
    return tf.gather(ordered, places, batch_dims=1) == wanted


def top_k_by_blocks(
    score: Callable[[tf.Tensor], tf.Tensor],
    n: int,
    seen: tf.Tensor,
    k: int,
    block: int | tf.Tensor,
    allow: tf.Tensor | None = None,
    order: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """What `top_k` gives, but never holds more than a block of scores.

    Args:
        score: int32 positions `[m]`, m at most `block` -> scores `[batch, m]`.
        n: How many items there are.
        seen: As for `top_k`.
        k: As for `top_k`.
        block: How many items are scored at once, an int or a scalar.
        allow: As for `top_k`.
        order: (scores, positions) -> what is compared in the place of the scores.

    Returns:
        As `top_k` does.
    """
    seen = tf.convert_to_tensor(seen)
    row = _row_hash(seen, n)
    limited = None if allow is None else is_limited(allow)
    batch = tf.shape(seen)[0]

    def step(start, keys, values, items):
        size = tf.minimum(block, n - start)
        positions = start + tf.range(size)
        scores = score(positions)
        compared = order(scores, positions) if order else scores
        compared = strike_out(compared, seen - start)
        if allow is not None:
            compared = keep_only(compared, tf.where(allow == PAD, PAD, allow - start), limited)
        best, places = _best(compared, row, positions[tf.newaxis], tf.minimum(k, size))
        more = _own(scores, best, places)
        places += start
        keys = tf.concat([keys, _keys(best, row, places)], axis=1)
        keys, best = tf.math.top_k(keys, tf.minimum(k, tf.shape(keys)[1]))
        values = tf.gather(tf.concat([values, more], axis=1), best, batch_dims=1)
        items = tf.gather(tf.concat([items, places], axis=1), best, batch_dims=1)
        return start + size, keys, values, items

    empty = [tf.zeros([batch, 0], dtype) for dtype in (tf.int64, tf.float32, tf.int32)]
    shapes = [tf.TensorShape([]), *[tf.TensorShape([None, None])] * 3]
    _, _, values, items = tf.while_loop(
        lambda start, *_: start < n, step, [0, *empty], shapes, parallel_iterations=1
    )
    return _named(values, items, k, min(k, n))


def checked(scores: tf.Tensor) -> tf.Tensor:
    """The scores as float32, none of them NaN or plus infinity: for evaluation.

    Not for serving, where one row would fail all that share its batch.

    Raises:
        tf.errors.InvalidArgumentError: a score is.
    """
    scores = tf.cast(scores, tf.float32)
    tf.debugging.Assert(
        tf.reduce_all(scores < float("inf")),  # false for NaN, too
        ["scores hold NaN or infinity: the model diverged, or divided by an empty row"],
    )
    return scores


def _best(
    scores: tf.Tensor, row: tf.Tensor, items: tf.Tensor, k: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Values and columns `[batch, k]` of the best; `items` `[batch or 1, n]` are the columns'."""
    n = tf.shape(scores)[1]
    values, columns = tf.math.top_k(scores, tf.minimum(k + 1, n))  # one more: a tie at the cut
    tied = (values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -float("inf"))

    def by_key():
        _, columns = tf.math.top_k(_keys(scores, row, items), k)
        return tf.gather(scores, columns, batch_dims=1), columns

    return tf.cond(tf.reduce_any(tied), by_key, lambda: (values[:, :k], columns[:, :k]))


def _own(scores: tf.Tensor, compared: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """The scores of `columns`, `[batch, k]`; minus infinity where what was compared is."""
    own = tf.gather(tf.cast(scores, tf.float32), columns, batch_dims=1)
    return tf.where(compared > -float("inf"), own, compared)


def _named(
    values: tf.Tensor, items: tf.Tensor, k: int, found: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Fills up to k places; an item that may not be returned becomes -1."""
    items = tf.where(values > -float("inf"), items, PAD)
    missing = [[0, 0], [0, k - found]]
    values = tf.pad(values, missing, constant_values=-float("inf"))
    items = tf.pad(items, missing, constant_values=PAD)
    return tf.ensure_shape(values, [None, k]), tf.ensure_shape(items, [None, k])


def _keys(scores: tf.Tensor, row: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """64 bits to sort by: the score in the high half, the hash of row and item in the low one."""
    scores = tf.where(scores == 0.0, 0.0, scores)  # -0.0 equals 0.0, its bits do not
    bits = tf.cast(tf.bitcast(scores, tf.int32), tf.int64)
    # The bits of negative floats grow as the float falls; turned over, they rise with it.
    rising = tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, 0x7FFFFFFF), bits)
    item = _mix(tf.cast(items, tf.int64) + 1)
    return rising * (_LOW_32_BITS + 1) + tf.bitwise.bitwise_and(_mix(row + item), _LOW_32_BITS)


def _row_hash(seen: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """A hash of what each row has seen, int64 `[batch, 1]`."""
    spread = _mix(tf.where(_known(seen, n), tf.cast(seen, tf.int64) + 1, 0))
    return tf.reduce_sum(spread, axis=1, keepdims=True)  # padding adds 0, order does not matter


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


def _places(positions: tf.Tensor, n: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where positions `[batch, L]` are in `[batch, n]`, and which are there at all.

    Those that are not point to column 0.
    """
    positions = tf.convert_to_tensor(positions)
    known = _known(positions, n)
    rows = tf.broadcast_to(tf.range(tf.shape(positions)[0])[:, tf.newaxis], tf.shape(positions))
    return tf.stack([rows, tf.where(known, tf.cast(positions, tf.int32), 0)], axis=-1), known


def _known(seen: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Which entries of `seen` are positions in `[0, n)`."""
    return (seen >= 0) & (seen < tf.cast(n, seen.dtype))
