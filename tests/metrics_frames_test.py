"""Metrics of arrays and frames: the reports' numbers, other libraries' numbers, what is refused."""

import pathlib
import re

import numpy as np
import pandas as pd
import pytest

from tfrec import metrics
from tfrec.schema import DatasetInfo

KS = (1, 3, 10)
N_USERS, N_ITEMS = 60, 40


def info():
    return DatasetInfo("toy", "toy split", "user", N_USERS, N_ITEMS, n_ratings={"test": 1})


def case(seed=0):
    """Random lists and targets as the report takes them; some rows are short, some are empty."""
    random = np.random.default_rng(seed)
    top = np.argsort(random.random((N_USERS, N_ITEMS)), axis=1)[:, : KS[-1]]
    length = random.integers(0, KS[-1] + 1, N_USERS)
    top[np.arange(KS[-1]) >= length[:, np.newaxis]] = -1
    targets = np.argsort(random.random((N_USERS, N_ITEMS)), axis=1)[:, :12]
    count = random.integers(0, 13, N_USERS)
    targets[np.arange(12) >= count[:, np.newaxis]] = -1
    return top, targets


def as_frames(top, targets):
    """The same as frames with text ids, their rows shuffled."""
    frames = []
    for lists in (top, targets):
        row, rank = np.nonzero(lists >= 0)
        users, items = ([f"{c}{x:03}" for x in xs] for c, xs in zip("ui", (row, lists[row, rank])))
        frame = pd.DataFrame({"user": users, "item": items, "rank": rank + 1})
        frames.append(frame.sample(frac=1, random_state=0))
    return frames[0], frames[1][["user", "item"]]


def report_of(top, targets):
    report = metrics.RankingReport(info(), KS)
    features = {"user": np.arange(N_USERS), "items": np.full([N_USERS, 1], -1)}
    report.update(features, {"target_items": targets}, top)
    return report


def test_rankings_are_those_of_the_report_to_the_bit():
    top, targets = case()
    recommended, held_out = as_frames(top, targets)
    report = report_of(top, targets)
    assert metrics.ranking(recommended, held_out, KS, n_items=N_ITEMS) == report.result()
    assert (targets < 0).all(1).any() and (top < 0).all(1).any()  # both were in the case
    by_user = metrics.ranking_by_user(recommended, held_out, KS)
    assert by_user.users.tolist() == [f"u{row:03}" for row in report.users]
    for name, values in report.per_user().items():
        assert name == "targets" or (by_user.values[name] == values).all(), name


def test_scores_order_like_ranks_and_other_columns_and_containers_do():
    recommended, held_out = as_frames(*case())
    want = metrics.ranking(recommended, held_out, KS)
    scored = recommended.assign(score=-1.5 * recommended["rank"]).drop(columns="rank")
    assert metrics.ranking(scored, held_out, KS) == want
    # The rank alone decides where there are both, and gaps in it do not matter.
    both = recommended.assign(score=0.0, rank=recommended["rank"] * 7 - 3)
    assert metrics.ranking(both, held_out, KS) == want
    names = {"user": "customer", "item": "sku"}
    renamed = [frame.rename(columns=names) for frame in (recommended, held_out)]
    assert metrics.ranking(*renamed, KS, **names) == want
    plain = [{n: frame[n].to_numpy() for n in frame} for frame in (recommended, held_out)]
    assert metrics.ranking(*plain, KS) == want
    numbers = [
        frame.assign(user=frame["user"].str[1:].astype(int), item=frame["item"].astype("category"))
        for frame in (recommended, held_out)
    ]
    assert metrics.ranking(*numbers, KS) == want


def test_equal_scores_stay_in_the_frames_order():
    recommended = pd.DataFrame({"user": 1, "item": ["a", "b", "c"], "score": 0.5})
    held_out = pd.DataFrame({"user": [1], "item": ["b"]})
    assert metrics.ranking(recommended, held_out, ks=(3,))["mrr@3"] == 1 / 2


def test_users_without_recommendations_are_zeros_and_without_targets_nothing():
    recommended = pd.DataFrame({"user": ["a", "b"], "item": ["x", "x"], "rank": 1})
    held_out = pd.DataFrame({"user": ["a", "c"], "item": ["x", "y"]})
    found = metrics.ranking(recommended, held_out, n_items=4)
    assert found["hr@10"] == found["ndcg@10"] == found["recall@10"] == 1 / 2
    assert found["precision@10"] == 1 / 20 and found["coverage@10"] == 1 / 4
    assert found["n_rows"] == 2
    nothing = metrics.ranking(recommended[:0], held_out, n_items=4)
    assert nothing["mrr@10"] == nothing["coverage@10"] == 0


