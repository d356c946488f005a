"""CtrReport against worked values and pairs; ties, users, item rows, batches, comparisons."""

import dataclasses
import math

import numpy as np
import pytest

from tfrec import metrics
from tfrec.schema import DatasetInfo


def make_info(n_users=10, n_items=20, rows="user"):
    return DatasetInfo("toy", "toy split", rows, n_users, n_items, n_ratings={"test": 1})


def measured(user, item, label, logit, info=None, report=None):
    report = report or metrics.CtrReport(info or make_info())
    features = {"user": np.asarray(user, "int32"), "item": np.asarray(item, "int32")}
    report.update(features, {"value": np.asarray(label, "float32")}, np.asarray(logit, "float32"))
    return report


def auc_by_pairs(label, logit):
    gap = np.asarray(logit)[label == 1][:, None] - np.asarray(logit)[label == 0]
    return np.mean((gap > 0) + 0.5 * (gap == 0))


def random_events(seed=0, n_users=10, n_items=20, share=0.6):
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((n_users, n_items)) < share)
    label = (rng.random(len(user)) < 0.2 + 0.5 * user / n_users).astype(int)
    label[user == 0] = 0  # one label only
    logit = (rng.normal(label, 2) * 4).round() / 4  # many ties
    return user, item, label, logit.astype("float32")


def test_worked_numbers():
    logit = [math.log(3), 0, 0, math.log(6)]  # p = 3/4, 1/2, 1/2, 6/7
    result = measured([0, 1, 2, 3], [5] * 4, [1, 1, 0, 0], logit).result()
    assert result["auc"] == (1 + 0 + 0.5 + 0) / 4
    losses = [math.log(4 / 3), math.log(2), math.log(2), math.log(7)]
    assert result["logloss"] == pytest.approx(sum(losses) / 4)
    assert result["calibration"] == pytest.approx((3 / 4 + 1 / 2 + 1 / 2 + 6 / 7) / 2)
    assert result["ece"] == pytest.approx((1 / 4 + 0 + 6 / 7) / 4)  # the two at 1/2: one bin
    assert (result["n_events"], result["positives"], result["gauc_users"]) == (4, 0.5, 0)
    assert "gauc" not in result  # no user has both labels


def test_auc_within_users_by_hand():
    user = [0, 0, 0, 1, 1, 1, 1, 2, 2, 3]
    label = [1, 0, 0, 1, 1, 0, 0, 1, 1, 0]
    logit = [2, 1, 3, 9, 5, 5, 1, -9, -8, 7]
    result = measured(user, range(10), label, logit).result()
    # User 0: 1 of 2 pairs; user 1: 2 + 1.5 of 4; users 2 and 3 have one label each.
    assert result["gauc"] == pytest.approx((3 * 0.5 + 4 * 3.5 / 4) / 7)
    assert result["gauc_users"] == 2
    assert result["auc"] == pytest.approx(auc_by_pairs(np.array(label), logit))


def test_auc_is_that_of_all_pairs():
    user, item, label, logit = random_events()
    result = measured(user, item, label, logit).result()
    assert result["auc"] == auc_by_pairs(label, logit)
    both = [u for u in range(10) if 0 < label[user == u].mean() < 1]
    aucs = [auc_by_pairs(label[user == u], logit[user == u]) for u in both]
    weights = [np.sum(user == u) for u in both]
    assert result["gauc"] == pytest.approx(np.average(aucs, weights=weights))
    assert result["gauc_users"] == len(both) < 10


def test_calibration_error_is_that_of_ten_bins():
    user, item, label, logit = random_events(1)
    p = 1 / (1 + np.exp(-logit.astype(float)))
    gaps = []
    for b in range(10):
        inside = (p >= b / 10) & (p < (b + 1) / 10)
        gaps.append(abs((p - label)[inside].sum()))
    result = measured(user, item, label, logit).result()
    assert result["ece"] == pytest.approx(sum(gaps) / len(p))
    assert result["calibration"] == pytest.approx(p.sum() / label.sum())


