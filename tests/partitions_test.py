"""Preparing by partitions of users: the very bytes of preparing in memory."""

import numpy as np
import pandas as pd
import pytest
from pipeline_data_test import contents, pack, ratings

from pipelines import engine, example_gen, partitions, spans, transform
from tfrec.config import DataConfig
from tfrec.data import partitioned, prepare
from tfrec.data import partitions as tasks


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Two spans: ids of numbers and of text, ties in time, pairs that occur in both spans."""
    folder = tmp_path_factory.mktemp("raw")
    first, second = ratings(n_users=60), ratings(seed=1, first=31)
    first["timestamp"] -= first["timestamp"] % 100_000
    second["userId"] = [f"{u}" if u % 3 else f"u{u}" for u in second["userId"]]
    rare = pd.DataFrame({"userId": [7, 7, 8], "movieId": [901, 902, 901], "rating": 4.5,
                         "timestamp": 1_000_000_123})  # fmt: skip
    pack(folder / "day-1.zip", pd.concat([first, rare], ignore_index=True))
    pack(folder / "day-2.zip", second)
    found = example_gen.sources("ml-latest-small", str(folder / "day-{SPAN}.zip"), None)
    return example_gen.run(found, folder / "root", engine.Local())


def prepared(examples, folder, n, worker=None, **settings):
    data = DataConfig(dataset="ml-latest-small", **settings)
    made = transform.run(examples, data, worker or engine.Local(), folder / f"{n}", None, n)
    assert not [p for p in made.path.iterdir() if p.is_dir()]
    return contents(made.path)


@pytest.mark.parametrize(
    "settings",
    [
        {"split": "last", "duplicates": "last"},
        {"split": "last", "duplicates": "count", "validation": 0, "core": True,
         "min_user_ratings": 10, "min_item_ratings": 22, "max_user_ratings": 22},
        {"split": "users", "duplicates": "first", "test": 0.3, "min_rating": 2, "seed": 3},
        {"split": "users", "duplicates": "sum", "test": 9, "fold_in": "time", "shards": 2},
        {"split": "time", "duplicates": "last", "test": 0.3, "validation": 0.4, "law": "hash"},
        {"split": "time", "duplicates": "last", "test_since": "2001-11-01", "validation": 0,
         "until": "2001-12-20", "since": "2001-09-20"},
        {"split": "random", "duplicates": "last", "law": "hash", "label_above": 3,
         "drop_rating": 1, "min_item_ratings": 5, "min_user_ratings": 9},
    ],
)  # fmt: skip
def test_bytes_are_those_of_memory_whatever_the_partitions(settings, examples, tmp_path):
    plain = prepared(examples, tmp_path, 1, **settings)
    assert prepared(examples, tmp_path, 3, **settings) == plain
    assert prepared(examples, tmp_path, 97, **settings) == plain  # more than users have
    assert len(plain) > 8


@pytest.mark.parametrize(
    "settings",
    [{"split": "users", "test": 0.3, "core": True, "min_item_ratings": 20}, {"law": "hash"}],
)
def test_without_a_pipeline_chunks_are_spooled(settings, examples, tmp_path, monkeypatch, capsys):
    raw = spans.as_raw([spans.Span.load(examples[n].path) for n in (1, 2)])
    data = DataConfig(dataset="ml-latest-small", duplicates="last", **settings)

    def prepared_in(name, **options):
        prepare.prepare(raw, data, tmp_path / name, progress=False, **options)
        assert not [p for p in (tmp_path / name).iterdir() if p.is_dir()]
        return contents(tmp_path / name)

    plain = prepared_in("plain", n_partitions=1)
    assert prepared_in("small") == plain and not capsys.readouterr().out
    assert prepared_in("three", n_partitions=3) == plain
    n = sum(len(chunk) for chunk in raw.chunks())
    assert f"{n:,} ratings in 3 partitions" in capsys.readouterr().out
    monkeypatch.setattr(partitioned.memory, "available", lambda: 89 * n)  # full at the second span
    assert prepared_in("large") == plain
    assert f"{n:,} ratings in 1 partitions" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--partitions=2: rows=item needs all ratings at once"):
        prepare.prepare(raw, DataConfig(rows="item"), tmp_path / "x", False, n_partitions=2)
    assert not list(tmp_path.glob(".*-*"))  # nothing half-written


def test_beam_writes_the_same_bytes(examples, tmp_path):
    settings = {"split": "time", "duplicates": "last", "law": "hash"}
    worker = engine.make("FnApiRunner", [], tmp_path / "work")
    again = prepared(examples, tmp_path, 4, worker, **settings)
    assert again == prepared(examples, tmp_path, 1, **settings)


def test_what_is_refused_reads_as_in_memory(examples, tmp_path):
    for settings in (
        {"split": "last"},  # duplicates
        {"split": "last", "duplicates": "last", "min_user_ratings": 1_000},
        {"split": "time", "duplicates": "last", "validation": 0, "test_since": "2030-01-01"},
        {"split": "users", "duplicates": "last", "test": 1_000},
    ):
        with pytest.raises(ValueError) as plain:
            prepared(examples, tmp_path, 1, **settings)
        with pytest.raises(ValueError) as parted:
            prepared(examples, tmp_path, 5, **settings)
        assert str(parted.value) == str(plain.value)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "split=random needs law=hash"),
        ({"split": "time"}, "split=time needs law=hash or validation=0"),
        ({"split": "last", "tie_order": "random"}, "split=last needs tie_order=file"),
        ({"split": "month"}, "split=month needs all ratings at once"),
        ({"rows": "item", "law": "hash"}, "rows=item needs all ratings at once"),
    ],
)
def test_what_needs_all_ratings_is_named(settings, why, examples, tmp_path):
    with pytest.raises(ValueError, match=f"--partitions=2: {why}; use --partitions=1"):
        prepared(examples, tmp_path, 2, duplicates="last", **settings)


def test_the_number_of_partitions_follows_from_the_size(examples, monkeypatch, capsys):
    found = [spans.Span.load(examples[n].path) for n in (1, 2)]
    n = sum(span.about["n"] for span in found)
    data = DataConfig(split="last")
    assert partitions.number(found, data, 0) == 1
    monkeypatch.setattr(partitioned.memory, "available", lambda: 89 * n)
    monkeypatch.setattr(partitioned, "RATINGS", n // 4 - 1)
    assert partitions.number(found, data, 0) == 5
    assert f"{n:,} ratings in 5 partitions" in capsys.readouterr().out
    assert partitions.number(found, DataConfig(), 0) == 1
    assert "half of the memory is needed: split=random needs law=hash" in capsys.readouterr().out


def test_events_with_fields_are_not_divided():
    columns = ["user", "item", "value", "time", "channel"]
    assert "channel" in partitioned.whole(DataConfig(split="last"), True, columns)
    assert not partitioned.whole(DataConfig(split="last"), True, columns[:4])


def test_interpolation_is_that_of_numpy():
    random = np.random.default_rng(0)
    for n in (1, 2, 10, 11, 101, 1000):
        for share in (0.9, 0.8, 0.7, 0.55, 1 / 3, 0.999):
            times = np.sort(random.integers(0, 2**31, n))
            at = (n - 1) * share
            low = int(at)
            pair = times[low], times[min(low + 1, n - 1)]
            assert partitioned.interpolated(*pair, at - low) == np.quantile(times, share)


def test_tallies_merge_in_any_order():
    a = tasks.Tally({"n": 1, "x": np.array([1, 2])}, {"first": 3}, {"dup": 1})
    b = tasks.Tally({"n": 2, "x": np.array([4, 0])}, {}, {"dup": 2, "low": 1})
    for merged in (tasks.merged(a, b), tasks.merged(b, a)):
        assert (merged.sums["n"], merged.sums["x"].tolist()) == (3, [5, 2])
        assert (merged.least, merged.dropped) == ({"first": 3}, {"dup": 3, "low": 1})
