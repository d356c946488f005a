"""Contributions of the items of a history to scores, and in recommendations."""

import numpy as np
import pandas as pd
import pytest
from random_weights import randomise

from tfrec.api.recommending import Asked, Recommends
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import explain, signatures
from tfrec.serving.local import InMemory

HISTORY = [("i3", 5.0), ("i8", 2.0), ("i21", 4.0), ("i30", 1.0)]
CANDIDATES = ["i1", "i9", "i33"]


@pytest.fixture(scope="module")
def made(board, tmp_path_factory):
    """`made(model, **settings)` -> the signatures of a model of random weights."""
    folder = tmp_path_factory.mktemp("titles")

    def make(name, **settings):
        cls = MODELS[name]
        data_dir = board(likes_only=cls.task == "ranking")[0]
        model = cls.create(DatasetInfo.load(data_dir), cls.Config(**settings))
        randomise(model, np.random.default_rng(3), 0.3)
        return signatures.make(model, data_dir, 5, folder / "titles.txt")

    return make


def asked(top, name, history, candidates=CANDIDATES):
    request = {
        "items": [[item for item, _ in history]],
        "values": [[value for _, value in history]],
        "candidates": [candidates],
    }
    return {key: x.numpy()[0] for key, x in top.ask(name, request).items()}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("ease", {}), ("ease", {"confidence": "linear"}), ("weightedease", {"confidence": "log"})],
)
def test_linear_models_are_explained_exactly(made, name, settings):
    top = made(name, **settings)
    found = asked(top, "explain", HISTORY)["contributions"]
    np.testing.assert_allclose(found.sum(1), asked(top, "rate", HISTORY)["scores"], rtol=1e-4)
    values = np.array([value for _, value in HISTORY])
    # c(r) / c(1), with rate 1
    x = {"linear": (1 + values) / 2, "log": (1 + np.log1p(values)) / (1 + np.log(2))}
    x = x.get(settings.get("confidence"), np.ones(4))
    rows, columns = ([int(item[1:]) for item in ids] for ids in (dict(HISTORY), CANDIDATES))
    order = [(top.data_dir / "items.txt").read_text().split().index(f"i{i}") for i in range(40)]
    weights = top.model.item_weights.numpy()[np.ix_(order, order)]
    due = (x[:, None] * weights[np.ix_(rows, columns)]).T
    if name == "weightedease":
        due /= top.model.item_discounts.numpy()[order][columns][:, None]
    np.testing.assert_allclose(found, due, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("multdae", {"hidden": (8,)}), ("sasrec", {"window": 3, "width": 8, "heads": 1})],
)
def test_others_are_explained_by_leaving_an_item_out(made, monkeypatch, name, settings):
    """In a sequence model of window 3, an older item replaces the one left out."""
    monkeypatch.setattr(explain, "SCORES", 80)  # blocks of two histories
    top = made(name, **settings)
    found = asked(top, "explain", HISTORY)["contributions"]
    whole = asked(top, "rate", HISTORY)["scores"]
    for number in range(len(HISTORY)):
        rest = HISTORY[:number] + HISTORY[number + 1 :]
        due = whole - asked(top, "rate", rest)["scores"]
        np.testing.assert_allclose(found[:, number], due, atol=1e-5)
    assert np.abs(found[:, -1]).min() > 1e-3
    assert (np.abs(found[:, 0]) < 1e-5).all() == (name == "sasrec"), "the oldest is not read"


@pytest.mark.parametrize("name", ["ease", "multdae"])
def test_padding_repeats_and_what_is_unknown_contribute_nothing(made, name):
    top = made(name)
    dirty = [("", 3.0), HISTORY[0], ("no such item", 5.0), HISTORY[1], ("i3", 1.0), *HISTORY[2:]]
    found = asked(top, "explain", dirty, ["i1", "", "no such item", "i9"])
    clean = asked(top, "explain", HISTORY, ["i1", "i9"])
    own = [1, 3, 5, 6]
    np.testing.assert_allclose(found["contributions"][[0, 3]][:, own], clean["contributions"])
    assert (found["contributions"][1:3] == 0).all()
    assert (np.delete(found["contributions"], own, axis=1) == 0).all()
    assert found["titles"][1] == b"Film i3, The"
    assert found["titles"][[0, 2, 4]].tolist() == [b"", b"", b""]
    nothing = asked(top, "explain", [("", 0.0)])
    assert (nothing["contributions"] == 0).all()


def test_reasons_are_the_largest_contributions(made):
    asking = InMemory(top := made("ease"), batch_size=1)
    rows = [[item for item, _ in HISTORY], ["i5"]]
    (first, second) = asking.explain(rows, [CANDIDATES, ["i7"]], most=2)
    contributions = asked(top, "explain", HISTORY)["contributions"]
    for reasons, line in zip(first, contributions, strict=True):
        due = [i for i in np.argsort(-line) if line[i] > 0][:2]
        assert [reason.item for reason in reasons] == [rows[0][i] for i in due]
        shares = [line[i] / line[line > 0].sum() for i in due]
        assert [reason.share for reason in reasons] == pytest.approx(shares, rel=1e-4)
        assert all(reason.title == f"Film {reason.item}, The" for reason in reasons)
    assert len(second) == 1 and all(reason.share == 1 for reason in second[0])


class Asker(Recommends):
    def __init__(self, asking):
        self.asking = asking

    def _asked(self, users, histories, k):
        return Asked(self.asking, users, histories)


def test_recommendations_with_their_reasons(made):
    asker = Asker(InMemory(made("ease")))
    histories = {"ann": [item for item, _ in HISTORY], "bob": ["i2", "i4"]}
    plain = asker.recommend(histories=histories, k=3)
    found = asker.recommend(histories=histories, k=3, explain=2)
    pd.testing.assert_frame_equal(found.drop(columns="because"), plain)
    for row in found.itertuples():
        assert {reason.item for reason in row.because} <= set(histories[row.user])
        assert len(row.because) <= 2
    assert found.because.map(len).max() > 0
    assert len(found.explode("because")) >= len(found)
    with pytest.raises(ValueError, match="explain names items of histories"):
        Asker(InMemory(made("mf"))).recommend(users=["u1"], explain=1)
