"""Losses of predicting one item of many: all items, or sampled ones."""

import tensorflow as tf

LOSSES = ("softmax", "sampled", "bce", "gbce")


def softmax(states: tf.Tensor, items: tf.Tensor, table: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """- log softmax over all items: float32 `[n]`.

    Args:
        states: `[n, width]`.
        items: The right items, int `[n]`.
        table: The items' vectors, `[n_items, width]`.
        bias: `[n_items]`.
    """
    logits = tf.matmul(states, table, transpose_b=True) + bias
    return tf.nn.sparse_softmax_cross_entropy_with_logits(items, logits)


def sampled_softmax(states, items, table, bias, negatives: tf.Tensor, struck: tf.Tensor):
    """- log softmax over the right item and `negatives`: float32 `[n]`.

    Args:
        states: As `softmax`.
        items: As `softmax`.
        table: As `softmax`.
        bias: As `softmax`.
        negatives: int `[k]`, shared by all places, or `[n, k]`, each place's own.
        struck: bool `[n, k]`, which draws do not count at a place.
    """
    right, others = _logits(states, items, table, bias, negatives)
    others = tf.where(struck, -float("inf"), others)
    return tf.reduce_logsumexp(tf.concat([right[:, None], others], 1), axis=1) - right


def binary(states, items, table, bias, negatives, struck, beta: float = 1.0) -> tf.Tensor:
    """Binary cross-entropy, with a beta below 1 gBCE (Petrov and Macdonald, RecSys 2023, eq. 9).

        - (beta log sigmoid(s+) + sum over negatives of log(1 - sigmoid(s-))) / (1 + k).

    Args:
        states: As `sampled_softmax`, and so the others.
        items: See there.
        table: See there.
        bias: See there.
        negatives: See there.
        struck: See there.
        beta: See `gbce_beta`.
    """
    right, others = _logits(states, items, table, bias, negatives)
    wrong = tf.reduce_sum(tf.where(struck, 0.0, tf.nn.softplus(others)), axis=1)
    return (beta * tf.nn.softplus(-right) + wrong) / (1 + others.shape[1])


def gbce_beta(negatives: int, n_items: int, t: float) -> float:
    """Beta = alpha (t (1 - 1 / alpha) + 1 / alpha), alpha = k / (I - 1) (the same, eq. 14).

    Args:
        negatives: k.
        n_items: I.
        t: Calibration, from 0 (plain BCE) to 1 (all of its overconfidence taken away).
    """
    alpha = negatives / (n_items - 1)
    return alpha * (t * (1 - 1 / alpha) + 1 / alpha)


def _logits(states, items, table, bias, negatives) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits of the right items `[n]` and of the others `[n, k]`."""
    right = tf.reduce_sum(states * tf.gather(table, items), axis=1) + tf.gather(bias, items)
    if negatives.shape.rank == 1:
        others = tf.matmul(states, tf.gather(table, negatives), transpose_b=True)
    else:
        others = tf.reduce_sum(states[:, None] * tf.gather(table, negatives), axis=2)
    return right, others + tf.gather(bias, negatives)
