"""Masks the items that a row has seen and selects its top k: for evaluation AND for serving.

Core TensorFlow operations only, so that the same function runs eagerly, inside
`tf.function`, under a distribution strategy and in an exported SavedModel.

Ties. `tf.math.top_k` orders equal scores by position. If positions follow popularity, or the
target is first, a model with constant scores gets undeserved hits. Here equal scores are ordered
by a fixed hash of the item's position and of the items that the row has seen: the order depends
neither on targets nor on the vocabulary, rows with different histories have different orders
(rows with equal histories the same), and the same request always gets the same response,
independent of its batch.
"""

from collections.abc import Callable

import tensorflow as tf

from tfrec.schema import PAD

_LOW_32_BITS = 0xFFFFFFFF
_ODD_1 = 0x1E3779B97F4A7C15  # odd 61-bit multipliers, which spread neighbouring positions
_ODD_2 = 0x1F58476D1CE4E5B9


def mask_seen(scores: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Sets the scores of seen items to minus infinity.

    Args:
        scores: `[batch, n]`, any float type.
        seen: `[batch, L]` int positions, padded with -1. Positions outside `[0, n)` are
            ignored, duplicates are harmless, L may be 0.

    Returns:
        `[batch, n]` float32.
    """
    scores = tf.cast(scores, tf.float32)
    indices, known = _indices(seen, tf.shape(scores)[1])
    # Padding needs an index too: it takes the minimum of item 0's score and infinity.
    bounds = tf.where(known, -float("inf"), float("inf"))
    return tf.tensor_scatter_nd_min(scores, indices, bounds)


def keep_only(scores: tf.Tensor, allow: tf.Tensor, limited: tf.Tensor | None = None) -> tf.Tensor:
    """Sets the scores of all but the allowed items to minus infinity.

    Args:
        scores: `[batch, n]` float32.
        allow: `[batch, L]` int positions, padded with -1; others outside `[0, n)` match no item.
        limited: `[batch, 1]` bool, the rows that are limited; default: those where `allow` has
            anything but padding.

    Returns:
        `[batch, n]` float32.
    """
    limited = is_limited(allow) if limited is None else limited

    def kept():
        indices, known = _indices(allow, tf.shape(scores)[1])
        marks = tf.tensor_scatter_nd_max(tf.zeros_like(scores), indices, tf.cast(known, tf.float32))
        return tf.where((marks > 0) | ~limited, scores, -float("inf"))

    return tf.cond(tf.reduce_any(limited), kept, lambda: scores)


def is_limited(allow: tf.Tensor) -> tf.Tensor:
    """Whether rows have any allowed items, bool `[batch, 1]`."""
    return tf.reduce_any(allow != PAD, axis=1, keepdims=True)


def top_k(
    scores: tf.Tensor,
    seen: tf.Tensor,
    k: int,
    allow: tf.Tensor | None = None,
    order: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best items of each row that it has not seen, best first.

    Equal scores are in a fixed pseudo-random order (see the module's docstring).

    Args:
        scores: `[batch, n]`, any float type; compared as float32, none NaN or plus infinity
            (see `checked`). An item with a score of minus infinity is never returned.
        seen: `[batch, L]` int positions to leave out, padded with -1.
        k: Number of items; may exceed n.
        allow: `[batch, M]` int positions, as in `keep_only`; default: all.
        order: `[batch, n]`, compared instead of `scores`.

    Returns:
        scores `[batch, k]` float32 and items `[batch, k]` int32. Where fewer than k items
        are left, the value is minus infinity and the item -1.
    """
    seen = tf.convert_to_tensor(seen)
    compared = mask_seen(scores if order is None else order, seen)
    if allow is not None:
        compared = keep_only(compared, allow)
    n = tf.shape(compared)[1]
    found = tf.minimum(k, n)
    values, items = _best(compared, _row_hash(seen, n), tf.range(n)[tf.newaxis], found)
    if order is not None:
        values = _own(scores, values, items)
    return _padded(values, items, k, found)


def top_k_of(
    scores: tf.Tensor,
    candidates: tf.Tensor,
    seen: tf.Tensor,
    k: int,
    n: int,
    order: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`top_k` for rows that each have their own candidates.

    Args:
        scores: `[batch, m]`, any float type.
        candidates: `[batch, m]` int32, the items that the scores belong to. Positions outside
            `[0, n)` are ignored; no item may be repeated in a row.
        seen: As for `top_k`.
        k: As for `top_k`.
        n: Number of items.
        order: As for `top_k`.

    Returns:
        As for `top_k`.
    """
    seen = tf.convert_to_tensor(seen)
    kept = _known(candidates, n) & ~contains(seen, candidates)
    compared = tf.where(kept, scores if order is None else order, -float("inf"))
    found = tf.minimum(k, tf.shape(compared)[1])
    values, columns = _best(compared, _row_hash(seen, n), candidates, found)
    if order is not None:
        values = _own(scores, values, columns)
    return _padded(values, tf.gather(candidates, columns, batch_dims=1), k, found)


def contains(lists: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Whether each of int32 `wanted` `[batch, m]` is in its row of `lists` `[batch, L]`."""
    # A last entry above all others, so that no index is beyond the end.
    ordered = tf.pad(tf.sort(lists, axis=1), [[0, 0], [0, 1]], constant_values=lists.dtype.max)
    # A column is added, since searchsorted fails on rows without one.
    indices = tf.searchsorted(ordered, tf.pad(wanted, [[0, 0], [0, 1]]))[:, :-1]
    return tf.gather(ordered, indices, batch_dims=1) == wanted


def top_k_by_blocks(
    score: Callable[[tf.Tensor], tf.Tensor],
    n: int,
    seen: tf.Tensor,
    k: int,
    block: int | tf.Tensor,
    allow: tf.Tensor | None = None,
    order: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`top_k` with never more than a block of scores in memory.

    Args:
        score: int32 positions `[m]`, m at most `block` -> scores `[batch, m]`.
        n: Number of items.
        seen: As for `top_k`.
        k: As for `top_k`.
        block: Number of items that are scored in one step, an int or a scalar.
        allow: As for `top_k`.
        order: A function (scores, positions) -> values that are compared instead of the scores.

    Returns:
        As for `top_k`.
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
        compared = mask_seen(compared, seen - start)
        if allow is not None:
            compared = keep_only(compared, tf.where(allow == PAD, PAD, allow - start), limited)
        best, indices = _best(compared, row, positions[tf.newaxis], tf.minimum(k, size))
        more = _own(scores, best, indices)
        indices += start
        keys = tf.concat([keys, _keys(best, row, indices)], axis=1)
        keys, best = tf.math.top_k(keys, tf.minimum(k, tf.shape(keys)[1]))
        values = tf.gather(tf.concat([values, more], axis=1), best, batch_dims=1)
        items = tf.gather(tf.concat([items, indices], axis=1), best, batch_dims=1)
        return start + size, keys, values, items

    empty = [tf.zeros([batch, 0], dtype) for dtype in (tf.int64, tf.float32, tf.int32)]
    shapes = [tf.TensorShape([]), *[tf.TensorShape([None, None])] * 3]
    _, _, values, items = tf.while_loop(
        lambda start, *_: start < n, step, [0, *empty], shapes, parallel_iterations=1
    )
    return _padded(values, items, k, min(k, n))


def checked(scores: tf.Tensor) -> tf.Tensor:
    """The scores as float32, checked for NaN and plus infinity: for evaluation.

    Not for serving, where one row would fail all others in its batch.

    Raises:
        tf.errors.InvalidArgumentError: a score is NaN or plus infinity.
    """
    scores = tf.cast(scores, tf.float32)
    tf.debugging.Assert(
        tf.reduce_all(scores < float("inf")),  # false for NaN too
        ["scores hold NaN or infinity: the model diverged, or divided by an empty row"],
    )
    return scores


def _best(
    scores: tf.Tensor, row: tf.Tensor, items: tf.Tensor, k: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Values and columns `[batch, k]` of the best; `items` `[batch or 1, n]` are by column."""
    n = tf.shape(scores)[1]
    values, columns = tf.math.top_k(
        scores, tf.minimum(k + 1, n)
    )  # one more, to see a tie at the cut
    tied = (values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -float("inf"))

    def by_key():
        _, columns = tf.math.top_k(_keys(scores, row, items), k)
        return tf.gather(scores, columns, batch_dims=1), columns

    return tf.cond(tf.reduce_any(tied), by_key, lambda: (values[:, :k], columns[:, :k]))


def _own(scores: tf.Tensor, compared: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """The scores of `columns`, `[batch, k]`; minus infinity where `compared` is."""
    own = tf.gather(tf.cast(scores, tf.float32), columns, batch_dims=1)
    return tf.where(compared > -float("inf"), own, compared)


def _padded(
    values: tf.Tensor, items: tf.Tensor, k: int, found: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pads to k columns; items that may not be returned become -1."""
    items = tf.where(values > -float("inf"), items, PAD)
    missing = [[0, 0], [0, k - found]]
    values = tf.pad(values, missing, constant_values=-float("inf"))
    items = tf.pad(items, missing, constant_values=PAD)
    return tf.ensure_shape(values, [None, k]), tf.ensure_shape(items, [None, k])


def _keys(scores: tf.Tensor, row: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Sort keys of 64 bits: the score in the high half, the hash of row and item in the low."""
    scores = tf.where(scores == 0.0, 0.0, scores)  # -0.0 equals 0.0, its bits do not
    bits = tf.cast(tf.bitcast(scores, tf.int32), tf.int64)
    # As integers the bits of negative floats are in descending order, so they are inverted.
    rising = tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, 0x7FFFFFFF), bits)
    item = _mix(tf.cast(items, tf.int64) + 1)
    return rising * (_LOW_32_BITS + 1) + tf.bitwise.bitwise_and(_mix(row + item), _LOW_32_BITS)


def _row_hash(seen: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """A hash of the items that each row has seen, int64 `[batch, 1]`."""
    spread = _mix(tf.where(_known(seen, n), tf.cast(seen, tf.int64) + 1, 0))
    return tf.reduce_sum(spread, axis=1, keepdims=True)  # padding adds 0, order does not matter


def uniform_of(rows: tf.Tensor, n: tf.Tensor, seed: int = 0) -> tf.Tensor:
    """`[batch, n]` float32 in (0, 1): a hash of each row's id, the item's position and `seed`.

    Unlike those of a generator, a row's numbers do not depend on its batch.
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


def _indices(positions: tf.Tensor, n: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Indices of positions `[batch, L]` in `[batch, n]`, and whether each is valid.

    Invalid ones have the index of column 0.
    """
    positions = tf.convert_to_tensor(positions)
    known = _known(positions, n)
    rows = tf.broadcast_to(tf.range(tf.shape(positions)[0])[:, tf.newaxis], tf.shape(positions))
    return tf.stack([rows, tf.where(known, tf.cast(positions, tf.int32), 0)], axis=-1), known


def _known(seen: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Whether each entry of `seen` is a position in `[0, n)`."""
    return (seen >= 0) & (seen < tf.cast(n, seen.dtype))
