"""Recommendations for users by raw id."""

import numpy as np
import pytest
import tensorflow as tf
from random_weights import randomise

from tfrec.data import fields, inputs
from tfrec.models.registry import MODELS
from tfrec.schema import PAD, DatasetInfo
from tfrec.serving import examples, known_users, signatures

N = 40
SETTINGS = {
    "mf": {"latent": 4},
    "autorec": {"hidden": (4,)},
    "deepfm": {"task": "rating", "latent": 4, "hidden": (4,), "dropout": 0.0},
    "cdae": {"latent": 4, "fold_in_steps": 5},
}


@pytest.fixture(scope="module")
def made(board):
    """`made(name)` -> a model with random weights and its data: likes, half of all pairs."""

    def make(name):
        cls = MODELS[name]
        config = cls.Config(**SETTINGS[name])
        data_dir, _ = board(cls.rows(config), likes_only=True)
        model = cls.create(DatasetInfo.load(data_dir), config)
        if model.reads == "events":
            model.take_tables(fields.read(data_dir))
        return randomise(model, np.random.default_rng(2), 0.3), data_dir

    return make


def asked(top, endpoint, **request):
    return {name: x.numpy() for name, x in top.ask(endpoint, request).items()}


@pytest.mark.parametrize("name", ["mf", "autorec", "deepfm"])
def test_a_known_user_gets_items_that_are_not_rated_yet(made, tmp_path, name):
    top = signatures.make(*made(name), 100, tmp_path / "titles.txt")
    items = asked(top, "serving_default", user=["u7", "u0"])["items"]
    odd, even = ({f"i{x}".encode() for x in range(start, N, 2)} for start in (1, 0))
    assert set(items[0]) - {b""} == even
    assert set(items[1]) - {b""} == odd


@pytest.mark.parametrize("name", ["mf", "autorec", "deepfm"])
def test_blocks_and_lists_of_known_users(made, tmp_path, name):
    model, data_dir = made(name)
    kind = {"autorec": known_users.ItemRowTopK}.get(name, known_users.EventTopK)
    whole, blocks = (
        kind(model, data_dir, 7, tmp_path / f"titles{block}.txt", block=block)
        for block in (1 << 16, 1)
    )
    lists = {
        "user": ["u7", "stranger", "u1"],
        "exclude": [["i2", "i4"], ["", ""], ["", "nothing"]],
        "allow": [["", "", ""], ["i8", "i9", ""], ["i1", "i2", "i4"]],
    }
    for endpoint, request in (("serving_default", {"user": lists["user"]}), ("recommend", lists)):
        due, got = (asked(top, endpoint, **request) for top in (whole, blocks))
        np.testing.assert_array_equal(got["items"], due["items"])
        np.testing.assert_allclose(got["scores"], due["scores"], rtol=1e-5)
    assert not {b"i2", b"i4"} & set(got["items"][0])
    assert set(got["items"][2]) == {b"i2", b"i4", b""}, "u1 has rated i1"
    rows = examples.serialize({name: np.array(column) for name, column in lists.items()})
    by_row = asked(blocks, "recommend_example", inputs=rows)
    np.testing.assert_array_equal(by_row["items"], got["items"])


def test_candidates_of_known_users(made, tmp_path):
    model, data_dir = made("mf")
    top = signatures.make(model, data_dir, 5, tmp_path / "titles.txt")
    users, items = ((top.data_dir / f"{x}s.txt").read_text().split() for x in ("user", "item"))
    scores = model.score({"user": tf.constant([users.index("u7"), -1])}).numpy().clip(1, 5)
    got = asked(top, "rate", user=["u7", "stranger"], candidates=[["i3", "", "i4"]] * 2)["scores"]
    due = scores[:, [items.index("i3"), items.index("i4")]]
    np.testing.assert_allclose(got[:, [0, 2]], due, rtol=1e-5)
    assert (got[:, 1] < -3e38).all()
    row = examples.serialize({"user": np.array(["u7"]), "item": np.array(["i4"])})
    np.testing.assert_allclose(asked(top, "regress", inputs=row)["outputs"], due[0, 1:], rtol=1e-5)


def test_a_model_of_histories_that_knows_users(made, tmp_path):
    """CDAE: requests by id use the user's vector, which a history alone does not have."""
    model, data_dir = made("cdae")
    top = signatures.make(model, data_dir, 5, tmp_path / "titles.txt")
    users = (top.data_dir / "users.txt").read_text().split()
    got = asked(top, "recommend_user", user=["u7", "stranger"])
    features, _ = next(iter(inputs.histories(data_dir, model.info, "all", N, fill=True)))
    row = features["user"].numpy().tolist().index(users.index("u7"))
    one = {name: x[row : row + 1] for name, x in features.items()}
    scores = model.score(one).numpy()[0]
    scores[one["items"].numpy()] = -np.inf
    np.testing.assert_allclose(got["scores"][0], np.sort(scores)[::-1][:5], rtol=1e-4)
    items = (top.data_dir / "items.txt").read_text().split()
    history = [[items[i] for i in one["items"].numpy()[0] if i >= 0]]
    values = np.ones_like(history, float)
    folded_in = asked(top, "serving_default", items=history, values=values)
    assert (folded_in["scores"] != got["scores"][0]).any()
    empty = asked(top, "serving_default", items=[[""]], values=[[0]])
    np.testing.assert_array_equal(got["items"][1], empty["items"][0])


@pytest.mark.parametrize("name", ["autorec", "deepfm"])
def test_only_allowed_items_are_scored_where_each_row_names_some(made, tmp_path, monkeypatch, name):
    model, data_dir = made(name)
    top = signatures.make(model, data_dir, 3, tmp_path / "titles.txt")
    users, seen = tf.constant([3, -1]), tf.constant([[5, PAD], [PAD, PAD]])
    allowed = tf.constant([[5, 9, 9, 2], [N, 7, PAD, PAD]])
    due = top.best(top.all_scores(users), seen, top.users.seen_by(users), allowed=allowed)

    def forbidden(*arguments):
        raise AssertionError("all items are scored")

    monkeypatch.setattr(top, "all_scores", forbidden)
    values, items = top.top(users, seen, allowed)
    np.testing.assert_array_equal(items, due[1])
    np.testing.assert_allclose(values, due[0], rtol=1e-5)
    with pytest.raises(AssertionError, match="all items"):
        top.top(users, seen, tf.constant([[5], [PAD]]))
