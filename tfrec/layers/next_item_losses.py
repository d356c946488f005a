"""Losses of next-item prediction: softmax over all items, or over sampled negatives."""

import tensorflow as tf

LOSSES = ("softmax", "sampled", "bce", "gbce")


def softmax(states: tf.Tensor, items: tf.Tensor, table: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the softmax over all items, float32 `[n]`.

    Args:
        states: Query vectors of n predictions, `[n, width]`.
        items: Target items, int `[n]`.
        table: Item vectors, `[n_items, width]`.
        bias: Item biases, `[n_items]`.
    """
    logits = tf.matmul(states, table, transpose_b=True) + bias
    return tf.nn.sparse_softmax_cross_entropy_with_logits(items, logits)


def sampled_softmax(states, items, table, bias, negatives: tf.Tensor, excluded: tf.Tensor):
    """Cross-entropy of the softmax over the target item and sampled negatives, float32 `[n]`.

    Args:
        states: As in `softmax`.
        items: As in `softmax`.
        table: As in `softmax`.
        bias: As in `softmax`.
        negatives: Sampled items: int `[k]`, shared by all predictions, or `[n, k]`.
        excluded: bool `[n, k]`, negatives that do not count, such as items of the history.
    """
    positive, negative = _logits(states, items, table, bias, negatives)
    negative = tf.where(excluded, -float("inf"), negative)
    return tf.reduce_logsumexp(tf.concat([positive[:, None], negative], 1), axis=1) - positive


def binary(states, items, table, bias, negatives, excluded, beta: float = 1.0) -> tf.Tensor:
    """Binary cross-entropy; with a beta below 1 gBCE (Petrov and Macdonald, RecSys 2023, eq. 9).

        - (beta log sigmoid(s+) + sum over negatives of log(1 - sigmoid(s-))) / (1 + k).

    Args:
        states: As in `sampled_softmax`.
        items: As in `sampled_softmax`.
        table: As in `sampled_softmax`.
        bias: As in `sampled_softmax`.
        negatives: As in `sampled_softmax`.
        excluded: As in `sampled_softmax`.
        beta: See `gbce_beta`.

    Returns:
        float32 `[n]`.
    """
    positive, negative = _logits(states, items, table, bias, negatives)
    loss = tf.reduce_sum(tf.where(excluded, 0.0, tf.nn.softplus(negative)), axis=1)
    return (beta * tf.nn.softplus(-positive) + loss) / (1 + negative.shape[1])


def in_rows(history: tf.Tensor, rows: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Which items are in which rows, by binary search: no tensor is as wide as the catalogue.

    Args:
        history: int32 `[batch, length]`, padding -1.
        rows: Positions of rows, int64 `[n]`.
        items: int32 `[n, k]`, or `[1, k]` for the same in all rows.

    Returns:
        bool `[n, k]`.
    """
    n_rows = tf.shape(history, tf.int64)[0]
    size = tf.cast(tf.reduce_max([tf.reduce_max(history), tf.reduce_max(items)]), tf.int64) + 2
    known = tf.range(n_rows)[:, tf.newaxis] * size + tf.cast(history, tf.int64) + 1
    known = tf.sort(tf.reshape(known, [-1]))
    asked = rows[:, tf.newaxis] * size + tf.cast(items, tf.int64) + 1
    flat = tf.reshape(asked, [-1])
    at = tf.minimum(tf.searchsorted(known, flat), tf.size(known) - 1)
    return tf.reshape(tf.gather(known, at) == flat, tf.shape(asked))


def gbce_beta(negatives: int, n_items: int, t: float) -> float:
    """Beta = alpha (t (1 - 1 / alpha) + 1 / alpha), alpha = k / (I - 1) (gSASRec, eq. 14).

    Args:
        negatives: k, the number of negatives for each positive.
        n_items: I, the size of the catalogue.
        t: Calibration, from 0 (plain BCE) to 1 (overconfidence fully corrected).
    """
    alpha = negatives / (n_items - 1)
    return alpha * (t * (1 - 1 / alpha) + 1 / alpha)


def _logits(states, items, table, bias, negatives) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits of the target items `[n]` and of the negatives `[n, k]`."""
    positive = tf.reduce_sum(states * tf.gather(table, items), axis=1) + tf.gather(bias, items)
    if negatives.shape.rank == 1:
        negative = tf.matmul(states, tf.gather(table, negatives), transpose_b=True)
    else:
        negative = tf.reduce_sum(states[:, None] * tf.gather(table, negatives), axis=2)
    return positive, negative + tf.gather(bias, negatives)
