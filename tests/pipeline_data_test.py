"""ExampleGen, StatisticsGen, SchemaGen: what they write of data whose answers are known."""

import dataclasses
import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest
from conftest import checkerboard
from google.protobuf import text_format
from html_page import Page
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipelines import (
    artifacts,
    divergence,
    engine,
    example_gen,
    schema_gen,
    spans,
    statistics,
    statistics_gen,
    transform,
)
from pipelines import statistics_proto as protos
from tfrec.config import DataConfig
from tfrec.data.prepare import prepare
from tfrec.datasets import registry

_TITLES = "movieId,title,genres\n"


def ratings(n_users=40, n_items=30, seed=0, first=1, start=0):
    """Random ratings of users from `first` on, from time `start` on."""
    random = np.random.default_rng(seed)
    users, items = np.nonzero(random.random((n_users, n_items)) < 0.4)
    order = random.permutation(len(users))
    return pd.DataFrame(
        {
            "userId": users[order] + first,
            "movieId": items[order] + 101,
            "rating": random.integers(1, 11, len(order)) / 2,
            "timestamp": random.integers(0, 10_000_000, len(order)) + 1_000_000_000 + start,
        }
    )


def pack(path, frame, items=None):
    """Writes a zip in the layout of ml-latest-small; `items`: ids that movies.csv knows."""
    items = sorted(set(frame.movieId)) if items is None else items
    lines = "".join(f'{i},"Film {i} (19{50 + int(i) % 50})",Drama|War\n' for i in items)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("small/ratings.csv", frame.to_csv(index=False))
        file.writestr("small/movies.csv", _TITLES + lines)
    return str(path)


def make(folder, frame=None, name="span", items=None):
    """The artefacts of a span and of its statistics."""
    path = pack(folder / f"{name}.zip", ratings() if frame is None else frame, items)
    source = example_gen.Source(1, "ml-latest-small", path)
    examples = example_gen.make(source, root=folder / "root")
    return examples, statistics_gen.of_span(examples, engine.Local(), root=folder / "root")


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(pathlib.Path(folder).iterdir()) if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"))


def test_a_span_is_the_data_set_again(made, tmp_path):
    frame = ratings()
    raw = registry.load("ml-latest-small", pack(tmp_path / "x.zip", frame))
    again = spans.as_raw([spans.Span.load(made[0].path)])
    chunks = pd.concat(again.chunks())
    assert chunks.user.astype(str).tolist() == frame.userId.astype(str).tolist()
    assert chunks.item.astype(str).tolist() == frame.movieId.astype(str).tolist()
    assert chunks.value.tolist() == frame.rating.tolist()
    assert chunks.time.tolist() == frame.timestamp.tolist()
    pd.testing.assert_frame_equal(again.items, raw.items, check_dtype=False)
    assert again.fingerprint == raw.fingerprint and again.kinds == raw.kinds


def test_transform_writes_what_prepare_writes(made, tmp_path):
    raw = registry.load("ml-latest-small", pack(tmp_path / "x.zip", ratings()))
    data = DataConfig(split="time", test=0.3, validation=0.5)
    prepare(raw, data, tmp_path / "plain", progress=False)
    rows = transform.run({1: made[0]}, data, engine.Local(), tmp_path / "rows")
    ours = contents(rows.path)
    assert ours.pop(artifacts.RECORD)
    assert ours == contents(tmp_path / "plain")


def test_two_spans_are_one_data_set(tmp_path):
    early, late = ratings(), ratings(seed=1, first=30, start=20_000_000)
    late = late[~late.userId.isin(early.userId)]  # no user rates twice
    found = [make(tmp_path, f, n)[0] for f, n in ((early, "a"), (late, "b"))]
    rows = transform.run(dict(enumerate(found, 1)), DataConfig(), engine.Local(), tmp_path / "rows")
    both = registry.load("ml-latest-small", pack(tmp_path / "x.zip", pd.concat([early, late])))
    prepare(both, DataConfig(), tmp_path / "plain", progress=False)
    ours, plain = contents(rows.path), contents(tmp_path / "plain")
    for one in (ours, plain):  # it names the source
        one.pop("info.json")
    del ours[artifacts.RECORD]
    assert ours == plain
    located = spans.as_raw([spans.Span.load(f.path) for f in found]).locate(len(early) + 4)
    assert located == "span 2, rating 5"