def test_frames_like_ir_measures():
    ir_measures = pytest.importorskip("ir_measures")
    recommended, held_out = as_frames(*case(1))
    names = {"nDCG": "ndcg", "P": "precision", "R": "recall", "Success": "hr"}
    oracles = {getattr(ir_measures, a) @ k: f"{b}@{k}" for a, b in names.items() for k in KS}
    oracles[ir_measures.RR @ KS[-1]] = f"mrr@{KS[-1]}"
    columns = {"user": "query_id", "item": "doc_id"}
    run = recommended.rename(columns=columns).assign(score=-recommended["rank"].astype(float))
    qrels = held_out.rename(columns=columns).assign(relevance=1)
    theirs = ir_measures.calc_aggregate(list(oracles), qrels, run)
    ours = metrics.ranking(recommended, held_out, KS)
    assert {oracles[m]: x for m, x in theirs.items()} == pytest.approx(
        {name: ours[name] for name in oracles.values()}, abs=1e-9
    )


def test_systems_in_frames_are_compared_like_reports(tmp_path):
    top, targets = case()
    better = np.where((targets[:, : KS[-1]] >= 0) & (np.arange(KS[-1]) < 2), targets[:, :10], -1)
    (a, held_out), (b, _) = as_frames(better, targets), as_frames(top, targets)
    ours = metrics.compare(*(metrics.ranking_by_user(x, held_out, KS) for x in (a, b)), "ndcg@10")
    reports = [report_of(x, targets) for x in (better, top)]
    assert ours == metrics.compare(*reports, "ndcg@10") and ours.mean_difference > 0.1
    frame = metrics.ranking_by_user(a, held_out, KS).frame()
    assert frame["ndcg@10"].mean() == metrics.ranking(a, held_out, KS)["ndcg@10"]
    assert frame.index.name == "user" and frame.index[0] == min(held_out["user"])
    # As many items in the same order, but other ones.
    others = held_out.assign(item=held_out["item"] + "'")
    with pytest.raises(ValueError, match="different targets"):
        metrics.compare(
            metrics.ranking_by_user(a, held_out), metrics.ranking_by_user(b, others), "ndcg@10"
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": ["x", "x", "z"]}, r"recommended: user 'a' has item 'x' twice .*drop_duplicates"),
        ({"rank": [1, 1, 2]}, "user 'a' has two items of rank 1"),
        ({"rank": [1, np.nan, 2]}, "the rank of row 2 is NaN"),
        ({"user": [7, 7, 8]}, "user is 7 in one frame and 'a' in the other"),
        ({"item": ["x", None, "z"]}, "item: the id of row 2 is missing"),
    ],
)
def test_bad_recommendations_are_refused(change, message):
    frame = pd.DataFrame({"user": ["a", "a", "b"], "item": ["x", "y", "z"], "rank": [1, 2, 1]})
    held_out = pd.DataFrame({"user": ["a"], "item": ["x"]})
    assert metrics.ranking(frame, held_out)["hr@10"] == 1
    with pytest.raises(ValueError, match=message):
        metrics.ranking(frame.assign(**change), held_out)


def test_bad_arguments_of_rankings_are_refused():
    frame = pd.DataFrame({"user": ["a", "a"], "item": ["x", "y"], "rank": [1, 2]})
    held_out = frame[["user", "item"]]
    for kept, message in (
        (["user", "rank"], "recommended has no column 'item'"),
        (["user", "item"], "neither a column 'rank' nor 'score'"),
    ):
        with pytest.raises(ValueError, match=message):
            metrics.ranking(frame[kept], held_out)
    with pytest.raises(ValueError, match="held_out: user 'a' has item 'x' twice"):
        metrics.ranking(frame, held_out.iloc[[0, 0]])
    with pytest.raises(ValueError, match="n_items=1, but 2 different items"):
        metrics.ranking(frame, held_out, n_items=1)
    with pytest.raises(ValueError, match="held_out is empty"):
        metrics.ranking(frame, held_out[:0])
    with pytest.raises(ValueError, match="every cut must be at least 1"):
        metrics.ranking(frame, held_out, ks=(0,))


# Arrays.


def events(n=500):
    random = np.random.default_rng(0)
    pairs = random.permutation(N_USERS * N_ITEMS)[:n]
    return *np.divmod(pairs, N_ITEMS), random.integers(1, 6, n), random.normal(3, 2, n)


