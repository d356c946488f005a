"""Values of implicit feedback, from the raw table to the answer of a request."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tfrec.config import DataConfig
from tfrec.data import inputs, protocol
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import export_metadata, signatures
from tfrec.training import evaluation

FORMS = ("none", "linear", "log", "value")
N_USERS, N_ITEMS = 30, 8
LISTENED = np.random.default_rng(0).poisson(0.8, (N_USERS, N_ITEMS))
LISTENED[:, 0] += 1


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Prepared data of repeated interactions, which are counted; nothing is held out."""
    user, item = np.nonzero(LISTENED)
    times = LISTENED[user, item]
    frame = pd.DataFrame(
        {
            "user": [f"u{u:02}" for u in np.repeat(user, times)],
            "item": [f"i{i}" for i in np.repeat(item, times)],
            "value": np.float32(1),
            "time": np.int64(0),
        }
    )
    raw = RawDataset(
        name="plays",
        fingerprint="plays",
        has_times=False,
        rating_min=1,
        rating_max=1,
        chunks=lambda: iter([frame]),
    )
    folder = tmp_path_factory.mktemp("plays") / "data"
    prepare(raw, DataConfig(duplicates="count", test=0, validation=0), folder, progress=False)
    return folder, DatasetInfo.load(folder)


def rows(shop):
    return inputs.histories(*shop, "train", N_USERS, fill=True)


def graded(name, values=LISTENED):
    """c(r) / c(1) with rate 0.5, where there are interactions."""
    of = {
        "none": np.sign,
        "linear": lambda r: (1 + 0.5 * r) / 1.5,
        "log": lambda r: (1 + 0.5 * np.log(1 + r)) / (1 + 0.5 * np.log(2)),
        "value": np.array,
    }
    return np.sign(values) * of[name](values.astype(float))


@pytest.mark.parametrize("form", FORMS)
def test_weighted_ease_regresses_on_counts(shop, form):
    """Each column by a weighted ridge regression on the others; requests are weighted, too."""
    settings = {"regularization": 3.0, "discount": 0.0, "ridge": 0.0, "activity": 0.5}
    cls = MODELS["weightedease"]
    model = cls.create(shop[1], cls.Config(confidence=form, rate=0.5, **settings))
    model.fit(rows(shop))
    x, n = graded(form), (LISTENED > 0).sum(1)
    w = n**-0.5
    w *= n.sum() / (w @ n)
    due = np.zeros([N_ITEMS, N_ITEMS])
    for j in range(N_ITEMS):
        others = np.delete(np.arange(N_ITEMS), j)
        a = x[:, others]
        left = a.T @ (w[:, None] * a) + 3 * np.eye(N_ITEMS - 1)
        due[others, j] = np.linalg.solve(left, a.T @ (w * x[:, j]))
    np.testing.assert_allclose(model.item_weights, due, atol=1e-4)
    features, _ = next(iter(rows(shop)))
    scores = model.score(features).numpy()
    np.testing.assert_allclose(scores, x[features["user"]] @ due, atol=1e-3)
    assert model.uses_values == (form != "none")


def test_a_count_reaches_the_model_and_the_request(shop, tmp_path):
    """Raw rows -> counted values -> confidence by default -> `values` of a request."""
    info = shop[1]
    found = np.zeros_like(LISTENED)
    features, _ = next(iter(rows(shop)))
    entries = np.nonzero(features["items"].numpy() >= 0)
    items = features["items"].numpy()[entries]
    found[features["user"].numpy()[entries[0]], items] = features["values"].numpy()[entries]
    np.testing.assert_array_equal(found, LISTENED)
    model = MODELS["ials"].create(info, MODELS["ials"].Config(factors=3))
    assert model.config.confidence == "log"
    model.fit(rows(shop))
    top = signatures.make(model, shop[0], 3, tmp_path / "titles.txt")

    def scores(*values):
        values = np.reshape(np.float32(values), [1, -1])
        request = {"items": [["i1", "i2"]], "values": values, "candidates": [["i3", "i4", "i5"]]}
        return top.ask("rate", request)["scores"].numpy()

    assert np.abs(scores(1, 9) - scores(1, 1)).max() > 1e-3
    np.testing.assert_array_equal(scores(), scores(1, 1))
    assert "counts as 1, the first" in export_metadata.readme(top, "plays", tmp_path / "1")


def test_a_value_of_one_counts_as_one_and_more_counts_more():
    for form in FORMS:
        weigh = MODELS["ials"].Config(confidence=form, rate=0.5).weigh
        values = np.float32([1, 2, 7, 0.5])
        due = np.ones(4) if form == "none" else graded(form, values)
        np.testing.assert_allclose(weigh(values), due, rtol=1e-6)


def test_confidence_is_on_by_default_for_counts_only(shop):
    rated = dataclasses.replace(shop[1], config={"duplicates": "last"}, rating_max=5.0)
    for name in ("ials", "ease", "weightedease"):
        model = MODELS[name](rated)
        assert (model.config.confidence, model.usual_value) == ("none", 5)
        assert MODELS[name](shop[1]).config.confidence == "log"


def test_the_protocol_names_values_that_are_ignored(shop):
    info = shop[1]
    words = f"; values (1 to {LISTENED.max()}) ignored"
    assert protocol.ignored_values(info) == words
    alike = dataclasses.replace(info, rating_max=1.0, rating_mean=1.0)
    assert protocol.ignored_values(alike) == ""
    best_only = dataclasses.replace(info, rating_max=5.0, rating_mean=5.0)
    assert protocol.ignored_values(best_only) == ""
    for name, due in (("popularity", words), ("biases", ""), ("ease", "")):
        model = MODELS[name].create(info)
        said = evaluation.protocol(model, evaluation.new_report(model, shop[0]))
        assert said.endswith(words) == bool(due)