def test_folds_and_categories_survive(tmp_path):
    raw = checkerboard(likes_only=False)
    frame = next(raw.chunks()).assign(page=lambda f: np.where(f.value > 2, "a", ""))
    kinds = raw.kinds | {"page": "category"}
    raw = dataclasses.replace(raw, chunks=lambda: iter([frame]), kinds=kinds)
    (tmp_path / "span").mkdir()
    spans.write(raw, tmp_path / "span")
    span = spans.Span.load(tmp_path / "span")
    data = DataConfig(dataset="checkerboard", split="folds", shards=1)
    prepare(raw, data, tmp_path / "a", progress=False)
    prepare(spans.as_raw([span]), data, tmp_path / "b", progress=False)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    (chunk,) = span.files
    splits = statistics.of_chunk(str(chunk))
    assert splits["test"].n == frame.test.sum() and splits["train"].n == (~frame.test).sum()
    assert splits["train"].missing["page"] == (frame.value[~frame.test] < 2).sum()


def test_statistics_are_those_of_numpy(made):
    frame = ratings()
    stats = statistics_gen.read(made[1].path)["all"]
    assert stats.num_examples == len(frame)
    features = {f.path.step[0]: f for f in stats.features}
    value = features["value"].num_stats
    assert value.mean == pytest.approx(frame.rating.mean(), abs=1e-12)
    assert value.std_dev == pytest.approx(frame.rating.std(ddof=0), abs=1e-9)
    assert (value.min, value.max) == (frame.rating.min(), frame.rating.max())
    counts = frame.rating.value_counts()
    assert {b.low_value: b.sample_count for b in value.histograms[0].buckets} == counts.to_dict()
    item = features["item"].string_stats
    most = frame.movieId.value_counts().sort_index(key=lambda i: i.astype(str))
    most = most.sort_values(ascending=False, kind="stable")
    assert [(int(t.value), t.frequency) for t in item.top_values] == list(most[:20].items())
    assert item.unique == frame.movieId.nunique()
    per_user = next(c.histogram for c in features["user"].custom_stats if c.HasField("histogram"))
    counts = frame.userId.value_counts()
    assert per_user.buckets[0].low_value == counts.min()
    assert per_user.buckets[-1].high_value == counts.max()
    pairs = frame.userId.nunique() * frame.movieId.nunique()
    custom = protos.custom(stats)
    assert custom["sparsity"] == pytest.approx(1 - len(frame) / pairs)
    assert custom["item: share in side table"] == 1
    time = features["time"].num_stats
    assert (time.min, time.max) == (frame.timestamp.min(), frame.timestamp.max())
    assert abs(time.median - frame.timestamp.median()) < 2 * 86_400
    page = Page((made[1].path / "index.html").read_text()).check()
    assert f"all: {len(frame):,} events" in page.root.all("h2")[0].text
    most = frame.movieId.value_counts()
    first, (title, n) = next(iter(page.tables["Most frequent: item"].rows.items()))
    assert int(n) == most.max() == most[int(first)] and title.startswith(f"Film {first} (")
    assert len(page.root.all("svg")) == 4  # of users, items, times and values


def test_merging_does_not_depend_on_the_order():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user": random.integers(-1, 50, 5000),
            "item": random.integers(0, 9, 5000),
            "value": (random.normal(size=5000) * 1e3).astype(np.float32),
            "time": random.integers(0, 10**9, 5000),
        }
    )
    frame.loc[7, "value"] = np.nan
    coded = {"user": "", "item": ""}
    hashes = {"user": np.arange(50, dtype=np.uint64), "item": np.arange(9, dtype=np.uint64)}
    texts = {"user": list(map(str, range(50))), "item": list(map(str, range(9)))}

    def written(parts):
        merged = parts[0]
        for part in parts[1:]:
            merged = statistics.merge(merged, part)
        proto = protos.dataset("x", merged, texts).SerializeToString(deterministic=True)
        return proto, merged.sketch.tolist(), merged.checksum

    parts = [
        statistics.of_events(frame[i : i + 700].reset_index(drop=True), coded, hashes)
        for i in range(0, 5000, 700)
    ]
    assert written(parts) == written(parts[::-1])
    halves = [written(parts[:4]), written(parts[4:])]
    assert halves[0] != halves[1]
    assert written(parts)[2] == (halves[0][2] + halves[1][2]) % 2**64
    assert len(written(parts)[1]) == statistics.SKETCH


