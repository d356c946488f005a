"""The order of lists: predicted ratings and popularity, evaluated by liked items."""

import dataclasses
import pathlib
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

import tfrec
from tfrec import ranking, tasks
from tfrec.api import printed
from tfrec.config import DataConfig
from tfrec.data import by_user, inputs, pairs
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.models.registry import MODELS
from tfrec.schema import PAD, DatasetInfo
from tfrec.serving import signatures
from tfrec.training import lists, summaries

COUNTS = np.arange(40)[::-1] % 37 + 5  # of the checkerboard's items, for a test
RECENT = np.arange(40) * 7 % 5  # with many ties, which COUNTS break
VECTORS = np.random.default_rng(1).normal(size=(40, 64)).astype(np.float32)
LEARNED = (("user", "autoencoder"), ("item", "autorec"))
RULES = ((0.0, 0.0), (2.0, 0.0), (0.5, 0.3))


def info_of(data_dir):
    return DatasetInfo.load(data_dir)


def made(data_dir, name, **settings):
    """A model with random weights and known item counts."""
    tf.keras.utils.set_random_seed(5)
    model = MODELS[name].create(info_of(data_dir), MODELS[name].Config(**settings))
    model.list_order.counts.assign(COUNTS)
    return model


def entries(rows):
    """The sets of (user, item, value) of inputs and of targets."""
    found = [set(), set()]
    for features, targets in rows:
        sides = [(features["items"], features["values"])]
        sides.append((targets["target_items"], targets["target_values"]))
        for side, (items, values) in zip(found, sides, strict=True):
            row, position = np.nonzero(items.numpy() >= 0)
            users = features["user"].numpy()[row].tolist()
            both = (x.numpy()[row, position].tolist() for x in (items, values))
            side |= set(zip(users, *both, strict=True))
    return found


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_rows_by_item_are_turned_around(board, split):
    by_users, by_items = board("user")[0], board("item")[0]
    due = entries(inputs.histories(by_users, info_of(by_users), split, 16, fill=True))
    got = entries(by_user.histories(by_items, info_of(by_items), split, 16))
    assert got == due
    assert len(got[1]) >= 80


def test_liked_is_three_quarters_up_the_scale(board):
    info = info_of(board()[0])
    for low, high, step, due in ((1, 5, 1, 4), (0.5, 5, 0.5, 4), (0, 10, 0, 7.5), (1, 10, 1, 8)):
        scale = {"rating_min": low, "rating_max": high, "rating_step": step}
        assert lists.liked_from(dataclasses.replace(info, **scale)) == due


@pytest.mark.parametrize(
    ("name", "rows", "settings"),
    [("autoencoder", "user", {}), ("mf", "user", {"latent": 4}), ("autorec", "item", {})],
)
def test_lists_are_those_of_the_formula(board, name, rows, settings):
    """HR and coverage recomputed from the scores of all pairs."""
    data_dir = board(rows)[0]
    model, info = made(data_dir, name, **settings), info_of(data_dir)
    users_dir = board("user")[0]
    features, targets = next(
        iter(inputs.histories(users_dir, info_of(users_dir), "test", 40, fill=True))
    )
    if rows == "item":
        by_item = next(iter(inputs.histories(data_dir, info, "test", 40, fill=True)))[0]
        order = np.argsort(by_item["user"])
        scores = model.score(by_item).numpy()[order].T[features["user"].numpy()]
    else:
        scores = model.score({"user": features["user"]} if name == "mf" else features).numpy()
    model.list_order.vectors.assign(VECTORS)
    mask = features["items"].numpy() >= 0
    shares = (features["values"].numpy() - 1) / 4 if name == "autoencoder" else np.ones(mask.shape)
    taste = np.einsum("bl,blk->bk", mask * shares, VECTORS[features["items"]])
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    found = lists.measure(model, lists.HeldOut(data_dir, "test"), RULES)
    for (weight, choice), result in zip(RULES, found, strict=True):
        order = scores + weight * np.log1p(COUNTS) + choice * taste @ VECTORS.T
        for row, seen in enumerate(features["items"].numpy()):
            order[row, seen[seen >= 0]] = -np.inf
        top = np.argsort(-order, axis=1)[:, :10]
        liked = np.where(targets["target_values"] >= 4, targets["target_items"], -2)
        hits = [bool(set(a) & set(b)) for a, b in zip(top.tolist(), liked.tolist(), strict=True)]
        assert result["hr@10"] == pytest.approx(np.mean(hits))
        shown = [t for t, e in zip(top, liked, strict=True) if (e >= 0).any()]
        assert result["coverage@10"] == pytest.approx(len(np.unique(shown)) / 40)
    assert len({result["ndcg@10"] for result in found}) == 3


