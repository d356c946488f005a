"""Losses, one value a row, and how rows become one number over all replicas."""

import tensorflow as tf


def observed(items: tf.Tensor) -> tf.Tensor:
    """Float mask `[batch, length]` of the entries that are no padding."""
    return tf.cast(items >= 0, tf.float32)


def scores_at(scores: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Picks each row's scores of its own items; padding reads item 0.

    Args:
        scores: `[batch, n_columns]`.
        items: int32 `[batch, length]`, padding -1.

    Returns:
        `[batch, length]`.
    """
    return tf.gather(scores, tf.maximum(items, 0), batch_dims=1)


def squared_error(scores: tf.Tensor, items: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Sum of (r - p)^2 over a row's observed entries; other entries get no gradient.

    Args:
        scores: Predictions p, `[batch, n_columns]`.
        items: int32 `[batch, length]`, padding -1.
        values: Ratings r, float32 `[batch, length]`.

    Returns:
        float32 `[batch]`.
    """
    error = (values - scores_at(scores, items)) * observed(items)
    return tf.reduce_sum(tf.square(error), axis=1)


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
