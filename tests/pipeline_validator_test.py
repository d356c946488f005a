"""Bad spans: each is an anomaly with a sentence that names it, and nothing is pushed."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from pipeline_data_test import pack, ratings
from tensorflow_metadata.proto.v0 import anomalies_pb2

from pipelines import engine, evaluator, example_gen, example_validator, pipeline, trainer
from tfrec.config import DataConfig, TrainConfig
from tfrec.datasets import registry


def settings(folder, raw, **data):
    data = DataConfig(duplicates="last", **data)
    return pipeline.Settings(
        sources=example_gen.sources("ml-latest-small", raw, None),
        data=data,
        choice=trainer.Choice("popularity", {}, TrainConfig(), "user"),
        demand=evaluator.Demand(),
        push_dir=folder / "push",
    )


def run(folder, raw, **data):
    """Runs the pipeline, of which the anomalies must stop it before the trainer."""
    return pipeline.run(settings(folder, raw, **data), folder / "root", engine.Local())


def refused(folder, raw, words, kind):
    """The pipeline stops with `words`; the anomaly is in an artefact; nothing is pushed."""
    with pytest.raises(ValueError, match=words):
        run(folder, raw)
    assert not (folder / "push").exists()
    found = anomalies_pb2.Anomalies()
    for file in sorted((folder / "root/example_validator").glob("*/anomalies.pbtxt")):
        found.MergeFrom(text_format.Parse(file.read_text(), anomalies_pb2.Anomalies()))
    kinds = {r.type for info in found.anomaly_info.values() for r in info.reason}
    assert anomalies_pb2.AnomalyInfo.Type.Value(kind) in kinds
    with pytest.raises(ValueError, match=words):  # from the artefact
        run(folder, raw)


def later(**changes):
    """A good second span, with columns changed."""
    frame = ratings(seed=1, first=1001, start=20_000_000)
    return frame.assign(**changes)


def test_good_spans_have_no_anomalies(tmp_path):
    pack(tmp_path / "day-1.zip", ratings())
    pack(tmp_path / "day-2.zip", later())
    made, schema = pipeline.prepared(
        settings(tmp_path, str(tmp_path / "day-{SPAN}.zip")), tmp_path / "root", engine.Local()
    )
    for name in ("anomalies", "skew"):
        text = (made[name].path / example_validator.ANOMALIES).read_text()
        assert "anomaly_info" not in text
    assert schema.exists() and "statistics-2" in made


# ------------------------------------------------------------------ caught by what spans hold

UNKNOWN = {i: i + 5000 for i in range(101, 131, 2)}
LENIENT = [
    (
        "a missing column",
        lambda f: f.drop(columns="value"),
        "span 2: the column value is missing",
        "FEATURE_TYPE_NOT_PRESENT",
    ),
    (
        "no times",
        lambda f: f.drop(columns="time"),
        "span 2: the column time is missing",
        "FEATURE_TYPE_NOT_PRESENT",
    ),
    (
        "shifted columns",
        lambda f: f.assign(item="Film", value=f.item, time=f.value),
        "span 2: item ids are no longer whole numbers: 'Film'; .*"
        "span 2: time is numbers, and must be whole numbers; "
        "span 2: value is text, such as '101', and must be numbers",
        "UNEXPECTED_DATA_TYPE",
    ),
    (
        "values as words",
        lambda f: f.assign(value="good"),
        "span 2: value is text, such as 'good', and must be numbers",
        "UNEXPECTED_DATA_TYPE",
    ),
    (
        "half the items unknown",
        lambda f: f.assign(item=f.item.astype(int).replace(UNKNOWN).astype(str)),
        r"span 2: \d\d % of its events are on items that are not in the side table",
        "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
    ),
    (
        "milliseconds",
        lambda f: f.assign(time=f.time * 1000),
        "span 2: time goes up to .* must be seconds since 1970, these look like milliseconds",
        "INT_TYPE_BIG_INT",
    ),
    (
        "ratings times ten",
        lambda f: f.assign(value=f.value * 10),
        "span 2: value goes up to 50, most allowed is 5: these look like ratings times ten",
        "FLOAT_TYPE_BIG_FLOAT",
    ),
    (
        "the first span again",
        lambda f: frame_of(ratings()).sample(frac=1, random_state=0),
        "span 2: about 100 % of its events are those of span 1 again",
        "DATASET_HIGH_NUM_EXAMPLES",
    ),
    (
        "most of the first span again",
        lambda f: pd.concat([frame_of(ratings())[:400], f[:50]]),
        r"span 2: about \d\d % of its events are those of span 1 again",
        "DATASET_HIGH_NUM_EXAMPLES",
    ),
    (
        "missing users",
        lambda f: f.assign(user=f.user.where(f.index % 5 > 0, None)),
        r"span 2: user is missing in [\d,]+ of [\d,]+ events",
        "FEATURE_TYPE_LOW_FRACTION_PRESENT",
    ),
    (
        "other values",
        lambda f: f.assign(value=np.float32(5)),
        r"span 2: the distribution of value differs from that of span 1: divergence 0\.\d+",
        "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH",
    ),
    (
        "a new column",
        lambda f: f.assign(price=1.0),
        "span 2: the column price is not in the schema",
        "SCHEMA_NEW_COLUMN",
    ),
    (
        "no events",
        lambda f: f[:0],
        "span 2: it has 0 events, at least 1 are needed",
        "DATASET_LOW_NUM_EXAMPLES",
    ),
]


def frame_of(frame):
    """As a reader gives it."""
    names = {"userId": "user", "movieId": "item", "rating": "value", "timestamp": "time"}
    frame = frame.rename(columns=names)
    return frame.astype({"user": str, "item": str, "value": np.float32})


@pytest.fixture
def lenient(monkeypatch):
    """A reader that accepts any span: `lenient(changed)`."""

    def use(changed):
        load = registry.load

        def loaded(name, raw, fold):
            found = load(name, raw, fold)
            if not raw.endswith("2.zip"):
                return found
            frame = changed(frame_of(later()).reset_index(drop=True))
            changes = {"chunks": lambda: iter([frame[:300], frame[300:]]), "fingerprint": "bad"}
            return dataclasses.replace(found, **changes)

        monkeypatch.setattr(registry, "load", loaded)

    return use


@pytest.mark.parametrize(("change", "words", "kind"), [c[1:] for c in LENIENT], ids=lambda x: "")
def test_a_bad_span_is_named(tmp_path, lenient, change, words, kind):
    lenient(change)
    pack(tmp_path / "day-1.zip", ratings())
    pack(tmp_path / "day-2.zip", later())
    refused(tmp_path, str(tmp_path / "day-{SPAN}.zip"), words, kind)


# ------------------------------------------------------------------ caught by the reader

READER = [
    (later().drop(columns="rating"), "span 2: it cannot be read: .*no column 'rating'"),
    (later()[["movieId", "rating", "timestamp", "userId"]].set_axis(
        ["userId", "movieId", "rating", "timestamp"], axis=1
    ), "span 2: it cannot be read: .*is not a"),
    (later(timestamp=lambda f: f.timestamp * 1000), "is not a time in seconds since 1970"),
    (later(rating=lambda f: f.rating * 10), r"is not a rating from 0\.5 to 5"),
]  # fmt: skip


@pytest.mark.parametrize(("frame", "words"), READER, ids=["column", "types", "ms", "times ten"])
def test_a_span_that_its_reader_refuses_is_named(tmp_path, frame, words):
    pack(tmp_path / "day-1.zip", ratings())
    pack(tmp_path / "day-2.zip", frame, items=range(101, 131))
    refused(tmp_path, str(tmp_path / "day-{SPAN}.zip"), words, "UNKNOWN_TYPE")


def test_a_bad_first_span_makes_no_schema(tmp_path):
    raw = pack(tmp_path / "x.zip", ratings().drop(columns="rating"), items=[101])
    with pytest.raises(ValueError, match="first span cannot be read: .*no column 'rating'"):
        run(tmp_path, raw)
    assert not list(pathlib.Path(tmp_path / "root").glob("schema_gen/*"))


# ------------------------------------------------------------------ edited schema, skew


def test_the_edited_schema_is_the_contract(tmp_path):
    pack(tmp_path / "day-1.zip", ratings())
    raw = str(tmp_path / "day-{SPAN}.zip")
    asked = settings(tmp_path, raw)
    _, schema = pipeline.prepared(asked, tmp_path / "root", engine.Local())
    schema.write_text(schema.read_text().replace("max: 5.0", "max: 3.5"))
    with pytest.raises(ValueError, match=r"value goes up to 5, most allowed is 3\.5"):
        pipeline.prepared(asked, tmp_path / "root", engine.Local())
    schema.write_text(schema.read_text().replace("max: 3.5", "max: 5.0"))
    pipeline.prepared(asked, tmp_path / "root", engine.Local())


def test_the_test_split_is_checked_against_training(tmp_path):
    frame = ratings(n_users=80)
    late = frame.timestamp > frame.timestamp.quantile(0.7)
    frame["rating"] = np.where(late, 0.5, frame.rating)
    raw = pack(tmp_path / "x.zip", frame)
    words = "test: the distribution of value differs from that of train"
    with pytest.raises(ValueError, match=words):
        run(tmp_path, raw, split="time", test=0.3, validation=0.0)
    assert not (tmp_path / "push").exists()