def test_counts_and_vectors_are_those_of_training(board, monkeypatch):
    models = [made(board(rows)[0], name) for rows, name in LEARNED]
    for (rows, _), model in zip(LEARNED, models, strict=True):
        lists.learn_items(model, board(rows)[0], "train")
    by_users, by_items = (model.list_order for model in models)
    np.testing.assert_array_equal(by_users.counts, by_items.counts)
    chosen = np.zeros([40, 40])
    seen, _ = entries(inputs.histories(board()[0], models[0].info, "train", 40, fill=True))
    for user, item, _ in seen:
        chosen[user, item] = 1
    np.testing.assert_array_equal(by_users.counts, chosen.sum(0))
    _, lengths, vectors = np.linalg.svd(chosen)
    vectors = vectors[lengths > 1e-4 * lengths[0]]
    due = 40 * vectors.T @ vectors  # vectors are unique up to rotation, their products are unique
    for order in (by_users, by_items):
        found = order.vectors.numpy()
        np.testing.assert_allclose(found @ found.T, due, atol=0.02)


def test_recent_are_the_newest_in_whole_days(tmp_path):
    """Of 12 interactions: days 0 to 5, two each. A quarter is three: those of days 4 and 5."""
    frame = pd.DataFrame(
        {
            "user": [f"u{n % 4}" for n in range(12)],
            "item": [f"i{n // 4}" for n in range(12)],
            "value": np.float32(1),
            "time": np.arange(12)[::-1] // 2 * 86_400 + 3_600,
        }
    )
    known = {"name": "days", "rating_min": 0, "rating_max": 1, "chunks": lambda: iter([frame])}
    for rows, has_times, due in (
        *(("user", True, [4, 0, 0]), ("item", True, [4, 0, 0])),
        ("user", False, [0, 0, 0]),
    ):
        raw = RawDataset(**known, fingerprint=str(has_times), has_times=has_times)
        data_dir = tmp_path / f"{rows}{has_times}"
        data = DataConfig(test=0, validation=0, rows=rows)
        info = prepare(raw, data, data_dir, progress=False)
        found = [pairs.recent_counts(data_dir, info, "train", x) for x in (0.25, 1 / 3, 0.5, 1.0)]
        np.testing.assert_array_equal(found[:2], [due, due])
        later = [[4, 2, 0], [4, 4, 4]] if has_times else [due, due]
        np.testing.assert_array_equal(found[2:], later)


def test_few_vectors_of_many_items_are_the_first_ones(monkeypatch):
    monkeypatch.setattr(lists, "_DENSE", 0)
    chosen = (np.random.default_rng(0).random((90, 120)) < 0.2).astype(np.float32)
    found = lists._vectors(scipy.sparse.csr_matrix(chosen))
    due = np.linalg.svd(chosen)[2][:64]
    np.testing.assert_allclose(found @ found.T, due.T @ due, atol=1e-3)


