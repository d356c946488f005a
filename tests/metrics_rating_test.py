"""RatingReport against worked values; ties, item rows, events, batches."""

import numpy as np
import pytest
from batches import make_info, rated

from tfrec import metrics


def test_worked_masked_error_is_pooled():
    report = metrics.RatingReport(make_info(2, 3), clip=False)
    result = rated(report, [[4, 1, 3.5], [2, 3, 3]], [[0, 2], [1, -1]], [[5, 3], [1, 0]]).result()
    assert result["rmse"] == pytest.approx(1.322876, abs=1e-6)
    assert result["rmse"] ** 2 == pytest.approx(1.75)
    assert result["mae"] == pytest.approx((1 + 0.5 + 2) / 3)
    assert result["n_ratings"] == 3
    per_user = report.per_user()
    np.testing.assert_allclose(per_user["squared_error"], [1.25, 4.0])
    np.testing.assert_array_equal(per_user["n_ratings"], [2, 1])


def test_predictions_are_clipped_for_errors_but_not_for_ranking():
    scores, items, values = [[7.0, 9.0, -3.0]], [[0, 1, 2]], [[2, 5, 1]]
    result = rated(metrics.RatingReport(make_info(1, 3), ks=(1,)), scores, items, values).result()
    assert result["rmse"] == pytest.approx(np.sqrt((3**2 + 0 + 0) / 3))
    assert result["rerank_precision@1"] == 1.0  # 9 before 7, though both clip to 5
    raw = rated(metrics.RatingReport(make_info(1, 3), clip=False), scores, items, values).result()
    assert raw["mae"] == pytest.approx((5 + 4 + 4) / 3)


