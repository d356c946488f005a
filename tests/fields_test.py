"""Side information as numbers: each kind by hand, and learned only on training."""

import math
import random

import numpy as np
import pandas as pd
import pytest

from tfrec.config import DataConfig
from tfrec.data import fields, inputs
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset

E = math.e
DAY = 86_400


def column(kind, texts, used=None):
    """The field `x` of a table of items."""
    table = pd.DataFrame({"item": [str(n) for n in range(len(texts))], "x": texts, "y": "other"})
    used = np.ones(len(texts), bool) if used is None else np.array(used, bool)
    (found,) = fields.of_table(table, "item", {"x": kind}, used)
    assert (found.field.name, found.field.of) == ("x", "item")
    return found


def test_categories_are_sorted_and_learned_on_training():
    found = column("category", ["b", "a", "", "c", "b", "c"], used=[1, 1, 1, 0, 1, 0])
    assert found.entries.tolist() == [2, 1, 0, 0, 2, 0]
    assert found.entries.dtype == np.int32
    assert found.vocabulary == ["a", "b"]
    assert (found.field.kind, found.field.size, found.field.length) == ("category", 3, 1)
    assert found.field.unknown == 2  # both c, but not the missing one
    assert column("category", ["10", "9", "10"]).vocabulary == ["9", "10"]


def test_a_prefix_is_the_category_of_three_characters():
    found = column("prefix", ["55105", "55177", "940", "V1", ""])
    assert found.entries.tolist() == [1, 1, 2, 3, 0]
    assert found.vocabulary == ["551", "940", "V1"]
    assert found.field.kind == "category"


def test_sets_are_rows_of_codes():
    found = column("set", ["a|b", "b", "", "c|a", "c"], used=[1, 1, 1, 0, 0])
    assert found.entries.tolist() == [[1, 2], [2, 0], [0, 0], [1, 0], [0, 0]]
    assert (found.field.size, found.field.length, found.field.unknown) == (3, 2, 2)
    assert found.vocabulary == ["a", "b"]
    assert column("set", ["|", "|"]).entries.tolist() == [[0], [0]]


def test_buckets_are_quantiles_of_training():
    texts = [str(n) for n in range(1, 11)] + ["", "-5", "99", "5.5"]
    found = column("bucket", texts, used=[1] * 11 + [0] * 3)
    # Of 1 to 10 the quantile q is 1 + 9 q: 1.9, 2.8, ... 9.1.
    np.testing.assert_allclose(found.field.boundaries, np.arange(1.9, 9.2, 0.9))
    assert found.entries.tolist() == [*range(1, 11), 0, 1, 10, 5]  # the end 5.5 belongs below
    assert (found.field.size, found.field.unknown) == (11, 0)
    constant = column("bucket", ["5", "5", "6"], used=[1, 1, 0])
    assert constant.entries.tolist() == [1, 1, 2]
    assert constant.field.size == 3


def test_numbers_are_standardised_logarithms():
    texts = [str(E - 1), str(E**3 - 1), "", str(1 - E), "0"]  # logs 1, 3, -1, 0
    found = column("number", texts, used=[1, 1, 1, 0, 0])
    assert (found.field.mean, found.field.deviation) == pytest.approx((2, 1))
    np.testing.assert_allclose(found.entries, [-1, 1, 0, -3, -2], rtol=1e-6)
    assert found.entries.dtype == np.float32
    assert found.field.size == 1


def test_a_constant_number_does_not_explode():
    found = column("number", ["3"] * 1000 + ["7"], used=[1] * 1000 + [0])
    assert found.field.deviation == 1
    np.testing.assert_allclose(found.entries[[0, -1]], [0, math.log(2)], atol=1e-6)


@pytest.mark.parametrize("kind", ["bucket", "number"])
def test_other_text_in_numbers_is_named(kind):
    with pytest.raises(ValueError, match="x of the item table holds 'old', which is not a number"):
        column(kind, ["1", "old"])


def test_texts_are_word_pieces_in_lower_case():
    texts = ["Cat cat", "cat dog", "dog DOG", "", "Ωcat", "cat ##a [UNK]", "dog " * 40]
    found = column("text", texts, used=[1, 1, 1, 1, 0, 0, 0])
    assert set(found.vocabulary) == {"cat", "dog"}
    assert found.entries[:4, :3].tolist() == [[1, 1, 0], [1, 2, 0], [2, 2, 0], [0, 0, 0]]
    assert found.entries[4:6, :2].tolist() == [[0, 0], [1, 0]]
    assert found.entries[6].tolist() == [2] * 16
    assert (found.field.size, found.field.length) == (3, 16)


