"""The best items of all, with memory that does not grow with their number."""

from collections.abc import Callable

import tensorflow as tf

from tfrec import ranking
from tfrec.models.base import Features, Recommender
from tfrec.models.capabilities import Factors

BLOCK = 1 << 16  # items scored at once
ROWS = 64  # of a batch that is scored BLOCK items at once; with more rows, fewer items


def by_blocks(model: Recommender) -> bool:
    """Whether lists of a model are made by blocks of items: its scores are products of vectors."""
    return isinstance(model, Factors) and model.info.n_items > BLOCK


def scorer(model: Recommender, features: Features) -> Callable[..., tf.Tensor]:
    """Scores of a batch for items, `[batch, n]`, by the model's vectors; without items `score`."""
    queries = model.query_vectors(features)

    def score(items: tf.Tensor | None = None) -> tf.Tensor:
        if items is None:
            return model.score(features)
        return tf.matmul(queries, model.candidate_vectors(items), transpose_b=True)

    return score


def best(
    score: Callable[..., tf.Tensor],
    order: Callable[..., tf.Tensor],
    n: int,
    seen: tf.Tensor,
    k: int,
    allow: tf.Tensor | None = None,
    block: int | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`ranking.top_k`, by blocks of items where there would be more than `ROWS * block` scores.

    Args:
        score: Scores `[batch, m]` of items, int32 `[m]`, or without them of all.
        order: (scores, items) -> what is compared; without items of all.
        n: Number of items.
        seen: As for `ranking.top_k`.
        k: As for `ranking.top_k`.
        allow: As for `ranking.top_k`.
        block: Number of items that are scored at once for `ROWS` rows; default: `BLOCK`.
    """
    batch, block = tf.shape(seen)[0], block or BLOCK

    def at_once():
        scores = score()
        return ranking.top_k(scores, seen, k, allow, order(scores))

    def in_blocks():
        size = tf.maximum(1, ROWS * block // batch)
        return ranking.top_k_by_blocks(score, n, seen, k, size, allow, order)

    if n <= block:
        return at_once()
    return tf.cond(batch <= ROWS * block // n, at_once, in_blocks)