def test_the_rule_is_the_one_with_the_best_lists(board, monkeypatch):
    found = [{"ndcg@10": n} for n in (0.10, 0.20, 0.19)]
    monkeypatch.setattr(lists, "RULES", ((0, 0), (0, 1), (2, 0)))
    asked, model = [], made(board()[0], "biases")
    monkeypatch.setattr(lists, "measure", lambda *words: asked.append(words) or found)
    lists.choose_rule(model, "validation")
    assert lists.own_rule(model) == (0, 1)
    assert asked[0][:3] == (model, "validation", lists.RULES)
    monkeypatch.setattr(lists, "measure", lambda *words: [])
    lists.choose_rule(model, "validation")
    assert lists.own_rule(model) == (0, 0)


def test_floors_are_what_those_models_get(board):
    found = []
    for rows in ("user", "item"):
        data_dir, _ = board(rows)
        counts = pairs.counts(data_dir, DatasetInfo.load(data_dir), "train")
        found.append(lists.floors(lists.HeldOut(data_dir, "test"), "train", counts))
    by_users, by_items = found
    assert by_users["popularity"] == pytest.approx(by_items["popularity"])
    assert by_users["biases"]["rmse"] == pytest.approx(by_items["biases"]["rmse"], rel=1e-3)
    assert set(by_users["biases"]) == {"rmse", "mae", *lists.METRICS}
    biases = made(board()[0], "biases")
    biases.fit(inputs.histories(board()[0], biases.info, "train", 16, fill=True))
    features, targets = next(iter(inputs.histories(board()[0], biases.info, "test", 40, fill=True)))
    picked = tf.gather(biases.score(features), targets["target_items"], batch_dims=1)
    error = np.clip(picked, 1, 5) - targets["target_values"].numpy()
    assert by_users["biases"]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)


def test_another_order_decides_and_the_scores_are_shown():
    scores = tf.constant([[3.0, 9.0, 4.0, -np.inf, 5.0]])
    order = tf.constant([[5.0, 1.0, 4.0, -np.inf, 9.0]])
    values, items = ranking.top_k(scores, [[4]], 4, order=order)
    np.testing.assert_array_equal(items, [[0, 2, 1, PAD]])
    np.testing.assert_array_equal(values, [[3, 4, 9, -np.inf]])
    blocks = ranking.top_k_by_blocks(
        lambda at: tf.gather(scores, at, axis=1),
        *(5, [[4]], 4, 2),
        order=lambda _, at: tf.gather(order, at, axis=1),
    )
    np.testing.assert_array_equal(blocks[0], values)
    np.testing.assert_array_equal(blocks[1], items)


COLD = {
    "autoencoder": ("user", {}),
    "ease": ("user", {}),
    "sasrec": ("user", {"width": 8}),
    "cdae": ("user", {"latent": 4, "fold_in_steps": 5}),
    "mf": ("user", {"latent": 4}),
    "autorec": ("item", {"hidden": (4,)}),
    "fm": ("user", {"latent": 4}),
}


@pytest.mark.parametrize("name", COLD)
def test_an_empty_history_gets_popular_items_and_others_do_not(board, tmp_path, name):
    rows, settings = COLD[name]
    data_dir = board(rows)[0]
    model = made(data_dir, name, **settings)
    model.list_order.recent.assign(RECENT)
    top = signatures.make(model, data_dir, 10, tmp_path / "titles.txt")
    ids = np.array((pathlib.Path(data_dir) / "items.txt").read_text().split())
    popular = set(ids[np.lexsort((-COUNTS, -RECENT))[:9]])  # the tenth is the first of the 3
    length = model.max_items or 3
    histories = np.full([3, length], "", dtype=object)
    histories[1, -1], histories[2, -3:] = "no such item", ["i3", "i4", "i8"]
    request = {"items": histories, "values": np.full([3, length], 4.0)}
    if top.kind == "user":
        request = {"user": ["", "no such user", "u7"]}
    answer = {key: x.numpy() for key, x in top.ask("serving_default", request).items()}
    listed = [{item.decode() for item in row} for row in answer["items"]]
    assert popular <= listed[0]
    assert listed[0] == listed[1] != listed[2]
    assert "" not in listed[0]
    if model.task == "rating":
        scores = answer["scores"][answer["items"] != b""]
        assert scores.min() >= 1
        assert scores.max() <= 5


