"""The stages of preparing, each alone, on a handful of ratings."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from tfrec.config import DataConfig
from tfrec.data import blocks, pending_rows, prepare, stages
from tfrec.data.ratings import Collector, Ratings
from tfrec.data.stages import Interactions
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.split_rules import HISTORY, TEST

ROWS = [  # user, item, value, time
    ("b", "y", 5, 30),
    ("a", "x", 1, 10),
    ("b", "x", 4, 20),
    ("a", "y", 2, 40),
    ("a", "y", 3, 50),
]


def raw_dataset(rows=ROWS, **changes):
    """Only the required attributes."""
    frame = pd.DataFrame(rows, columns=["user", "item", "value", "time"])
    known = {"fingerprint": "f", "rating_min": 1, "rating_max": 5}
    return RawDataset(name="toy", chunks=lambda: iter([frame[:2], frame[2:]]), **known | changes)


def interactions(users, items, times=None):
    """Interactions of users a, b, ... with items x, y, z."""
    n = len(users)
    data = Ratings(
        users=np.array(users, np.int32),
        items=np.array(items, np.int32),
        values=np.ones(n, np.float32),
        times=np.arange(n) if times is None else np.array(times),
    )
    return Interactions(data, list("abcd")[: max(users) + 1], list("xyz")[: max(items) + 1])


def test_reading_keeps_all_ratings_in_file_order():
    found = stages.read(raw_dataset())
    assert (found.user_ids, found.item_ids, found.dropped) == (["b", "a"], ["y", "x"], {})
    assert found.ratings.users.tolist() == [0, 1, 0, 1, 1]
    assert found.ratings.items.tolist() == [0, 1, 1, 0, 0]
    assert found.ratings.values.tolist() == [5, 1, 4, 2, 3]


def test_cleaning_drops_duplicates_filters_and_labels():
    found = stages.read(raw_dataset())
    config = DataConfig(duplicates="last", min_rating=3, label_above=4)
    kept = stages.clean(found, config)
    assert kept.dropped == {"duplicates": 1, "min_rating": 1}
    assert kept.ratings.users.tolist() == [0, 0, 1]
    assert kept.ratings.items.tolist() == [0, 1, 0]
    assert kept.ratings.values.tolist() == [1, 0, 0]
    assert len(found.ratings) == 5  # as it was


def test_cleaning_locates_what_it_refuses():
    with pytest.raises(ValueError, match="twice: line 4, and line 5"):
        stages.clean(stages.read(raw_dataset()), DataConfig(), lambda n: f"line {n + 1}")


def test_splitting_gives_parts_and_leaves_out_what_is_dropped():
    """The months: user b and item z are in the last one only."""
    days = np.array(["2020-03-01", "2020-03-02", "2020-04-01", "2020-05-01"], "datetime64[s]")
    found = interactions([0, 0, 0, 1], [0, 1, 0, 2], times=days.astype(np.int64))
    found = dataclasses.replace(found, dropped={"duplicates": 7})
    parts = stages.split(found, DataConfig(split="month", validation=0))
    assert parts.part.tolist() == [HISTORY] * 3
    assert (parts.kept.user_ids, parts.kept.item_ids) == (["a"], ["x", "y"])
    assert parts.kept.dropped["duplicates"] == 7 and len(parts.kept.dropped) > 1
    assert parts.in_train.all() and parts.group.tolist() == [0]
    assert "2020-05" in parts.note


def test_splitting_sorts_the_ids_that_occur():
    found = interactions([1, 0], [2, 0])
    parts = stages.split(
        dataclasses.replace(found, user_ids=["b", "a"], item_ids=["z", "y", "x"]),
        DataConfig(test=0, validation=0),
    )
    assert (parts.kept.user_ids, parts.kept.item_ids) == (["a", "b"], ["x", "z"])
    assert parts.kept.ratings.users.tolist() == [0, 1]
    assert parts.kept.ratings.items.tolist() == [0, 1]


def test_users_held_out_are_not_trained_on():
    users, items = np.divmod(np.arange(24), 6)
    found = Interactions(interactions(users, items % 3).ratings, list("abcd"), list("xyz"))
    parts = stages.split(found, DataConfig(split="users", test=1, validation=1))
    assert parts.groups == ("train", "validation", "test")
    assert sorted(parts.group.tolist()) == [0, 0, 1, 2]
    trained = set(parts.kept.ratings.users[parts.in_train].tolist())
    assert trained == set(np.flatnonzero(parts.group == 0).tolist())


def test_indexing_learns_codes_on_the_training_part_alone():
    kept = interactions([0, 0, 1], [0, 1, 2], times=[86_400, 2 * 86_400, 0])
    part = np.array([HISTORY, HISTORY, TEST], np.int8)
    parts = stages.Parts(kept, part, np.zeros(2, np.int8), ("train",), ("history",))
    items = pd.DataFrame({"item": ["z", "y", "x"], "kind": ["new", "mug", "pot"], "note": ""})
    raw = raw_dataset(items=items, kinds={"kind": "category"})
    indexed = stages.index(parts, raw, DataConfig())
    assert indexed.tables["item"]["kind"].tolist() == ["pot", "mug", "new"]
    assert indexed.tables["user"].columns.tolist() == ["user"]
    (column,) = indexed.columns
    assert (column.vocabulary, column.entries.tolist()) == (["mug", "pot"], [2, 1, 0])
    assert [field.name for field in indexed.fields] == ["kind", "weekday", "hour", "day"]
    timeless = stages.index(parts, raw_dataset(has_times=False), DataConfig())
    assert timeless.fields == ()


def test_the_stages_on_disk_write_what_prepare_writes(tmp_path):
    """In two steps, between which the ratings need not be in memory."""
    raw, config = raw_dataset(), DataConfig(duplicates="first", test=0.3, validation=0, shards=2)
    whole = prepare.prepare(raw, config, tmp_path / "whole", progress=False)
    steps = tmp_path / "steps"
    steps.mkdir()
    collected = Collector()
    for chunk in raw.chunks():
        collected.add(chunk)
    rows = pending_rows.scatter(steps, prepare.indexed(collected, raw, config), raw, config)
    assert not list(steps.glob("*.tfrecord")) and rows.info == whole
    assert pending_rows.gather(steps, rows, blocks.in_process) == whole
    written = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert json.loads(written.pop("info.json")) == whole.to_dict()
    assert {path.name: path.read_bytes() for path in steps.iterdir()} == written
    assert len([name for name in written if name.endswith(".tfrecord")]) == 2
