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


def sampled_softmax(positive: tf.Tensor, negative: tf.Tensor, excluded: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the softmax over the target item and sampled negatives, float32 `[n]`.

    Args:
        positive: Logits of the target items, `[n]`.
        negative: Logits of the negatives, `[n, k]`.
        excluded: bool `[n, k]`, negatives that do not count, such as items of the history.
    """
    negative = tf.where(excluded, -float("inf"), negative)
    return tf.reduce_logsumexp(tf.concat([positive[:, None], negative], 1), axis=1) - positive


def binary(
    positive: tf.Tensor, negative: tf.Tensor, excluded: tf.Tensor, beta: float = 1.0
) -> tf.Tensor:
    """Binary cross-entropy; with a beta below 1 gBCE (Petrov and Macdonald, RecSys 2023, eq. 9).

        - (beta log sigmoid(s+) + sum over negatives of log(1 - sigmoid(s-))) / (1 + k).

    Args:
        positive: As in `sampled_softmax`.
        negative: As in `sampled_softmax`.
        excluded: As in `sampled_softmax`.
        beta: See `gbce_beta`.

    Returns:
        float32 `[n]`.
    """
    loss = tf.reduce_sum(tf.where(excluded, 0.0, tf.nn.softplus(negative)), axis=1)
    return (beta * tf.nn.softplus(-positive) + loss) / (1 + negative.shape[1])


def gbce_beta(negatives: int, n_items: int, t: float) -> float:
    """Beta = alpha (t (1 - 1 / alpha) + 1 / alpha), alpha = k / (I - 1) (gSASRec, eq. 14).

    Args:
        negatives: k, the number of negatives for each positive.
        n_items: I, the size of the catalogue.
        t: Calibration, from 0 (plain BCE) to 1 (overconfidence fully corrected).
    """
    alpha = negatives / (n_items - 1)
    return alpha * (t * (1 - 1 / alpha) + 1 / alpha)