def test_rating_errors_are_those_of_the_report():
    user, item, value, predicted = events()
    features = {"user": user, "item": item}
    for clip, bounds in ((True, {"low": 1, "high": 5}), (False, {})):
        report = metrics.RatingReport(info(), clip=clip)
        report.update(features, {"value": value}, predicted)
        want = report.result()
        found = metrics.rating(predicted, value, **bounds)
        assert found == pytest.approx({n: want[n] for n in ("rmse", "mae", "n_ratings")})
        by_user = metrics.rating_by_user(predicted, value, user, **bounds)
        columns = report.per_user()
        for name in ("squared_error", "absolute_error", "n_ratings"):
            np.testing.assert_allclose(by_user.values[name], columns[name])
        assert (by_user.users == report.users).all()
    assert metrics.rating([0, 9], [1, 5], low=1) == {"rmse": 8**0.5, "mae": 2, "n_ratings": 2}


def test_clicks_are_those_of_the_report():
    user, item, value, logit = events()
    label = (value > 3).astype(int)
    report = metrics.CtrReport(info())
    report.update({"user": user, "item": item}, {"value": label}, logit)
    assert metrics.clicks(logit, label, user, logits=True) == pytest.approx(report.result())
    probability = 1 / (1 + np.exp(-logit))
    assert metrics.clicks(probability, label, user) == pytest.approx(report.result())
    want = report.result() | {"gauc_users": 0}
    del want["gauc"]
    assert metrics.clicks(probability, label) == pytest.approx(want)
    by_user, columns = metrics.clicks_by_user(logit, label, user, logits=True), report.per_user()
    for name in ("logloss", "n_events", "gauc", "gauc_events"):
        np.testing.assert_allclose(by_user.values[name], columns[name])


def test_a_probability_on_the_edge_of_a_bin_is_in_the_bin_it_names():
    # Back from its logit, 0.3 is 0.29999999999999993; the bin of [.3, .4) holds both events.
    found = metrics.clicks([0.3, 0.35], [0, 1])
    assert found["ece"] == pytest.approx(abs(0.65 - 1) / 2)


def test_sure_probabilities_are_finite_where_right_and_infinite_where_wrong():
    assert metrics.clicks([0, 1], [0, 1])["logloss"] == 0
    wrong = metrics.clicks([1, 1, 0], [0, 1, 0])
    assert wrong["logloss"] == np.inf and wrong["auc"] == 3 / 4


def test_arrays_are_compared_like_reports():
    user, _, value, predicted = events()
    a, b = (metrics.rating_by_user(p, value, user) for p in (predicted, predicted / 2 + value / 2))
    assert metrics.compare(a, b, "rmse").p_value < 0.01
    assert metrics.metric_value(a, "mae") == pytest.approx(metrics.rating(predicted, value)["mae"])
    label = value > 3
    a, b = (metrics.clicks_by_user(x, label, user, logits=True) for x in (predicted, value - 3.0))
    assert metrics.compare(b, a, "gauc").mean_difference > 0.3
    other = metrics.clicks_by_user(predicted, ~label, user, logits=True)
    with pytest.raises(ValueError, match="different targets"):
        metrics.compare(a, other, "logloss")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.rating([1, 2], [1, 2, 3]), r"one n above 0.*\[2\].*\[3\]"),
        (lambda: metrics.rating([], []), "one n above 0"),
        (lambda: metrics.rating([1, np.nan], [1, 2]), r"predicted\[1\] is nan"),
        (lambda: metrics.rating([1, "x"], [1, 2]), "predicted cannot be read as numbers"),
        (lambda: metrics.rating_by_user([1, 2], [1, 2], ["a"]), r"users must be \[2\]"),
        (lambda: metrics.rating_by_user([1, 2], [1, 2], ["a", None]), "the id of row 2 is missing"),
        (lambda: metrics.clicks([0.1, 0.2], [0, 2]), "label 2 is neither 0 nor 1"),
        (lambda: metrics.clicks([0.1, 2.0], [0, 1]), "2 is not a probability; pass logits=True"),
        (lambda: metrics.clicks([0.1, 0.2], [1, 1]), "all labels are equal: 2 events, all 1"),
    ],
)
def test_bad_arrays_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_example_of_the_docs_runs(capsys):
    text = (pathlib.Path(__file__).parents[1] / "docs/metrics.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(example, {})
    assert [float(x) for x in capsys.readouterr().out.split()] == pytest.approx([2 / 3, 0.1, 1])