def test_sketches_estimate_common_events():
    ids = {"user": np.arange(40_000, dtype=np.uint64)}

    def sketch(low, high):
        frame = pd.DataFrame({"user": np.arange(low, high)})
        return statistics.of_events(frame, {"user": ""}, ids).sketch

    a, b = sketch(0, 20_000), sketch(10_000, 30_000)
    assert statistics.common(a, b) == pytest.approx(1 / 3, abs=0.06)
    assert statistics.common(a, a) == 1 and statistics.common(a, sketch(20_000, 30_000)) == 0


def test_divergence_of_known_histograms():
    def histogram(*buckets):
        made = statistics_pb2.Histogram()
        for low, high, count in buckets:
            made.buckets.add(low_value=low, high_value=high, sample_count=count)
        return made

    one = histogram((1, 1, 3), (2, 2, 1))
    assert divergence.jensen_shannon(one, one) == 0
    assert divergence.jensen_shannon(one, histogram((5, 5, 9))) == pytest.approx(1)
    other = histogram((1, 1, 1), (2, 2, 3))
    p, q, m = np.array([0.75, 0.25]), np.array([0.25, 0.75]), np.array([0.5, 0.5])
    by_hand = ((p * np.log2(p / m)).sum() + (q * np.log2(q / m)).sum()) / 2
    assert divergence.jensen_shannon(one, other) == pytest.approx(by_hand)
    whole, cut = histogram((0, 4, 8)), histogram((0, 1, 2), (1, 4, 6))
    assert divergence.jensen_shannon(whole, cut) == pytest.approx(0)


def test_the_schema_is_inferred_once_and_may_be_edited(made, tmp_path, capsys):
    path = tmp_path / "schema.pbtxt"
    schema_gen.run(path, *made)
    schema = schema_gen.read(path)
    features = {f.name: f for f in schema.feature}
    assert set(features) == {"user", "item", "value", "time"}
    assert (features["value"].float_domain.min, features["value"].float_domain.max) == (0.5, 5)
    assert features["item"].type == schema_pb2.BYTES
    features["value"].float_domain.max = 4
    path.write_text(text_format.MessageToString(schema))
    schema_gen.run(path, *made)
    assert "kept" in capsys.readouterr().out
    edited = {f.name: f for f in schema_gen.read(path).feature}
    assert edited["value"].float_domain.max == 4
    path.write_text("feature { nme: 'x' }")
    with pytest.raises(ValueError, match="schema.pbtxt: 1:11"):
        schema_gen.read(path)


def test_statistics_of_rows_are_those_of_their_splits(made, tmp_path):
    for config in (DataConfig(), DataConfig(rows="item"), DataConfig(split="users", test=5)):
        path = tmp_path / f"{config.rows}{config.split}"
        rows = transform.run({1: made[0]}, config, engine.Local(), path)
        found = statistics_gen.of_rows(rows, engine.Local(), tmp_path / f"s{path.name}")
        stats = statistics_gen.read(found.path)
        from tfrec.schema import DatasetInfo

        info = DatasetInfo.load(rows.path)
        assert {n: s.num_examples for n, s in stats.items()} == info.n_ratings
        mean = next(f for f in stats["train"].features if f.path.step[0] == "value")
        assert mean.num_stats.mean == pytest.approx(info.rating_mean)


def test_raw_spans_are_found_by_number(tmp_path):
    for number in (10, 9, 2):
        (tmp_path / f"day-{number}.zip").write_text("")
    (tmp_path / "day-x.zip").write_text("")
    found = example_gen.sources("ml-1m", str(tmp_path / "day-{SPAN}.zip"), None)
    assert [s.number for s in found] == [2, 9, 10]
    assert found[0].raw == str(tmp_path / "day-2.zip")
    assert example_gen.sources("ml-1m", "x.zip", None) == [example_gen.Source(1, "ml-1m", "x.zip")]
    with pytest.raises(FileNotFoundError, match="matches; {SPAN} is a number"):
        example_gen.sources("ml-1m", str(tmp_path / "night-{SPAN}.zip"), None)
    with pytest.raises(ValueError, match="last part of the path"):
        example_gen.sources("ml-1m", "{SPAN}/x.zip", None)


def test_an_error_of_a_reader_is_stored(tmp_path):
    board = checkerboard(False)

    def chunks():
        yield next(board.chunks())
        raise ValueError("line 7: no")

    spans.write(dataclasses.replace(board, chunks=chunks), tmp_path)
    assert spans.Span.load(tmp_path).error == "line 7: no"