def test_predicted_ratings_are_shown_within_the_scale(board, tmp_path):
    model = made(board()[0], "autoencoder", base="none")
    model.decoder.bias.assign(np.linspace(-3, 9, 40))
    top = signatures.make(model, board()[0], 40, tmp_path / "titles.txt")
    got = top.ask("serving_default", {"items": [["i3"]], "values": [[4.0]]})["scores"].numpy()[0]
    assert (got[:-1].min(), got[:-1].max()) == (1, 5)
    assert got[-1] < -3e38, "no item"


def test_a_run_has_recent_counts_and_an_unknown_user_gets_a_note(board, tmp_path):
    small = {"latent": 4, "epochs": 1, "test": False, "check_export": False, "verbose": False}
    run = tfrec.fit("mf", board()[0], run_dir=tmp_path / "run", **small)
    order = run.model.list_order
    np.testing.assert_array_equal(order.recent, order.counts)  # all within a day
    said, _, *lines = printed.recommendations(run, "stranger", "", 5).splitlines()
    assert said == "user stranger is not among the 40 known users: popular items"
    popular = np.argsort(-order.counts.numpy(), kind="stable")
    least = order.counts.numpy()[popular[4]]
    assert all(order.counts.numpy()[run.items.index(line.split()[1])] >= least for line in lines)
    has_all = printed.recommendations(run, "u7", "", 5)
    assert has_all.startswith("user u7: 40 rated items") and has_all.count("\n") == 1


def result_of(test, **floors):
    return {
        **{"validation": {}, "test": test, "floors": floors, "protocol": "a split"},
        **{"seconds": 1, "peak_memory_mb": 1},
    }


BIASES = {"rmse": 0.87, "ndcg@10": 0.3}
POPULAR = {"ndcg@10": 0.12, "hr@10": 0.45}


def test_a_run_below_its_floors_says_so():
    below = result_of({"rmse": 1.01, "ndcg@10": 0.1}, biases=BIASES, popularity=POPULAR)
    lines = summaries.below_floors(below, "deeprec")
    said = re.compile(r"BELOW ITS FLOOR: (\S+) (\S+) on test, (\S+) gets (\S+):")
    assert [said.match(line).groups() for line in lines] == [
        ("rmse", "1.0100", "biases", "0.8700"),
        ("ndcg@10", "0.1000", "popularity", "0.1200"),
    ]
    above = result_of({"rmse": 0.86, "ndcg@10": 0.2, "hr@10": 0.5}, **below["floors"])
    assert not summaries.below_floors(above, "deeprec")
    hits = result_of({"ndcg@10": 0.2, "hr@10": 0.4}, popularity=POPULAR)
    assert "hr@10 0.4000" in summaries.below_floors(hits, "ease")[0]
    assert not summaries.below_floors(result_of({"ndcg@10": 0.1}, popularity=POPULAR), "popularity")
    assert not summaries.below_floors({"test": {"rmse": 2.0}}, "deeprec"), "an older run"


def test_the_table_of_a_run_shows_its_floors():
    task = MODELS["deeprec"].task_for(None)
    shown = summaries.table(
        result_of({"rmse": 0.86, "hr@10": 0.5}, popularity=POPULAR, biases=BIASES),
        tasks.get(task),
    ).splitlines()
    assert shown[0].split() == ["validation", "test", "popularity", "biases"]
    assert shown[1].split() == ["rmse", "-", "0.8600", "-", "0.8700"]
    assert shown[2].split() == ["hr@10", "-", "0.5000", "0.4500", "-"]
