"""Masking seen items and selecting the top: hand-made cases, ties, exports."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec import ranking

INF = float("inf")


def test_mask_seen_sets_only_the_seen_entries_to_minus_infinity():
    scores = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    masked = ranking.mask_seen(scores, tf.constant([[1, -1], [0, 2]]))
    assert masked.numpy().tolist() == [[1.0, -INF, 3.0], [-INF, 5.0, -INF]]


def test_mask_seen_ignores_items_outside_and_duplicates():
    scores = tf.constant([[1.0, 2.0, 3.0]])
    masked = ranking.mask_seen(scores, tf.constant([[2, 2, 3, 99, -1, -7]], tf.int64))
    assert masked.numpy().tolist() == [[1.0, 2.0, -INF]]


def test_mask_seen_with_nothing_seen_keeps_the_scores():
    scores = tf.constant([[0.5, -0.5]])
    masked = ranking.mask_seen(scores, tf.zeros([1, 0], tf.int32))
    assert masked.numpy().tolist() == [[0.5, -0.5]]


def test_top_k_is_best_first_without_the_seen():
    scores = tf.constant([[0.1, 0.9, 0.5, 0.7], [4.0, 3.0, 2.0, 1.0]])
    values, items = ranking.top_k(scores, tf.constant([[1, -1], [-1, -1]]), 2)
    assert items.numpy().tolist() == [[3, 2], [0, 1]]
    np.testing.assert_allclose(values, [[0.7, 0.5], [4.0, 3.0]])
    assert (values.dtype, items.dtype) == (tf.float32, tf.int32)


def test_where_too_few_items_are_left_the_item_is_minus_one():
    values, items = ranking.top_k(tf.constant([[1.0, 2.0, 3.0]]), tf.constant([[2]]), 5)
    assert items.numpy().tolist() == [[1, 0, -1, -1, -1]]
    assert values.numpy().tolist() == [[2.0, 1.0, -INF, -INF, -INF]]


def test_an_item_scored_minus_infinity_is_never_returned():
    _, items = ranking.top_k(tf.constant([[-INF, 1.0, -INF]]), tf.constant([[-1]]), 3)
    assert items.numpy().tolist() == [[1, -1, -1]]


@pytest.mark.parametrize("bad", [float("nan"), INF])
def test_a_score_that_is_not_a_number_is_an_error(bad):
    scores = tf.constant([[1.0, bad, 0.0]])
    pick = tf.function(lambda s: ranking.top_k(ranking.checked(s), tf.constant([[1]]), 1))
    for run in (pick, pick.python_function):
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinity"):
            run(scores)


def test_half_precision_scores_are_ranked():
    scores = tf.constant([[1.0, 3.0, 2.0]], tf.bfloat16)
    assert ranking.top_k(scores, tf.constant([[1]]), 2)[1].numpy().tolist() == [[2, 0]]


def test_ties_never_reorder_different_scores():
    rng = np.random.default_rng(0)
    # Few distinct values of both signs, zeros of both signs, far apart and neighbouring.
    levels = [-3e38, -1.5, -2e-38, -0.0, 0.0, 2e-38, 1.0, 1.0000001, 3e38]
    scores = rng.choice(np.array(levels, "float32"), size=(50, 40))
    seen = rng.integers(-1, 40, size=(50, 6), dtype="int32")
    values, items = (x.numpy() for x in ranking.top_k(scores, seen, 45))
    for row in range(50):
        left = np.setdiff1d(np.arange(40), seen[row])
        assert sorted(items[row, : len(left)]) == left.tolist()
        assert (items[row, len(left) :] == -1).all()
        expected = np.sort(scores[row, left])[::-1]
        np.testing.assert_array_equal(values[row, : len(left)], expected)
        np.testing.assert_array_equal(scores[row, items[row, : len(left)]], expected)


def test_tie_order_depends_on_the_row_alone_and_not_on_its_padding_or_batch():
    scores = tf.zeros([2, 30])
    both = ranking.top_k(scores, tf.constant([[3, 5, -1], [7, -1, -1]]), 10)[1].numpy()
    alone = ranking.top_k(scores[:1], tf.constant([[5, 3]]), 10)[1].numpy()
    np.testing.assert_array_equal(both[0], alone[0])
    assert both[0].tolist() != both[1].tolist()


def test_a_tie_in_another_row_changes_nothing():
    rng = np.random.default_rng(1)
    scores = rng.permutation(60).reshape(2, 30).astype("float32")
    seen = np.full([2, 1], -1, "int32")
    plain = ranking.top_k(scores, seen, 10)[1].numpy()
    scores[1] = 0.0
    np.testing.assert_array_equal(ranking.top_k(scores, seen, 10)[1].numpy()[0], plain[0])


@pytest.mark.parametrize("order", ["popular first", "popular last", "target first"])
def test_a_constant_scorer_is_as_good_as_chance(order):
    n, rows = 200, 20_000
    rng = np.random.default_rng(2)
    popularity = 1.0 / np.arange(1, n + 1)
    target = rng.choice(n, size=rows, p=popularity / popularity.sum())
    if order == "popular last":
        target = n - 1 - target
    if order == "target first":
        target = np.zeros(rows, int)
    seen = rng.integers(1, n - 1, size=(rows, 5), dtype="int32")
    seen = np.where(seen == target[:, None], -1, seen)
    _, items = ranking.top_k(tf.zeros([rows, n]), seen, 10)
    hit_rate = (items.numpy() == target[:, None]).any(axis=1).mean()
    expected = 10 / 195  # about: 5 of 200 are masked out; standard error .0016
    assert abs(hit_rate - expected) < 0.007


@pytest.mark.parametrize("block", [None, 7, 30])
def test_a_tie_at_the_cut_alone_is_not_decided_by_the_vocabulary(block):
    """Three items are better than all others, two share ranks 4 and 5, and 4 is the last."""
    rows, tied = 400, (6, 21)
    scores = np.tile(-np.arange(1.0, 31).astype("float32"), (rows, 1))
    scores[:, [29, 3, 17]], scores[:, tied] = (9, 8, 7), 5
    seen = np.random.default_rng(0).permuted(np.tile(np.arange(22, 29), (rows, 1)), axis=1)
    seen = seen[:, :3].astype("int32")
    if block:
        pick = lambda items: tf.gather(scores, items, axis=1)  # noqa: E731
        _, items = ranking.top_k_by_blocks(pick, 30, seen, 4, block)
    else:
        _, items = ranking.top_k(scores, seen, 4)
    assert (items.numpy()[:, :3] == [29, 3, 17]).all()
    first, second = ((items.numpy()[:, 3] == item) for item in tied)
    assert (first | second).all()
    histories = np.unique(np.sort(seen, axis=1), axis=0, return_index=True)[1]  # 35 different ones
    assert 8 < first[histories].sum() < 27


def test_only_what_is_allowed_is_returned():
    scores = tf.constant([[0.1, 0.9, 0.5, 0.7]] * 4)
    seen = tf.constant([[1], [-1], [-1], [-1]])
    allow = tf.constant([[0, 1, -1], [-1, -1, -1], [2, 2, 9], [4, -7, -1]])
    _, items = ranking.top_k(scores, seen, 4, allow)
    assert items.numpy().tolist() == [
        [0, -1, -1, -1],
        [1, 3, 2, 0],  # padding only: everything
        [2, -1, -1, -1],
        [-1, -1, -1, -1],  # no known item: an empty list
    ]


@pytest.mark.parametrize("block", [1, 7, 40, 100])
@pytest.mark.parametrize("k", [3, 12, 60])
def test_blocks_give_what_one_top_k_gives(block, k):
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(6, 40)).astype("float32")
    scores[1:3] = np.round(scores[1:3])  # ties within and across blocks
    scores[3] = rng.choice(np.array([-0.0, 0.0], "float32"), 40)
    scores[4, 5:] = -INF
    seen = rng.integers(-1, 45, size=(6, 9), dtype="int32")
    allow = np.full([6, 20], -1, "int32")
    allow[5], allow[2] = rng.integers(-1, 40, 20), 99
    held = []

    def some(items):
        held.append(items)
        return tf.gather(scores, items, axis=1)

    for limit in (None, allow):
        due = ranking.top_k(scores, seen, k, limit)
        got = ranking.top_k_by_blocks(some, 40, seen, k, block, limit)
        for a, b in zip(got, due, strict=True):
            np.testing.assert_array_equal(a, b)
    assert max(len(items) for items in held) == min(block, 40)
    assert tf.concat(held, 0).numpy().tolist() == [*range(40)] * 2


def test_the_exported_function_answers_the_same(tmp_path):
    class Picker(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None, None], tf.int32),
            ]
        )
        def pick(self, scores, seen):
            return ranking.top_k(scores, seen, 5)

    tf.saved_model.save(Picker(), str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    rng = np.random.default_rng(3)
    for scores in (rng.normal(size=(4, 20)), np.ones((4, 20)), rng.normal(size=(1, 3))):
        scores, seen = tf.constant(scores, tf.float32), tf.constant([[1, -1]] * len(scores))
        for ours, theirs in zip(
            ranking.top_k(scores, seen, 5), loaded.pick(scores, seen), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_candidates_in_any_order_are_ranked_as_all_items_are():
    """Equal scores among them, which are ordered by the item and not by its column."""
    rng = np.random.default_rng(5)
    scores = rng.integers(4, size=(6, 30)).astype(np.float32)
    seen = rng.integers(-1, 30, size=(6, 5)).astype(np.int32)
    due = ranking.top_k(scores, seen, 8)
    items = np.stack([rng.permutation(34) for _ in range(6)]).astype(np.int32)
    items[items >= 30] -= 35  # -5 .. -2: no items
    of_items = np.where(items >= 0, np.take_along_axis(scores, np.maximum(items, 0), 1), 99)
    for got, expected in zip(ranking.top_k_of(of_items, items, seen, 8, 30), due):
        np.testing.assert_array_equal(got, expected)
