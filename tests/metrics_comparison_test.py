"""Comparing two runs: intervals, p-values, saved files, runs that do not match."""

import numpy as np
import pytest
from batches import make_info, ranked, rated

from tfrec import metrics


def two_ranking_runs(rows=300, n=50):
    """A good run and a random one, on the same targets."""
    rng = np.random.default_rng(7)
    order = np.argsort(rng.random((rows, n)), axis=1)
    targets = order[:, :5]
    good = metrics.RankingReport(make_info(rows, n), ks=(10,))
    ranked(good, np.concatenate([order[:, 20:23], order[:, 2:9]], axis=1), targets)
    poor = metrics.RankingReport(make_info(rows, n), ks=(10,))
    ranked(poor, np.argsort(rng.random((rows, n)), axis=1)[:, :10], targets)
    return good, poor


def test_identical_runs_do_not_differ():
    good, _ = two_ranking_runs()
    same = metrics.compare(good, good, "ndcg@10", draws=500)
    assert (same.mean_difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert same.n == 300


def test_different_runs_differ_either_way():
    good, poor = two_ranking_runs()
    up = metrics.compare(good, poor, "recall@10", draws=1000)
    down = metrics.compare(poor, good, "recall@10", draws=1000)
    expected = good.result()["recall@10"] - poor.result()["recall@10"]
    assert up.mean_difference == pytest.approx(expected)
    assert 0 < up.low < up.mean_difference < up.high
    assert up.p_value == down.p_value == pytest.approx(1 / 1001)
    assert down.mean_difference == -up.mean_difference
    assert down == metrics.compare(poor, good, "recall@10", draws=1000)


def fake_run(values):
    users = np.arange(len(values))
    values = {"ndcg@10": np.asarray(values, float), "targets": np.zeros(len(users), np.uint64)}
    return metrics.SavedValues(users, values, "toy")


def test_interval_and_p_value_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(8)
    a = rng.normal(0.50, 0.2, size=400)
    b = a - rng.normal(0.02, 0.2, size=400)
    ours = metrics.compare(fake_run(a), fake_run(b), "ndcg@10")
    interval = stats.bootstrap((a - b,), np.mean, method="percentile", rng=1)
    test = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", vectorized=False, rng=1
    )
    assert ours.low == pytest.approx(interval.confidence_interval.low, abs=0.001)
    assert ours.high == pytest.approx(interval.confidence_interval.high, abs=0.001)
    assert ours.p_value == pytest.approx(test.pvalue, abs=0.02)
    assert ours.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_a_few_users_that_all_agree_are_not_overvalued():
    # 3 users: the exact two-sided p-value of a constant shift is 2 / 2**3.
    shift = metrics.compare(fake_run([0.4, 0.6, 0.7]), fake_run([0.3, 0.5, 0.6]), "ndcg@10")
    assert shift.p_value == pytest.approx(2 / 8, abs=0.02)
    assert shift.low == pytest.approx(0.1)


def test_rating_runs_are_compared_by_pooled_error():
    rng = np.random.default_rng(9)
    items, values = np.tile(np.arange(20), (40, 1)), rng.integers(1, 6, size=(40, 20))
    items[:20, 5:] = -1
    runs = []
    for noise in (0.5, 0.9):
        scores = values + rng.normal(0, noise, size=values.shape)
        runs.append(rated(metrics.RatingReport(make_info(40, 20)), scores, items, values))
    for metric in ("rmse", "mae", "rerank_precision@5"):
        found = metrics.compare(*runs, metric, draws=500)
        expected = runs[0].result()[metric] - runs[1].result()[metric]
        assert found.mean_difference == pytest.approx(expected)
        assert found.low < found.mean_difference < found.high
    assert metrics.compare(*runs, "rmse", draws=500).high < 0


def test_saved_runs_compare_like_live_ones(tmp_path):
    good, poor = two_ranking_runs()
    good.save(tmp_path / "good.npz")
    poor.save(tmp_path / "poor.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.npz", "poor.npz"]
    saved = metrics.SavedValues.load(tmp_path / "good.npz")
    assert saved.protocol == good.protocol
    np.testing.assert_array_equal(saved.per_user()["mrr@10"], good.per_user()["mrr@10"])
    live = metrics.compare(good, poor, "map@10", draws=200)
    assert metrics.compare(tmp_path / "good.npz", poor, "map@10", draws=200) == live
    assert metrics.compare(good, str(tmp_path / "poor.npz"), "map@10", draws=200) == live


def test_runs_on_other_users_targets_or_metrics_are_refused():
    info = make_info(6, 10)
    first = ranked(metrics.RankingReport(info, ks=(1,)), [[0], [0]], [[1], [2]], users=[0, 1])
    users = ranked(metrics.RankingReport(info, ks=(1,)), [[0], [0]], [[1], [2]], users=[0, 5])
    items = ranked(metrics.RankingReport(info, ks=(1,)), [[0], [0]], [[1], [3]], users=[0, 1])
    cuts = ranked(metrics.RankingReport(info, ks=(2,)), [[0, 4]] * 2, [[1], [2]], users=[0, 1])
    with pytest.raises(ValueError, match=r"1 only in the first \(such as \[1\]\).*\[5\]"):
        metrics.compare(first, users, "hr@1")
    with pytest.raises(ValueError, match="different targets: user 1 "):
        metrics.compare(first, items, "hr@1")
    with pytest.raises(ValueError, match=r"first run has no 'ndgc@1'.*did you mean 'ndcg@1'"):
        metrics.compare(first, first, "ndgc@1")
    with pytest.raises(ValueError, match="second run has no 'hr@1'"):
        metrics.compare(first, cuts, "hr@1")


def test_holm_by_hand():
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert metrics.holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert metrics.holm([]) == []


def test_a_metric_over_users_is_the_reports_own():
    good, _ = two_ranking_runs()
    assert metrics.metric_value(good, "ndcg@10") == pytest.approx(good.result()["ndcg@10"])
    report = metrics.RatingReport(make_info(2, 3))
    rated(report, [[1, 2, 3], [4, 5, 4]], [[0, 2], [1, -1]], [[2, 5], [4, 0]])
    for name in ("rmse", "mae"):
        assert metrics.metric_value(report, name) == pytest.approx(report.result()[name])
    with pytest.raises(ValueError, match="did you mean 'rmse'"):
        metrics.metric_value(report, "rmsee")
