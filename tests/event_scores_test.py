"""Scores of single events from raw ids and raw context."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfrec.config import DataConfig
from tfrec.data import fields
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.models.fm import FM
from tfrec.schema import DatasetInfo
from tfrec.serving import event_scores, export, signatures
from tfrec.serving.event_scores import EventScores


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    """Clicks on two sites at a price, users and items by id."""
    n = 60
    frame = pd.DataFrame(
        {
            "user": [f"u{i % 6}" for i in range(n)],
            "item": [f"i{i // 6}" for i in range(n)],
            "value": np.array([i % 2 for i in range(n)], np.float32),
            "time": [1_000_000 + 3600 * i for i in range(n)],
            "site": ["" if i % 7 == 0 else f"site {i % 3}" for i in range(n)],
            "price": np.array([np.nan if i % 5 == 0 else i for i in range(n)], np.float32),
        }
    )
    raw = RawDataset(
        name="clicks",
        chunks=lambda: iter([frame]),
        fingerprint="clicks",
        rating_min=0.0,
        rating_max=1.0,
        rating_step=1.0,
        has_times=True,
        kinds={"site": "category", "price": "number"},
    )
    path = tmp_path_factory.mktemp("clicks") / "data"
    prepare(raw, DataConfig(dataset="clicks"), path, progress=False)
    return path


@pytest.fixture(scope="module")
def fm(clicks):
    tf.keras.utils.set_random_seed(1)
    names = ("user", "item", "site", "price", "hour")
    config = FM.Config(task="ctr", fields=names, deviation=0.3)
    made = FM.create(DatasetInfo.load(clicks), config)
    made.take_tables(fields.read(clicks))
    made.w.assign(np.random.default_rng(1).normal(size=made.w.shape))
    return made


def asked(fm, clicks, **changes):
    """The answer to one event, with what is known of it changed."""
    request = {"user": "u1", "item": "i2", "site": "site 1", "price": 7.0, "time": 1_000_000}
    dtypes = {"price": np.float32, "time": np.int64}
    request = {k: np.array([v], dtypes.get(k)) for k, v in {**request, **changes}.items()}
    return float(EventScores(fm, clicks).ask("score", request)["scores"][0])


def test_raw_context_becomes_what_training_saw(fm, clicks):
    price = next(f for f in fm.info.fields if f.name == "price")
    sites = (clicks / "field_site.txt").read_text().split("\n")
    features = {
        "user": tf.constant([1]),
        "item": tf.constant([2]),
        "site": tf.constant([sites.index("site 1") + 1]),
        "price": tf.constant([(np.log1p(7) - price.mean) / price.deviation], tf.float32),
        "time": tf.constant([1_000_000], tf.int64),
    }
    due = 1 / (1 + np.exp(-float(fm.score(features)[0])))
    assert asked(fm, clicks) == pytest.approx(due, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "like"),
    [
        ({"site": "never seen"}, {"site": ""}),
        ({"user": "stranger"}, {"user": "no one"}),
        ({"time": 1_000_000 + 24 * 3600}, {}),  # the same hour
    ],
)
def test_what_is_unknown_is_all_the_same(fm, clicks, change, like):
    assert asked(fm, clicks, **change) == asked(fm, clicks, **like)


def test_every_part_of_a_request_counts(fm, clicks):
    before = asked(fm, clicks)
    for change in (
        {"site": ""},
        {"user": "stranger"},
        {"item": "nothing"},
        {"price": 100.0},
        {"price": np.nan},
        {"time": 0},
    ):
        assert abs(asked(fm, clicks, **change) - before) > 1e-4, change


def test_an_example_without_features_is_an_event_of_unknown_user_and_item(fm, clicks):
    top = EventScores(fm, clicks)
    empty = top.ask("regress", {"inputs": [tf.train.Example().SerializeToString()]})["outputs"]
    unknown = {"user": "stranger", "item": "nothing", "site": "", "price": np.nan, "time": 0}
    assert float(empty[0]) == pytest.approx(asked(fm, clicks, **unknown))


def test_numbers_of_an_example_may_be_integers(fm, clicks):
    """As JSON has `7`; of other types only the feature itself is ignored."""
    made = []
    for kind, price in (("float_list", 7), ("int64_list", 7), ("bytes_list", b"7")):
        example = tf.train.Example()
        for name in ("user", "item", "site"):
            example.features.feature[name].bytes_list.value.append(f"{name[0]}1".encode())
        getattr(example.features.feature["price"], kind).value.append(price)
        made.append(example.SerializeToString())
    as_float, as_integer, as_text = (
        EventScores(fm, clicks).ask("regress", {"inputs": made})["outputs"].numpy()
    )
    assert as_float == as_integer
    due = {"user": "u1", "item": "i1", "site": "s1", "price": np.nan, "time": 0}
    assert as_text == pytest.approx(asked(fm, clicks, **due), rel=1e-5)


def test_export_answers_recommend_and_score(fm, clicks, tmp_path):
    top = signatures.make(fm, clicks, 3, tmp_path / "titles.txt")
    export.write(top, tmp_path / "1")
    served = tf.saved_model.load(str(tmp_path / "1")).signatures
    assert {"serving_default", "score"} <= set(served)
    request = top.example("score")
    assert len(request["user"]) == len(request["price"]) == 9
    answer = served["score"](**{k: tf.constant(v) for k, v in request.items()})["scores"]
    np.testing.assert_allclose(answer, top.ask("score", request)["scores"], rtol=1e-5)
    assert ((answer.numpy() > 0) & (answer.numpy() < 1)).all()
    rows = served["regress"](inputs=tf.constant(top.example("regress")["inputs"]))["outputs"]
    np.testing.assert_allclose(rows, answer, rtol=1e-5)
    click = served["classify"](inputs=tf.constant(top.example("classify")["inputs"]))
    assert click["classes"].numpy().tolist() == [[b"0", b"1"]] * 9
    np.testing.assert_allclose(click["scores"].numpy()[:, 1], answer, rtol=1e-5)
    np.testing.assert_allclose(click["scores"].numpy().sum(axis=1), 1, rtol=1e-5)
    best = served["serving_default"](user=tf.constant(["u1", "stranger"]))
    assert (best["items"].numpy()[0] == b"").all(), "u1 has seen everything"
    assert (best["items"].numpy()[1] != b"").all()
    scores = fm.score({"user": tf.constant([-1])}).numpy()[0]
    np.testing.assert_allclose(best["scores"].numpy()[1], np.sort(scores)[::-1][:3], rtol=1e-5)


def test_numbers_are_the_same_in_training_and_in_serving():
    raw = np.array([-3.5, 0, 0.25, 7, 1e6, np.nan], np.float32)
    used = np.array([True] * 4 + [False] * 2)
    (column,) = fields.of_events({"price": raw}, {}, used, least=1)
    logs = [-np.log(4.5), 0, np.log(1.25), np.log(8), np.log(1e6 + 1)]
    due = [*((logs - np.mean(logs[:4])) / np.std(logs[:4])), 0]
    np.testing.assert_allclose(column.entries, due, rtol=1e-6)
    served = event_scores.standardised(column.field, tf.constant(raw)).numpy()
    np.testing.assert_allclose(served, column.entries, rtol=1e-6, atol=1e-7)
    back = fields.raw_number(column.field, column.entries[:5].astype(np.float64))
    np.testing.assert_allclose(back, raw[:5], rtol=1e-5, atol=1e-6)
