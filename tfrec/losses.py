"""Losses by row, and their reduction over the batch and all replicas."""

import tensorflow as tf


def observed(items: tf.Tensor) -> tf.Tensor:
    """Padding mask: float32 `[batch, length]`, 0 at padding, else 1."""
    return tf.cast(items >= 0, tf.float32)


def entries_of(items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Indices of a batch's observed entries.

    Much of a batch may be padding: it is dropped before any gather.

    Returns:
        int64 `[n, 2]` twice: (row, position) in `items`, and (row, item) in dense rows.
    """
    entries = tf.where(items >= 0)
    return entries, tf.stack([entries[:, 0], tf.cast(tf.gather_nd(items, entries), tf.int64)], 1)


def squared_error(scores: tf.Tensor, items: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Masked squared error: the sum of (r - p)^2 over a row's observed entries.

    Args:
        scores: Predictions p, `[batch, n_columns]`.
        items: int32 `[batch, length]`, padding -1.
        values: Ratings r, float32 `[batch, length]`.

    Returns:
        float32 `[batch]`.
    """
    entries, cells = entries_of(items)
    error = tf.gather_nd(values, entries) - tf.gather_nd(scores, cells)
    return tf.math.unsorted_segment_sum(tf.square(error), entries[:, 0], tf.shape(items)[0])


def pooled_squared_error(scores: tf.Tensor, items: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """MMSE (DeepRec, eq. 1): its mean over rows is sum m (r - p)^2 / sum m of the whole batch.

    Args and result as in `squared_error`.
    """
    errors = squared_error(scores, items, values)
    return pooled(errors, tf.reduce_sum(observed(items), axis=1))


def multinomial_nll(scores: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Multinomial: minus the sum of log softmax(scores) over a row's items (Liang 2018, eq. 2).

    Args:
        scores: Logits, `[batch, n_columns]`.
        items: int32 `[batch, length]`, padding -1.

    Returns:
        float32 `[batch]`.
    """
    return tf.reduce_sum(observed(items), axis=1) * tf.reduce_logsumexp(
        scores, axis=1
    ) - picked_sum(scores, items)


def share_nll(scores: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Minus the sum of the logarithms of a row's items' shares of the row's total score.

    Args:
        scores: Not negative, `[batch, n_columns]`.
        items: int32 `[batch, length]`, padding -1.

    Returns:
        float32 `[batch]`; a share counts as 1e-9 at least.
    """
    total = tf.maximum(tf.reduce_sum(scores, axis=1, keepdims=True), 1e-9)
    return -picked_sum(tf.math.log(tf.maximum(scores / total, 1e-9)), items)


def picked_sum(scores: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Sum of a row's scores over its items; args and result as in `multinomial_nll`."""
    entries, cells = entries_of(items)
    return tf.math.unsorted_segment_sum(
        tf.gather_nd(scores, cells), entries[:, 0], tf.shape(items)[0]
    )


def pooled(row_sums: tf.Tensor, row_counts: tf.Tensor) -> tf.Tensor:
    """Rescales row sums so that their mean is the sum divided by the count of the whole batch.

    Counts are summed over all replicas, so that the loss does not depend on their number.

    Args:
        row_sums: float32 `[batch]`.
        row_counts: Number of entries in each sum, float32 `[batch]`.

    Returns:
        float32 `[batch]`.
    """
    totals = across_replicas(tf.stack([tf.reduce_sum(row_counts), count_rows(row_sums)]))
    return row_sums * tf.math.divide_no_nan(totals[1], totals[0])


def count_rows(rows: tf.Tensor) -> tf.Tensor:
    """Number of rows, a float32 scalar."""
    return tf.cast(tf.shape(rows)[0], tf.float32)


def across_replicas(value: tf.Tensor) -> tf.Tensor:
    """Sum of `value` over all replicas of the current step; with one replica `value` itself."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
