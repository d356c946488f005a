"""RankingReport against worked values and other libraries; what both reports refuse."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from batches import make_info, ranked, rated

from tfrec import metrics, ranking

# Ranking: worked values.


def test_worked_ndcg_and_recalls():
    report = metrics.RankingReport(make_info(1, 20), ks=(2, 5))
    result = ranked(report, [[7, 1, 8, 2, 3]], [[7, 8, 9]]).result()
    assert result["ndcg@5"] == pytest.approx(0.703918, abs=1e-6)
    assert result["recall_min@5"] == pytest.approx(2 / 3)
    assert result["recall@2"] == pytest.approx(1 / 3)
    assert result["recall_min@2"] == pytest.approx(1 / 2)
    assert result["precision@5"] == pytest.approx(2 / 5)
    assert result["map@5"] == pytest.approx((1 + 2 / 3) / 3)
    assert result["map@2"] == pytest.approx(1 / 2)
    assert result["coverage@5"] == pytest.approx(5 / 20)
    assert result["coverage@2"] == pytest.approx(2 / 20)


def test_leave_one_out_by_hand():
    top = [[4, 0, 1], [0, 1, 4], [0, 1, 2], [1, 4, 0]]
    report = metrics.RankingReport(make_info(4, 10), ks=(1, 3))
    result = ranked(report, top, [[4]] * 4).result()
    assert result["hr@1"] == 1 / 4
    assert result["hr@3"] == result["recall@3"] == 3 / 4
    assert result["ndcg@3"] == pytest.approx((1 + 1 / np.log2(4) + 0 + 1 / np.log2(3)) / 4)
    assert result["mrr@3"] == pytest.approx((1 + 1 / 3 + 0 + 1 / 2) / 4)
    assert result["n_rows"] == 4
    assert result["coverage@1"] == 3 / 10
    assert result["coverage@3"] == 4 / 10


def test_rows_without_target_and_filler_rows_count_nowhere():
    report = metrics.RankingReport(make_info(5, 10), ks=(2,))
    ranked(report, [[3, 1], [5, 6], [7, 8]], [[3, -1], [-1, -1], [7, 8]], users=[4, 0, -1])
    result = report.result()
    assert result["n_rows"] == 1
    assert result["recall@2"] == 1.0
    assert result["coverage@2"] == 2 / 10
    assert report.users.tolist() == [4]


def test_lists_shorter_than_the_cut_are_padded():
    report = metrics.RankingReport(make_info(1, 3), ks=(5,))
    result = ranked(report, [[2, 0, -1, -1, -1]], [[0]]).result()
    assert result["precision@5"] == 1 / 5
    assert result["recall@5"] == 1.0
    assert result["mrr@5"] == 1 / 2


def test_tensors_are_accepted():
    report = metrics.RankingReport(make_info(1, 5), ks=(2,))
    report.update(
        {"user": tf.constant([0]), "items": tf.constant([[1, -1]])},
        {"target_items": tf.constant([[3]], tf.int64)},
        tf.constant([[2, 3]], tf.int32),
    )
    assert report.result()["recall@2"] == 1.0


# Ranking: against other libraries.


def random_lists(rows=60, n=80, depth=20, seed=0):
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.random((rows, n)), axis=1)
    count = rng.integers(1, 40, size=rows)
    targets = np.where(np.arange(40) < count[:, None], order[:, :40], -1)
    top = np.argsort(rng.random((rows, n)), axis=1)[:, :depth]
    return top, targets, count


def as_dicts(top, targets):
    qrels = {str(u): {str(i): 1 for i in row if i >= 0} for u, row in enumerate(targets)}
    run = {str(u): {str(i): float(-r) for r, i in enumerate(row)} for u, row in enumerate(top)}
    return qrels, run


def test_row_by_row_like_ir_measures():
    ir_measures = pytest.importorskip("ir_measures")
    top, targets, count = random_lists()
    report = ranked(metrics.RankingReport(make_info(60, 80), ks=(3, 10, 20)), top, targets)
    ours = report.per_user()
    names = {"nDCG": "ndcg", "P": "precision", "R": "recall", "AP": "map", "Success": "hr"}
    oracles = {getattr(ir_measures, a) @ k: f"{b}@{k}" for a, b in names.items() for k in (3, 20)}
    oracles[ir_measures.RR @ 20] = "mrr@20"
    seen = 0
    for metric in ir_measures.iter_calc(list(oracles), *as_dicts(top, targets)):
        name, row = oracles[metric.measure], int(metric.query_id)
        value = ours[name][row]
        if name.startswith("map"):  # theirs divides by all targets
            value *= min(metric.measure["cutoff"], count[row]) / count[row]
        assert value == pytest.approx(metric.value, abs=1e-9), (name, row)
        seen += 1
    assert seen == 60 * len(oracles)


def test_on_average_like_ranx(monkeypatch):
    # Half a minute of compiling (with warnings) for a second of work: run it as plain Python.
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    ranx = pytest.importorskip("ranx")
    top, targets, _ = random_lists(seed=1)
    ours = ranked(metrics.RankingReport(make_info(60, 80), ks=(10,)), top[:, :10], targets)
    qrels, run = as_dicts(top, targets)
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), ["ndcg@10", "hit_rate@10"])
    assert ours.result()["ndcg@10"] == pytest.approx(theirs["ndcg@10"])
    assert ours.result()["hr@10"] == pytest.approx(theirs["hit_rate@10"])


def test_recall_min_and_map_like_a_loop():
    top, targets, _ = random_lists(seed=2)
    ours = ranked(metrics.RankingReport(make_info(60, 80), ks=(7, 20)), top, targets).per_user()
    for row in range(60):
        wanted = {i for i in targets[row] if i >= 0}
        for k in (7, 20):
            hits = [i in wanted for i in top[row, :k]]
            ap = sum(sum(hits[: j + 1]) / (j + 1) for j in range(k) if hits[j])
            assert ours[f"recall_min@{k}"][row] == sum(hits) / min(k, len(wanted))
            assert ours[f"map@{k}"][row] == pytest.approx(ap / min(k, len(wanted)))


def test_a_constant_scorer_gets_chance_even_with_the_target_first():
    rows, n = 5_000, 101
    report = metrics.RankingReport(make_info(rows, n), ks=(10,))
    # Every target is item 0; what was seen differs from row to row.
    seen = np.argsort(np.random.default_rng(0).random((rows, n - 1)), axis=1)[:, :3] + 1
    _, top = ranking.top_k(tf.zeros([rows, n]), tf.constant(seen, tf.int32), 10)
    ranked(report, top, np.zeros([rows, 1], int), items=seen)
    assert report.result()["hr@10"] == pytest.approx(10 / 98, abs=0.02)


# Batches, order, replicas.


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_ranking_results_do_not_depend_on_batches_to_the_bit(batch):
    top, targets, _ = random_lists(seed=3)
    whole = ranked(metrics.RankingReport(make_info(60, 80), ks=(5, 20)), top, targets)
    parts = metrics.RankingReport(make_info(60, 80), ks=(5, 20))
    order = np.random.default_rng(4).permutation(60)
    for start in range(0, 60, batch):
        pick = order[start : start + batch]
        filler = [-1] * 2
        ranked(
            parts,
            np.concatenate([top[pick], top[:2]]),
            np.concatenate([targets[pick], targets[:2]]),
            users=np.concatenate([pick, filler]),
        )
    assert parts.result() == whole.result()
    for name, value in whole.per_user().items():
        np.testing.assert_array_equal(parts.per_user()[name], value)


def test_a_row_evaluated_twice_is_refused():
    report = metrics.RankingReport(make_info(3, 10), ks=(1,))
    for _ in range(2):
        ranked(report, [[1]], [[2]], users=[2])
    with pytest.raises(ValueError, match="row 2 was evaluated 2 times"):
        report.result()
    report = metrics.RatingReport(make_info(3, 10))
    for _ in range(2):
        rated(report, np.ones([1, 10]), [[7]], [[3]], users=[2])
    with pytest.raises(ValueError, match="user 2 on item 7 was evaluated twice"):
        report.result()


# What is refused.


def test_a_leaking_split_is_refused_and_the_row_named():
    message = r"refuses a leaking split: row 3 has target item 5 in its input.*\(2 rows"
    seen, targets, users = [[1, 2], [5, 6], [0, 4]], [[3, 4], [7, 5], [0, 9]], [0, 3, 1]
    report = metrics.RankingReport(make_info(4, 10), ks=(1,))
    with pytest.raises(ValueError, match=message):
        ranked(report, [[8], [8], [8]], targets, users=users, items=seen)
    with pytest.raises(ValueError, match=message):
        rated(
            metrics.RatingReport(make_info(4, 10)),
            np.ones([3, 10]),
            targets,
            np.ones([3, 2]),
            users=users,
            items=seen,
        )


def test_another_rows_input_and_filler_rows_are_no_leak():
    report = metrics.RankingReport(make_info(4, 10), ks=(1,))
    ranked(report, [[8], [8], [5]], [[5], [1], [5]], users=[0, 1, -1], items=[[1], [5], [5]])
    assert report.result()["n_rows"] == 2


@pytest.mark.parametrize(
    ("top", "targets", "items", "message"),
    [
        ([[1, 2]], [[3, 3]], [[0]], "row 0 has the target item 3 twice"),
        ([[2, 2]], [[3]], [[0]], "row 0 lists item 2 twice"),
        ([[2, 0]], [[3]], [[0]], "row 0 lists item 0, which is in its input"),
        ([[2, 10]], [[3]], [[0]], r"top_items hold positions outside \[0, 10\)"),
        ([[2]], [[3]], [[0]], r"top_items must be \[1, at least 2\], got \[1, 1\]"),
        ([[2, 1]], [[10]], [[0]], r"target_items 10 is not a position in \[0, 10\)"),
        ([[2, 1]], [[3]], [[12]], r"items 12 is not a position in \[0, 10\)"),
        ([[2, 1]], [3], [[0]], r"got \[1\], \[1, 1\], \[1\]"),
    ],
)
def test_bad_ranking_batches_are_refused(top, targets, items, message):
    with pytest.raises(ValueError, match=message):
        ranked(metrics.RankingReport(make_info(1, 10), ks=(2,)), top, targets, items=items)


@pytest.mark.parametrize("kind", [metrics.RatingReport, metrics.RankingReport])
def test_nothing_to_report_is_an_error_not_a_number(kind):
    report = kind(make_info(1, 1))
    with pytest.raises(ValueError, match="nothing to report"):
        report.result()


def test_cuts_below_one_are_refused():
    with pytest.raises(ValueError, match="every cut must be at least 1"):
        metrics.RankingReport(make_info(1, 1), ks=(0, 5))


# Directions, protocol.


def test_cuts_are_put_in_order():
    report = metrics.RankingReport(make_info(1, 1), ks=(3, 2))
    assert (report.ks, report.depth) == ((2, 3), 3)


def test_directions_of_metrics():
    assert not metrics.higher_is_better("rmse")
    assert not metrics.higher_is_better("val_loss")
    assert metrics.higher_is_better("val_ndcg@100")
    with pytest.raises(ValueError, match="did you mean 'rmse'"):
        metrics.higher_is_better("rsme")


def test_every_reported_metric_has_a_direction():
    top, targets, _ = random_lists()
    names = set(ranked(metrics.RankingReport(make_info(60, 80), ks=(5,)), top, targets).result())
    report = metrics.RatingReport(make_info(1, 1))
    names |= set(rated(report, [[1.0]], [[0]], [[1]]).result())
    for name in names - {"n_rows", "n_ratings"}:
        metrics.higher_is_better(name)


def test_the_protocol_says_what_was_measured():
    info = dataclasses.replace(make_info(2, 3706), protocol="ML-1M, last rating held out")
    text = metrics.RankingReport(info).protocol
    assert text.startswith("ML-1M, last rating held out; full ranking over 3,706 items")
    assert "over 2 users" in metrics.RankingReport(make_info(2, 5, "item")).protocol
    assert "clipped to 1-5" in metrics.RatingReport(info).protocol
    assert "not clipped" in metrics.RatingReport(info, clip=False).protocol
