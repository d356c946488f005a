"""Contributions of the items of a history to the scores of other items.

If a model's score is a sum over the items of the history (`Additive`: EASE and weighted EASE), the
contributions are the terms of the sum. For any other model a contribution is the score for the
whole history minus the score for the history without the item (leave-one-out; the occlusion of
Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, with items as
patches). These need not sum to the score, and of two redundant items both may have small ones.
"""

from collections.abc import Callable

import tensorflow as tf

from tfrec.models.capabilities import Additive
from tfrec.schema import PAD
from tfrec.serving import blocks
from tfrec.serving.answers import Answers
from tfrec.serving.histories import features, without_repeats

SCORES = 1 << 22  # scores computed at once
ROUNDING = 1e-6  # of a score: smaller differences are rounding errors between two forward passes


def of_histories(
    top: Answers, items: tf.Tensor, values: tf.Tensor, candidates: tf.Tensor
) -> dict[str, tf.Tensor]:
    """The answer of the signature `explain`.

    Contributions refer to the scores that the model computes: predicted ratings before they are
    clipped to their range, and without the terms of `ListOrder`.

    Args:
        top: A `HistoryTopK`.
        items: Raw ids of histories, string `[batch, length]`, as for `HistoryTopK.recommend`.
        values: Ratings, as for `HistoryTopK.recommend`.
        candidates: Raw ids, string `[batch, n]`.

    Returns:
        contributions, float32 `[batch, n, length]`, 0 for padding, repeats and unknown ids; and
        titles of `items`, string `[batch, length]`.
    """
    positions = without_repeats(top.positions.lookup(items))
    wanted = top.positions.lookup(candidates)
    safe, model = tf.maximum(wanted, 0), top.model

    def score(positions: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        return top.score_of(top.read(positions, values))

    if isinstance(model, Additive):
        read = features(positions, top.ratings(values, positions))
        found = model.contributions(read, safe)
    else:
        found = leave_one_out(score, positions, values, safe, model.info.n_items)
    known = (positions != PAD)[:, tf.newaxis, :] & (wanted != PAD)[:, :, tf.newaxis]
    titles = top.titles.lookup(tf.cast(positions, tf.int64))
    return {
        "contributions": tf.where(known & tf.math.is_finite(found), found, 0.0),
        "titles": tf.strings.strip(titles),
    }


def leave_one_out(
    score: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    positions: tf.Tensor,
    values: tf.Tensor,
    candidates: tf.Tensor,
    n_items: int,
) -> tf.Tensor:
    """Scores of candidates minus those without each item; one forward pass per item, in blocks.

    Args:
        score: Positions and values of histories -> `[batch, n_items]`.
        positions: int32 `[batch, length]`, padding -1, no repeats.
        values: float32 `[batch, any]`, as `score` takes them.
        candidates: int32 `[batch, n]`, in `[0, n_items)`.
        n_items: Number of items.

    Returns:
        float32 `[batch, n, length]`, 0 for padding.
    """
    batch, length = tf.shape(positions)[0], tf.shape(positions)[1]
    # With an extra row, since blocks are padded with row 0 even if there are no rows.
    rows = [tf.pad(x, [[0, 1], [0, 0]]) for x in (positions, values, candidates)]

    def without(row: tf.Tensor, left_out: tf.Tensor) -> list[tf.Tensor]:
        kept, given, wanted = (tf.gather(x, row) for x in rows)
        kept = tf.where(tf.range(length) == left_out[:, tf.newaxis], PAD, kept)
        return [tf.gather(score(kept, given), wanted, batch_dims=1)]

    items = tf.cast(tf.where(positions != PAD), tf.int32)
    which = items[:, 0], items[:, 1]
    (scores,) = blocks.by_rows(without, which, max(1, SCORES // n_items), [tf.float32])
    whole = tf.gather(score(positions, values), candidates, batch_dims=1)
    whole_of = tf.gather(whole, which[0])
    found = whole_of - scores
    found = tf.where(tf.abs(found) > ROUNDING * tf.abs(whole_of), found, 0.0)
    by_item = tf.scatter_nd(items, found, [batch, length, tf.shape(candidates)[1]])
    return tf.transpose(by_item, [0, 2, 1])
