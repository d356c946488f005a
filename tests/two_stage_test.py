"""Candidates, rules and a ranking in one SavedModel."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from proof_test import outcomes
from proof_test import program as program_fixture
from proof_test import pytestmark as needs_gcc
from random_weights import randomise

from tfrec.config import DataConfig
from tfrec.data import fields
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.models.registry import MODELS
from tfrec.schema import PAD, DatasetInfo
from tfrec.serving import export, two_stage
from tfrec.training import lists

program = program_fixture
GENRES = ["Comedy", "Drama", "War"]
N, K, CANDIDATES = 30, 4, 6


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """What 20 users had at two sites; odd items are also of the genre War."""
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((20, N)) < 0.3)
    frame = pd.DataFrame({"user": [f"u{x}" for x in user], "item": [f"i{x}" for x in item]})
    frame["value"] = (1 + (user + item) % 5).astype(np.float32)
    frame["time"] = rng.permutation(len(frame))
    frame["site"] = [f"s{x % 2}" for x in item]
    raw = RawDataset(
        name="shop",
        chunks=lambda: iter([frame]),
        items=pd.DataFrame({"item": [f"i{x}" for x in range(N)], "genres": genres_of(range(N))}),
        fingerprint="shop",
        rating_min=1.0,
        rating_max=5.0,
        rating_step=1.0,
        has_times=True,
        kinds={"genres": "set", "site": "category"},
    )
    path = tmp_path_factory.mktemp("shop") / "data"
    prepare(raw, DataConfig(dataset="shop"), path, progress=False)
    return path


def genres_of(items):
    return [GENRES[i % 2] + ("|War" if i % 2 else "") for i in items]


@pytest.fixture(scope="module")
def models(shop):
    """An FM that ranks, an EASE and an MF that retrieve, all of random weights."""
    settings = {
        "fm": {"task": "rating", "latent": 4, "fields": ("user", "item", "genres", "site")},
        "ease": {},
        "mf": {"latent": 4, "loss": "bpr"},
    }
    made = {}
    for name, given in settings.items():
        cls = MODELS[name]
        made[name] = cls.create(DatasetInfo.load(shop), cls.Config(**given))
        randomise(made[name], np.random.default_rng(len(name)), 0.5)
    lists.set_rule(made["fm"], (0.0, 0.0))  # by scores alone
    made["fm"].take_tables(fields.read(shop))
    return made


@pytest.fixture(scope="module")
def make(shop, models):
    retrievers = [(models[name], shop) for name in ("ease", "mf")]
    return functools.partial(two_stage.make, retrievers=retrievers, candidates=CANDIDATES)


@pytest.fixture(scope="module")
def top(make, shop, models, tmp_path_factory):
    return make(models["fm"], shop, K, tmp_path_factory.mktemp("titles") / "titles.txt")


EMPTY = {
    "user": ["u3"], "items": [["i4", "i9"]], "values": [[5.0, 1.0]], "exclude": [[""]],
    "allow": [[""]], "allow_genres": [[""]], "block_genres": [[""]], "site": ["s1"],
}  # fmt: skip


def by_hand(shop, models, top, let_through, site=2):
    """The answer for u3 with the history of EMPTY: two retrievals, then one ranking."""
    ids = (shop / "items.txt").read_text().split()
    user = (shop / "users.txt").read_text().split().index("u3")
    history = [ids.index("i4"), ids.index("i9")]
    seen = {*history, *top.ranker.users.seen_by(tf.constant([user])).numpy()[0].tolist()}
    free = [n for n, item in enumerate(ids) if n not in seen and let_through(int(item[1:]))]
    asked = {"user": tf.constant([PAD]), "items": tf.constant([history])}
    scores = [
        models["ease"].score(asked | {"values": tf.constant([[5.0, 1.0]])}).numpy()[0],
        models["mf"].score({"user": tf.constant([user])}).numpy()[0],
    ]
    candidates = set()
    for of in scores:
        candidates |= set(sorted(free, key=lambda n: -of[n])[:CANDIDATES])
    candidates = sorted(candidates)
    event = {"user": tf.fill([len(candidates)], user), "item": tf.constant(candidates, tf.int32)}
    event |= {"site": tf.fill([len(candidates)], site)}
    ranked = models["fm"].score(event).numpy() if candidates else []
    best = sorted(zip(ranked, candidates), reverse=True)[:K]
    return [ids[n] for _, n in best], np.clip([score for score, _ in best], 1, 5)


@pytest.mark.parametrize(
    ("rules", "let_through"),
    [
        ({}, lambda i: True),
        ({"exclude": [["i1", "i2", "i3"]]}, lambda i: i not in (1, 2, 3)),
        ({"allow": [["i1", "i2", "i3", "i5", "i6", "i28"]]}, lambda i: i in (1, 2, 3, 5, 6, 28)),
        ({"allow_genres": [["War", "no such"]]}, lambda i: i % 2 == 1),
        ({"block_genres": [["War", ""]]}, lambda i: i % 2 == 0),
        ({"allow_genres": [["Comedy"]], "allow": [["i1", "i2", "i10"]]}, lambda i: i in (2, 10)),
        ({"allow_genres": [["no such"]]}, lambda i: False),
        ({"allow_genres": [["War"]], "block_genres": [["Drama"]]}, lambda i: False),
    ],
)
def test_candidates_of_both_retrievers_are_ranked_by_the_rules(
    shop, models, top, rules, let_through
):
    items, scores = by_hand(shop, models, top, let_through)
    got = top.ask("recommend", EMPTY | rules)
    assert got["items"].numpy()[0].tolist() == [
        *(i.encode() for i in items),
        *[b""] * (K - len(items)),
    ]
    np.testing.assert_allclose(got["scores"].numpy()[0, : len(items)], scores, rtol=1e-4)


def test_the_event_counts_and_may_be_unknown(shop, models, top):
    scores = {}
    for site, code in (("s0", 1), ("s1", 2), ("elsewhere", 0)):
        items, scores[site] = by_hand(shop, models, top, lambda i: True, code)
        got = top.ask("recommend", EMPTY | {"site": [site]})
        assert [i.decode() for i in got["items"].numpy()[0]] == items
    assert not np.allclose(scores["s0"], scores["s1"])
    lean = top.ask("serving_default", {n: EMPTY[n] for n in ("user", "items", "values")})
    np.testing.assert_allclose(lean["scores"][0], scores["elsewhere"], rtol=1e-4)


@needs_gcc
def test_one_saved_model_answers_in_one_predict(program, make, shop, models, top, tmp_path):
    version = export.export(models["fm"], shop, tmp_path / "base", K, make)
    asked = [(name, top.example(name)) for name in ("serving_default", "recommend")]
    for (name, request), got in zip(asked, outcomes(program, version, asked), strict=True):
        due = top.ask(name, request)
        np.testing.assert_array_equal(got["items"], due["items"].numpy().astype("S"))
        np.testing.assert_allclose(got["scores"], due["scores"], rtol=1e-4, atol=1e-5)
    described = json.loads((version / "assets.extra/signatures.json").read_text())["two_stage"]
    assert described == {"retrievers": "EASE and MF", "candidates": CANDIDATES, "ranker": "FM"}
    assert "EASE and MF retrieve 6 candidates each, FM ranks" in (version / "README.md").read_text()


def test_runs_that_do_not_fit_together_say_what_to_do(shop, models, make, board, tmp_path):
    with pytest.raises(ValueError, match="--rank: EASE scores no single events.*deepfm"):
        make(models["ease"], shop, K, None)
    with pytest.raises(ValueError, match="--candidates=6 are fewer than --k=7"):
        make(models["fm"], shop, 7, None)
    others = [(models["ease"], board()[0])]
    with pytest.raises(ValueError, match=r"EASE was trained on .*users\.txt differ; train both"):
        make(models["fm"], shop, K, None, retrievers=others)
