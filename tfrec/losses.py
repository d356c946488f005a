"""Losses, one value a row, and how rows become one number over all replicas."""

import tensorflow as tf


def observed(items: tf.Tensor) -> tf.Tensor:
    """Float mask `[batch, length]` of the entries that are no padding."""
    return tf.cast(items >= 0, tf.float32)


def entries_of(items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where a batch's observed entries are.

    Padding is most of a batch where lengths differ: it is left out before any gather.

    Returns:
        int64 `[n, 2]` twice: (row, place) in `items`, and (row, item) in dense rows.
    """
    entries = tf.where(items >= 0)
    return entries, tf.stack([entries[:, 0], tf.cast(tf.gather_nd(items, entries), tf.int64)], 1)


def squared_error(scores: tf.Tensor, items: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Sum of (r - p)^2 over a row's observed entries; other entries get no gradient.

    Args:
        scores: Predictions p, `[batch, n_columns]`.
        items: int32 `[batch, length]`, padding -1.
        values: Ratings r, float32 `[batch, length]`.

    Returns:
        float32 `[batch]`.
    """
    entries, places = entries_of(items)
    error = tf.gather_nd(values, entries) - tf.gather_nd(scores, places)
    return tf.math.unsorted_segment_sum(tf.square(error), entries[:, 0], tf.shape(items)[0])


def pooled_squared_error(scores: tf.Tensor, items: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """MMSE (DeepRec, eq. 1): rows whose mean is sum m (r - p)^2 / sum m of the whole batch.

    Args and result as `squared_error`.
    """
    errors = squared_error(scores, items, values)
    return pooled(errors, tf.reduce_sum(observed(items), axis=1))


def multinomial_nll(scores: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """- sum over a row's items of log softmax(scores) (Liang et al. 2018, eq. 2).

    Args:
        scores: Logits, `[batch, n_columns]`.
        items: int32 `[batch, length]`, padding -1.

    Returns:
        float32 `[batch]`.
    """
    return tf.reduce_sum(observed(items), axis=1) * tf.reduce_logsumexp(
        scores, axis=1
    ) - picked_sum(scores, items)


def picked_sum(scores: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Sum of a row's scores over its items; args and result as `multinomial_nll`."""
    entries, places = entries_of(items)
    return tf.math.unsorted_segment_sum(
        tf.gather_nd(scores, places), entries[:, 0], tf.shape(items)[0]
    )


def pooled(row_sums: tf.Tensor, row_counts: tf.Tensor) -> tf.Tensor:
    """Rescales row sums so that their mean over the batch is sum / count of the whole batch.

    The counts of all replicas are added up, so MMSE (DeepRec, eq. 1) means the same on one
    device and on many.

    Args:
        row_sums: float32 `[batch]`.
        row_counts: float32 `[batch]`, entries behind each sum.

    Returns:
        float32 `[batch]`.
    """
    totals = across_replicas(tf.stack([tf.reduce_sum(row_counts), count_rows(row_sums)]))
    return row_sums * tf.math.divide_no_nan(totals[1], totals[0])


def count_rows(rows: tf.Tensor) -> tf.Tensor:
    """The first dimension as a float32 scalar."""
    return tf.cast(tf.shape(rows)[0], tf.float32)


def across_replicas(value: tf.Tensor) -> tf.Tensor:
    """Sum of `value` over the replicas of the running step; `value` itself on one device."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