def test_texts_are_cut_the_same_way_each_time():
    letters = random.Random(0)
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(letters.choices(alphabet, k=8)) for _ in range(2000)]  # full of ties
    texts = [f"{a} {b}" for a, b in zip(words, words[::-1])]
    first, *others = (column("text", texts) for _ in range(3))
    for other in others:
        assert other.vocabulary == first.vocabulary
        assert (other.entries == first.entries).all()


def test_a_column_without_a_training_entry_is_no_field():
    table = pd.DataFrame({"user": ["1", "2"], "x": ["", "b"], "z": ["", ""]})
    used = np.array([True, False])
    assert not list(fields.of_table(table, "user", {"x": "category", "z": "text"}, used))


def test_rare_categories_of_events_are_unknown():
    context = {
        "city": np.array([0, 0, 1, 2, 2, -1, 0, 1], np.int32),
        "price": np.float32([E - 1, E**3 - 1, np.nan, 0, 0, 0, 0, np.nan]),
        "nothing": np.full(8, -1, np.int32),
    }
    used = np.array([1, 1, 1, 0, 0, 1, 0, 0], bool)
    names = {"city": ["Rome", "Oslo", "Bonn"], "nothing": []}
    city, price, nothing = fields.of_events(context, names, used, least=2)
    assert city.entries.tolist() == [1, 1, 0, 0, 0, 0, 1, 0]
    assert city.vocabulary == ["Rome"]
    assert (city.field.of, city.field.size, city.field.unknown) == ("event", 2, 4)
    np.testing.assert_allclose(price.field.mean, 4 / 3, rtol=1e-6)  # of 1, 3 and 0
    assert price.entries[2] == price.entries[7] == 0
    assert (nothing.field.size, nothing.entries.tolist()) == (1, [0] * 8)
    city, *_ = fields.of_events(context, names, used, least=1)
    assert city.vocabulary == ["Oslo", "Rome"]
    assert (city.entries.tolist(), city.field.unknown) == ([2, 2, 1, 0, 0, 0, 2, 1], 2)


def test_of_times_counts_the_days_of_training():
    weekday, hour, day = fields.of_times(np.array([12 * DAY + 5, 10 * DAY + 7, 12 * DAY]))
    assert [f.name for f in (weekday, hour, day)] == ["weekday", "hour", "day"]
    assert [f.size for f in (weekday, hour, day)] == [7 + 1, 24 + 1, 3 + 1]
    assert day.boundaries == (10.0,)
    assert {f.of for f in (weekday, hour, day)} == {"event"}


def test_tables_and_vocabularies_are_written(tmp_path):
    genres = column("set", ["a|b", "b"])
    (city,) = fields.of_events(
        {"city": np.array([0, 1])}, {"city": ["Rome", "Oslo"]}, np.ones(2, bool), 1
    )
    fields.write(tmp_path, [genres, city])
    tables = fields.read(tmp_path)
    assert list(tables) == ["x"]  # an event's field is stored with the event
    assert tables["x"].tolist() == [[1, 2], [2, 0]]
    assert (tmp_path / "field_city.txt").read_text() == "Oslo\nRome\n"
    assert fields.read(tmp_path / "nowhere") == {}


@pytest.fixture(scope="module")
def trips(tmp_path_factory):
    """(frame, data_dir, info) of events with a category, a number and a time each."""
    draw = np.random.default_rng(3)
    users, items = (x.ravel() for x in np.meshgrid(np.arange(12), np.arange(9), indexing="ij"))
    frame = pd.DataFrame(
        {
            "user": users.astype(str),
            "item": items.astype(str),
            "value": draw.integers(1, 6, len(users)).astype(np.float32),
            "time": draw.integers(1, 99, len(users)),
            "city": draw.choice(["Rome", "Oslo", "Bonn", ""], len(users)),
            "price": draw.choice([1, 20, 300, np.nan], len(users)).astype(np.float32),
        }
    )
    raw = RawDataset(
        **{"name": "trips", "fingerprint": "f", "has_times": True},
        **{"rating_min": 1.0, "rating_max": 5.0, "rating_step": 1.0},
        chunks=lambda: iter([frame[:50], frame[50:]]),
        kinds={"city": "category", "price": "number", "genre": "category"},
    )
    data_dir = tmp_path_factory.mktemp("trips") / "data"
    config = DataConfig(test=0.2, validation=0.2, shards=2)
    return frame, data_dir, prepare(raw, config, data_dir, progress=False)