def test_the_outer_bins_are_bins_of_their_own():
    odds = [0.05 / 0.95, 0.15 / 0.85, 0.85 / 0.15, 0.95 / 0.05]
    result = measured([0] * 4, range(4), [1, 0, 1, 0], np.log(odds)).result()
    assert result["ece"] == pytest.approx((0.95 + 0.15 + 0.15 + 0.95) / 4)


def test_a_constant_has_the_auc_of_chance_and_its_entropy():
    result = measured([0] * 4, range(4), [1, 0, 0, 0], [-math.log(3)] * 4).result()
    assert (result["auc"], result["gauc"]) == (0.5, 0.5)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert result["logloss"] == pytest.approx(entropy)
    assert result["calibration"] == pytest.approx(1.0)
    assert result["ece"] == pytest.approx(0.0, abs=1e-7)


def test_large_logits_stay_finite_and_apart():
    result = measured([0] * 4, range(4), [1, 0, 1, 0], [900, 800, -800, -900]).result()
    assert result["auc"] == 0.75  # as probabilities 900 and 800 are both 1
    assert result["logloss"] == pytest.approx((800 + 800) / 4)
    assert result["ece"] == pytest.approx((abs(2 - 1) + abs(0 - 1)) / 4)


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_ctr_results_do_not_depend_on_batches_to_the_bit(batch):
    user, item, label, logit = random_events(2)
    whole, parts = measured(user, item, label, logit), metrics.CtrReport(make_info())
    order = np.random.default_rng(3).permutation(len(user))
    for start in range(0, len(order), batch):
        pick = order[start : start + batch]
        fill = [np.append(x[pick], y) for x, y in ((user, -1), (item, -1), (label, 7))]
        measured(*fill, np.append(logit[pick], np.nan), report=parts)
    assert parts.result() == whole.result()
    np.testing.assert_array_equal(parts.users, whole.users)
    for name, value in whole.per_user().items():
        np.testing.assert_array_equal(parts.per_user()[name], value)


def test_users_are_users_where_rows_are_items():
    by_user = measured(*random_events(4))
    by_item = measured(*random_events(4), info=make_info(rows="item"))
    assert by_item.result() == by_user.result()
    for name, value in by_user.per_user().items():
        np.testing.assert_array_equal(by_item.per_user()[name], value)


def test_sums_by_user():
    report = measured([4, 1, 4, 4], range(4), [1, 1, 0, 0], [math.log(3), 0, 0, 2])
    values = report.per_user()
    assert report.users.tolist() == [1, 4]
    loss = math.log(4 / 3) + math.log(2) + math.log(1 + math.e**2)
    np.testing.assert_allclose(values["logloss"], [math.log(2), loss])
    np.testing.assert_array_equal(values["n_events"], [1, 3])
    np.testing.assert_array_equal(values["gauc_events"], [0, 3])
    np.testing.assert_array_equal(values["gauc"], [0, 3 * 1 / 2])


def test_blocks_of_a_log_without_ids_are_no_users():
    report = measured(*random_events(), info=dataclasses.replace(make_info(), has_ids=False))
    assert "gauc" not in report.result() and "gauc" not in report.per_user()
    assert report.result()["gauc_users"] == 0
    assert report.result()["auc"] == measured(*random_events()).result()["auc"]


@pytest.mark.parametrize(
    ("user", "item", "label", "logit", "message"),
    [
        ([0], [1], [4], [0.0], "value 4 is not a label.*--data label_above=3"),
        ([0], [1], [np.nan], [0.0], "value nan is not a label"),
        ([10], [1], [1], [0.0], r"user 10 is not a position in \[0, 10\)"),
        ([0], [20], [1], [0.0], r"item 20 is not a position in \[0, 20\)"),
        ([0], [-1], [1], [0.0], "item -1 is not a position"),
        ([0, 0], [1, 1], [1, 0], [0.0, 0.0], "user 0 on item 1 was evaluated twice"),
        ([0, 3], [1, 2], [1, 0], [0.0, np.inf], "user 3 for item 2 is inf: the model diverged"),
        ([0, 3], [1, 2], [1, 0], [[0.0], [0.0]], r"scores must be \[2\], got \[2, 1\]"),
        ([0, 3], [1, 2], [1], [0.0, 0.0], r"value must be \[2\], got \[1\]"),
        ([[0], [3]], [1, 2], [1, 0], [0.0, 0.0], r"user must be \[2\], got \[2, 1\]"),
    ],
)
def test_bad_events_are_refused(user, item, label, logit, message):
    with pytest.raises(ValueError, match=message):
        measured(user, item, label, logit)


