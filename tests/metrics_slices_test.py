"""Slices, calibration and what lists show, by hand or by definition."""

import numpy as np
import pytest
import scipy.sparse
from conftest import SIZE

from tfrec.metrics import CtrReport, RatingReport, SavedValues, calibration, exposure, slices
from tfrec.metrics.comparison import auc_interval, metric_value
from tfrec.metrics.kept_lists import KeptLists
from tfrec.schema import DatasetInfo

COUNTS = np.array([50, 30, 10, 5, 3, 2, 0, 0, 0, 0])


def info(**fields):
    n = {"train": 0, "validation": 0, "test": 0}
    return DatasetInfo("x", "p", "user", n_users=SIZE, n_items=10, n_ratings=n, **fields)


def test_exposure_by_hand():
    found = exposure.of_lists(np.array([[0, 1], [0, 2], [0, -1]]), COUNTS, 100)
    assert found.shares.tolist() == [0.6, 0.2, 0.2, 0, 0, 0, 0, 0, 0, 0]
    assert found.coverage == 0.3
    assert found.popularity == (3 * 50 + 30 + 10) / 5
    assert found.novelty == pytest.approx(-(3 * np.log2(0.5) + np.log2(0.3) + np.log2(0.1)) / 5)
    assert exposure.of_lists(np.array([[9]]), COUNTS, 100).novelty == pytest.approx(-np.log2(0.005))
    with pytest.raises(ValueError, match="nothing is recommended"):
        exposure.of_lists(np.full((2, 3), -1), COUNTS, 100)


def test_gini_is_half_the_relative_mean_difference():
    counts = np.random.default_rng(0).integers(0, 50, 30)
    pairs = np.abs(counts[:, np.newaxis] - counts).mean()
    assert exposure.gini(counts) == pytest.approx(pairs / 2 / counts.mean())
    assert exposure.gini(np.full(7, 3)) == pytest.approx(0, abs=1e-12)
    assert exposure.gini(np.array([0, 0, 0, 9])) == pytest.approx(0.75)
    assert exposure.gini(np.zeros(4)) == 0


def test_items_are_grouped_by_thirds_of_the_interactions():
    groups = [exposure.GROUPS[g] for g in exposure.groups(np.array([3, 4, 0, 2, 3]))]
    assert groups == ["middle", "head", "new", "tail", "middle"]
    assert exposure.deciles(COUNTS[::-1].copy()).tolist() == [6, 7, 8, 9, 5, 4, 3, 2, 1, 0]


def test_calibration_by_hand():
    prediction, value = np.array([0.05, 0.1, 0.19, 1.0]), np.array([0, 1, 0, 1.0])
    found = calibration.by_prediction(prediction, value, 0, 1)
    assert found.low.tolist() == pytest.approx([0, 0.1, 0.9]) and found.count.tolist() == [1, 2, 1]
    assert found.predicted.tolist() == pytest.approx([0.05, 0.145, 1])
    assert found.actual.tolist() == [0, 0.5, 1]
    by_value = calibration.by_value(prediction, value)
    assert by_value.low.tolist() == by_value.high.tolist() == [0, 1]
    assert by_value.rmse.tolist() == pytest.approx(
        [np.sqrt((0.05**2 + 0.19**2) / 2), np.sqrt(0.9**2 / 2)]
    )
    many = calibration.by_value(np.zeros(100), np.arange(100.0))
    assert many.count.tolist() == [10] * 10 and many.low[0] == 0 and many.high[-1] == 99


def test_recall_of_some_interactions():
    users, top = np.array([2, 5]), np.array([[1, 3], [4, -1]])
    owner, item = np.array([2, 2, 5, 7]), np.array([1, 9, 4, 4])
    found = slices.recall(users, top, owner, item, 10)
    assert found.users.tolist() == [2, 5] and found.values["recall@2"].tolist() == [0.5, 1]
    only = slices.recall(users, top, owner[:2], item[:2], 10)
    assert only.users.tolist() == [2] and only.values["recall@2"].tolist() == [0.5]


def test_lengths_fall_into_ranges_that_hold_all():
    lengths = np.array([0, 0, 1, 1, 1, 1, 2, 3, 8, 20, 21])
    ranges = slices.length_groups(lengths)
    assert ranges[0] == (0, 0) and ranges[-1][1] == 21
    inside = [sum(low <= n <= high for low, high in ranges) for n in lengths]
    assert inside == [1] * len(lengths)
    assert slices.length_groups(np.array([4, 4])) == [(4, 4)]


def test_errors_of_interactions_are_those_of_users():
    events = {"user": np.array([0, 0, 1]), "item": np.array([1, 2, 1])}
    for report, value, score in (
        (RatingReport(info()), [1.0, 5, 3], [2.0, 4, 9]),
        (CtrReport(info(rating_min=0.0, rating_max=1.0)), [1.0, 0, 1], [0.3, 2, -5]),
    ):
        report.update(events, {"value": np.array(value)}, np.array(score))
        found = report.per_interaction()
        saved = slices.of_interactions(
            type(report), *(found[name] for name in ("user", "value", "prediction"))
        )
        for name, column in saved.values.items():
            np.testing.assert_allclose(column, report.per_user()[name])
        part = slices.of_users(saved, np.array([1, 30]))
        assert part.users.tolist() == [1]
    assert metric_value(SavedValues(part.users, part.values, ""), "logloss") == pytest.approx(
        5.0067, abs=1e-4
    )


def test_an_auc_has_the_interval_of_hanley_and_mcneil():
    found = auc_interval(0.8, 50, 100)
    q1, q2 = 0.8 / 1.2, 2 * 0.64 / 1.8
    variance = (0.8 * 0.2 + 49 * (q1 - 0.64) + 99 * (q2 - 0.64)) / 5000
    assert found.high - found.value == pytest.approx(1.96 * np.sqrt(variance))
    assert auc_interval(1.0, 5, 5).high == 1


def test_the_lists_are_kept_in_the_order_of_their_rows():
    report = KeptLists(info(), (2,))
    features = {"user": np.array([7, -1, 3, 4]), "items": np.full((4, 1), -1)}
    targets = {"target_items": np.array([[1], [-1], [2], [-1]])}
    report.update(features, targets, np.array([[1, 5], [0, 7], [6, 2], [8, 9]]))
    users, top = report.lists()
    assert users.tolist() == [3, 7] and top.tolist() == [[6, 2], [1, 5]]
    assert report.result()["hr@2"] == 1


def test_diversity_is_the_mean_over_lists_of_pairs_without_common_users(monkeypatch):
    monkeypatch.setattr(exposure, "_LISTS", 2)
    x = (np.random.default_rng(0).random((30, 8)) < 0.4).astype(float)
    x[:, 7] = 0  # an item that no user has
    top = np.array([[0, 1, 2], [3, 4, -1], [5, 7, 6], [2, -1, -1]])
    norm = np.maximum(np.linalg.norm(x, axis=0), 1e-9)
    apart = 1 - (x.T @ x) / np.outer(norm, norm)
    lists = [[0, 1, 2], [3, 4], [5, 7, 6]]
    due = np.mean([np.mean([apart[i, j] for i in a for j in a if i != j]) for a in lists])
    assert exposure.diversity(top, scipy.sparse.csr_matrix(x)) == pytest.approx(due)
    assert np.isnan(exposure.diversity(top[3:], scipy.sparse.csr_matrix(x)))