def test_tables_are_learned_on_what_training_has(tmp_path):
    """Users and items of the test ratings alone change no code, bucket, mean or word."""
    n = 12
    frame = pd.DataFrame(
        {
            "user": [f"u{i}" for i in range(n)],
            "item": [f"i{i}" for i in range(n)],
            "value": np.float32(3),
            "time": 0,
            "test": np.arange(n) >= n // 2,
        }
    )
    about = {
        "city": ["Rome", "Oslo"] * 3 + ["Bonn", "Rome"] * 3,
        "made_of": ["a|b"] * 6 + ["c|b"] * 6,
        "year": [str(1990 + i) for i in range(6)] + ["2050"] * 6,
        "price": [str(E - 1), str(E**3 - 1)] * 3 + ["1e9"] * 6,
        "words": ["red mug"] * 5 + ["red mug, teapot"] + ["blue teapot"] * 6,
    }
    kinds = dict(zip(about, ("category", "set", "bucket", "number", "text"), strict=True))
    raw = RawDataset(
        **{"name": "toy", "fingerprint": "f", "has_times": False, "chunks": lambda: iter([frame])},
        **{"rating_min": 1.0, "rating_max": 5.0, "rating_step": 1.0},
        users=pd.DataFrame({"user": frame["user"]} | {f"{k}_u": v for k, v in about.items()}),
        items=pd.DataFrame({"item": frame["item"]} | about),
        kinds=kinds | {f"{name}_u": kind for name, kind in kinds.items()},
    )
    info = prepare(raw, DataConfig(split="folds", validation=0), tmp_path / "data", progress=False)
    assert (info.n_users, info.n_items) == (n, n)
    found = {field.name: field for field in info.fields}
    order = [int(text[1:]) for text in (tmp_path / "data/items.txt").read_text().split()]
    for end in ("", "_u"):
        words = {
            name: (tmp_path / f"data/field_{name}{end}.txt").read_text().split()
            for name in ("city", "made_of", "words")
        }
        pieces = words.pop("words")
        assert words == {"city": ["Oslo", "Rome"], "made_of": ["a", "b"]}
        assert {"red", "mug"} < set(pieces)
        assert not {"blue", "teapot"} & set(pieces)  # once in training: not a piece of its own
        assert max(found[f"year{end}"].boundaries) < 1996
        price = found[f"price{end}"]
        assert (price.mean, price.deviation) == pytest.approx((2, 1))
        codes = fields.read(tmp_path / "data")[f"city{end}"]
        assert codes[np.argsort(order)].tolist() == [2, 1] * 3 + [0, 2] * 3


def read(trips, split, **settings):
    """One array a feature, all batches joined, and the sizes of the batches."""
    _, data_dir, info = trips
    context = ("price", "time", "city")
    batches = inputs.events(data_dir, info, split, 16, context=context, fill=True, **settings)
    batches = [features | targets for features, targets in batches.as_numpy_iterator()]
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


@pytest.mark.parametrize("split", ["train", "validation", "test", "train+validation", "all"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_events_bring_their_own_fields(trips, split, shuffle):
    frame, _, info = trips
    found = read(trips, split, shuffle=shuffle)
    dtypes = {name: column.dtype.name for name, column in found.items()}
    assert dtypes.items() >= {"price": "float32", "time": "int64", "city": "int32"}.items()
    real = found["user"] >= 0
    for name in ("price", "time", "city", "value"):
        assert (found[name][~real] == 0).all()
    index = found["user"][real] * 9 + found["item"][real]  # ids are positions here
    truth = frame.iloc[index]
    assert found["value"][real].tolist() == truth["value"].tolist()
    assert found["time"][real].tolist() == truth["time"].tolist()
    codes = {"": 0, "Bonn": 1, "Oslo": 2, "Rome": 3}
    assert found["city"][real].tolist() == truth["city"].map(codes).tolist()
    price = next(f for f in info.fields if f.name == "price")
    expected = (np.log1p(truth["price"]) - price.mean) / price.deviation
    np.testing.assert_allclose(found["price"][real], expected.fillna(0), rtol=1e-4, atol=1e-6)


def test_numbers_of_events_are_measured_in_training(trips):
    frame, _, info = trips
    train = read(trips, "train")
    real = train["user"] >= 0
    logs = np.log1p(frame["price"].iloc[(train["user"] * 9 + train["item"])[real]].dropna())
    price = next(f for f in info.fields if f.name == "price")
    assert (price.mean, price.deviation) == pytest.approx((logs.mean(), logs.std(ddof=0)))
    assert [f.name for f in info.fields] == ["city", "price", "weekday", "hour", "day"]