def test_what_has_no_auc_is_an_error():
    report = metrics.CtrReport(make_info())
    with pytest.raises(ValueError, match="nothing to report"):
        report.result()
    with pytest.raises(ValueError, match="needs 'item'; the batch holds"):
        report.update({"user": [0], "items": [[1]]}, {"value": [1]}, [0.0])
    measured([0, 1], [1, 1], [1, 1], [0.0, 1.0], report=report)
    with pytest.raises(ValueError, match="all labels are equal: 2 events, all 1"):
        report.result()
    measured([0], [1], [0], [0.0], report=report)  # in another batch
    with pytest.raises(ValueError, match="user 0 on item 1 was evaluated twice"):
        report.result()


def two_runs():
    user, item, label, logit = random_events(5, n_users=60, n_items=40)
    info = make_info(60, 40)
    noise = np.random.default_rng(6).normal(0, 3, len(logit))
    return [measured(user, item, label, x, info) for x in (logit, logit + noise)]


@pytest.mark.parametrize("metric", ["logloss", "gauc"])
def test_ctr_runs_are_compared_by_pooled_sums(metric, tmp_path):
    good, poor = two_runs()
    found = metrics.compare(good, poor, metric, draws=500)
    assert found.mean_difference == pytest.approx(good.result()[metric] - poor.result()[metric])
    assert found.low < found.mean_difference < found.high
    assert (found.low > 0) == metrics.higher_is_better(metric)
    assert found.high * found.low > 0 and found.p_value == pytest.approx(1 / 501)
    assert found.n == (60 if metric == "logloss" else good.result()["gauc_users"])
    good.save(tmp_path / "good.npz")
    assert metrics.compare(tmp_path / "good.npz", poor, metric, draws=500) == found


def test_gauc_draws_among_users_with_both_labels_only():
    # Drawn among all 10, samples without the one user that counts would be 0 / 0.
    user, label = np.append(np.arange(10), 0), [1] + [0] * 10
    runs = [measured(user, range(11), label, [x] + [0] * 10) for x in (1, -1)]
    found = metrics.compare(*runs, "gauc", draws=200)
    assert (found.mean_difference, found.low, found.high, found.n) == (1, 1, 1, 1)
    assert found.p_value == 1  # one user proves nothing


def test_what_cannot_be_compared_is_refused():
    good, poor = two_runs()
    with pytest.raises(ValueError, match="no 'auc' by user; did you mean 'gauc'.*logloss, gauc$"):
        metrics.compare(good, poor, "auc")
    alone = [measured([0, 1], [0, 1], [1, 0], [0, x]) for x in (0, 1)]
    with pytest.raises(ValueError, match="no 'gauc' by user; known: logloss$"):
        metrics.compare(*alone, "gauc")
    other = measured([0, 1], [0, 1], [0, 1], [0, 0])
    with pytest.raises(ValueError, match="different targets: user 0 and 1 others"):
        metrics.compare(alone[0], other, "logloss")


def test_registered_with_directions_and_a_protocol():
    report = measured(*random_events(), report=metrics.CtrReport(make_info()))
    up = {"auc", "gauc"}
    for name in set(report.result()) - {"calibration", "gauc_users", "n_events", "positives"}:
        assert metrics.higher_is_better("val_" + name) == (name in up)
    with pytest.raises(ValueError, match="unknown metric 'calibration'"):
        metrics.higher_is_better("calibration")
    assert report.protocol.startswith("toy split; over all held-out events")