def test_reranking_precision_by_hand():
    scores = [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [0, 0, 0, 0, 0, 9]]
    items = [[0, 1, 2, 3], [0, 5, -1, -1], [-1, -1, -1, -1]]
    values = [[5, 1, 4, 2], [3.5, 4, 0, 0], [0, 0, 0, 0]]
    report = rated(metrics.RatingReport(make_info(3, 6), ks=(2, 3)), scores, items, values)
    # User 0 ranks 3, 2, 1, 0: relevant are 2 and 0. User 1 ranks 0, 5: relevant is 5.
    assert report.result()["rerank_precision@2"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert report.result()["rerank_precision@3"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert report.users.tolist() == [0, 1]


def test_equal_predictions_count_by_expectation():
    scores = [[9, 3, 3, 3, 3, 1]]
    values = [[1, 5, 4, 2, 1, 5]]  # of the four tied, two are relevant
    report = rated(
        metrics.RatingReport(make_info(1, 6), ks=(1, 3, 5, 6)), scores, [range(6)], values
    )
    result = report.result()
    assert result["rerank_precision@1"] == 0.0
    assert result["rerank_precision@3"] == pytest.approx((0 + 2 * 2 / 4) / 3)
    assert result["rerank_precision@5"] == pytest.approx(2 / 5)
    assert result["rerank_precision@6"] == pytest.approx(3 / 6)


def test_item_rows_are_regrouped_by_user():
    rng = np.random.default_rng(6)
    scores = rng.uniform(1, 5, size=(8, 12)).astype("float32")  # [users, items]
    values = rng.integers(1, 6, size=(8, 12))
    kept = rng.random((8, 12)) < 0.5
    items = np.where(kept, np.arange(12), -1)
    users = np.where(kept.T, np.arange(8), -1)
    by_user = rated(metrics.RatingReport(make_info(8, 12)), scores, items, values)
    by_item = rated(metrics.RatingReport(make_info(8, 12, "item")), scores.T, users, values.T)
    assert by_item.result() == by_user.result()
    np.testing.assert_array_equal(by_item.users, by_user.users)
    for name, value in by_user.per_user().items():
        np.testing.assert_array_equal(by_item.per_user()[name], value)


def events(report, user, item, value, score):
    batch = {"user": np.asarray(user, "int32"), "item": np.asarray(item, "int32")}
    report.update(batch, {"value": np.asarray(value, "float32")}, np.asarray(score, "float32"))
    return report


@pytest.mark.parametrize("rows", ["user", "item"])
def test_events_and_histories_of_the_same_ratings_give_the_same_numbers(rows):
    rng = np.random.default_rng(11)
    scores = rng.uniform(0, 6, size=(8, 12)).round(1).astype("float32")
    values = rng.integers(1, 6, size=(8, 12))
    kept = rng.random((8, 12)) < 0.5
    info = make_info(8, 12, rows)
    if rows == "user":
        items = np.where(kept, np.arange(12), -1)
        whole = rated(metrics.RatingReport(info), scores, items, values)
    else:
        users = np.where(kept.T, np.arange(8), -1)
        whole = rated(metrics.RatingReport(info), scores.T, users, values.T)
    report = metrics.RatingReport(info)
    for part in np.array_split(rng.permutation(np.argwhere(kept)), 5):
        user, item = np.append(part, [[-1, -1]], axis=0).T  # ends in a filler
        events(report, user, item, values[user, item], np.append(scores[*part.T], np.nan))
    assert report.result() == whole.result()
    np.testing.assert_array_equal(report.users, whole.users)
    for name, value in whole.per_user().items():
        np.testing.assert_array_equal(report.per_user()[name], value)


def test_worked_errors_of_events():
    report = metrics.RatingReport(make_info(2, 3), clip=False, ks=(1,))
    result = events(report, [0, 1, 0, -1], [0, 1, 2, -1], [5, 1, 3, 0], [4, 3, 3.5, 9]).result()
    assert result["rmse"] ** 2 == pytest.approx(1.75)
    assert result["mae"] == pytest.approx((1 + 0.5 + 2) / 3)
    assert result["rerank_precision@1"] == 1 / 2
    assert result["n_ratings"] == 3


def test_bad_events_are_refused():
    report = metrics.RatingReport(make_info(2, 3))
    with pytest.raises(ValueError, match=r"scores must be \[1\], got \[1, 3\]"):
        events(report, [0], [1], [4], [[4, 4, 4]])
    with pytest.raises(ValueError, match=r"value must be \[2\], got \[1\]"):
        events(report, [0, 1], [1, 1], [4], [4, 4])
    with pytest.raises(ValueError, match=r"user 2 is not a position in \[0, 2\)"):
        events(report, [2], [0], [4], [4])
    with pytest.raises(ValueError, match=r"item 2 is not a position in \[0, 2\)"):
        events(metrics.RatingReport(make_info(3, 2, "item")), [2], [2], [4], [4])
    with pytest.raises(ValueError, match="user 1 for item 2 is nan: the model diverged"):
        events(report, [0, 1], [0, 2], [4, 4], [4, np.nan])
    with pytest.raises(ValueError, match="user 1 on item 2 was evaluated twice"):
        events(report, [1, 0, 1], [2, 2, 2], [4, 4, 4], [4, 4, 4])
    events(events(report, [1], [0], [4], [4]), [1], [0], [4], [4])  # in two batches
    with pytest.raises(ValueError, match="user 1 on item 0 was evaluated twice"):
        report.result()


def test_predictions_that_are_not_finite_are_refused_only_where_they_count():
    scores = [[np.nan, 1.0], [np.nan, np.nan]]
    report = metrics.RatingReport(make_info(2, 2))
    rated(report, scores, [[1], [0]], [[1], [1]], users=[0, -1])
    assert report.result()["rmse"] == 0.0
    with pytest.raises(ValueError, match="row 1 for item 0 is nan"):
        rated(report, scores, [[1], [0]], [[1], [1]])


def test_bad_rating_batches_are_refused():
    report = metrics.RatingReport(make_info(2, 4))
    with pytest.raises(ValueError, match=r"scores must be \[1, 4\], got \[1, 3\]"):
        rated(report, np.ones([1, 3]), [[0]], [[1]])
    with pytest.raises(ValueError, match=r"target_values must be \[1, 1\], got \[1, 2\]"):
        rated(report, np.ones([1, 4]), [[0]], [[1, 2]])
    with pytest.raises(ValueError, match=r"user 2 is not a position in \[0, 2\)"):
        rated(report, np.ones([1, 4]), [[0]], [[1]], users=[2])
    with pytest.raises(ValueError, match="needs 'items'; the batch holds"):
        report.update({"user": [0]}, {"target_items": [[0]], "target_values": [[1]]}, [[1] * 4])


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_rating_results_do_not_depend_on_batches_to_the_bit(batch):
    rng = np.random.default_rng(5)
    scores = rng.uniform(0, 6, size=(60, 80)).astype("float32")
    items = np.argsort(rng.random((60, 80)), axis=1)[:, :30]
    items[rng.random(items.shape) < 0.5] = -1
    values = rng.integers(1, 6, size=items.shape)
    whole = rated(metrics.RatingReport(make_info(60, 80)), scores, items, values)
    parts = metrics.RatingReport(make_info(60, 80))
    order = rng.permutation(60)
    for start in range(0, 60, batch):
        pick = order[start : start + batch]
        with_filler = np.append(pick, 0)
        rated(
            parts,
            scores[with_filler],
            items[with_filler],
            values[with_filler],
            users=np.append(pick, -1),
        )
    assert parts.result() == whole.result()
    for name, value in whole.per_user().items():
        np.testing.assert_array_equal(parts.per_user()[name], value)
