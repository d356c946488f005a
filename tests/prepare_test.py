"""Preparing: the contents of the directory are reproducible; failures leave nothing."""

import contextlib
import dataclasses
import errno
import io
import itertools
import json
import os
import pathlib
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from tfrec.config import DataConfig
from tfrec.data import blocks, example_encoding, records
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.schema import DatasetInfo


def make_frame(n_users=30, n_items=20, share=0.5, seed=0):
    random = np.random.default_rng(seed)
    users, items = np.nonzero(random.random((n_users, n_items)) < share)
    order = random.permutation(len(users))
    return pd.DataFrame(
        {
            "user": (users[order] + 1).astype(str),
            "item": (items[order] + 101).astype(str),
            "value": random.integers(1, 6, len(order)).astype(np.float32),
            "time": random.integers(1000, 1050, len(order)),
        }
    )


def make_raw(frame, chunk=64, **changes):
    fields = {
        "name": "toy",
        "chunks": lambda: (frame[i : i + chunk] for i in range(0, len(frame), chunk)),
        "fingerprint": "abc",
        "rating_min": 1.0,
        "rating_max": 5.0,
        "rating_step": 1.0,
        "has_times": True,
    }
    return RawDataset(**(fields | changes))


def contents(directory):
    return {path.name: path.read_bytes() for path in sorted(pathlib.Path(directory).iterdir())}


def stored(data_dir, info):
    """All stored ratings as a set of (part, user id, item id, value, time)."""
    users, items = (
        pathlib.Path(data_dir, f"{what}.txt").read_text().split() for what in ("users", "items")
    )
    found = set()
    for row in records.read_rows(data_dir, info):
        for part, prefix in (("history", ""), ("validation", "validation_"), ("test", "test_")):
            columns = zip(
                row[prefix + "items"], row[prefix + "values"], row[prefix + "times"], strict=True
            )
            for column, value, time in columns:
                user, item = (row["user"], column)[:: 1 if info.rows == "user" else -1]
                found.add((part, users[user], items[item], float(value), int(time)))
    return found


def test_everything_is_stored_once(tmp_path):
    frame = make_frame()
    info = prepare(make_raw(frame), DataConfig(shards=3), tmp_path / "d", progress=False)
    found = stored(tmp_path / "d", info)
    assert {entry[1:] for entry in found} == set(frame.itertuples(index=False, name=None))
    assert len(found) == len(frame) == sum(info.n_ratings.values())
    assert len(list((tmp_path / "d").glob("train-0000?-of-00003.tfrecord"))) == 3
    assert info == DatasetInfo.load(tmp_path / "d")
    assert (tmp_path / "d/users.txt").read_text().split() == [str(i) for i in range(1, 31)]
    assert info.sparsity == pytest.approx(1 - len(frame) / 600)
    train = [entry[3] for entry in found if entry[0] == "history"]
    assert info.rating_mean == pytest.approx(np.mean(train))


def test_item_rows_hold_the_same_ratings(tmp_path):
    raw = make_raw(make_frame())
    infos = [
        prepare(raw, DataConfig(rows=rows), tmp_path / rows, progress=False)
        for rows in ("user", "item")
    ]
    assert stored(tmp_path / "user", infos[0]) == stored(tmp_path / "item", infos[1])
    assert (infos[1].n_users, infos[1].n_items, infos[1].n_rows) == (30, 20, 20)
    assert infos[0].n_ratings == infos[1].n_ratings
    assert infos[0].rating_mean == pytest.approx(infos[1].rating_mean)


def test_rows_are_in_stable_time_order(tmp_path):
    frame = pd.DataFrame(
        {
            "user": ["u"] * 5,
            "item": ["e", "d", "c", "b", "a"],
            "value": np.float32([1, 2, 3, 4, 5]),
            "time": [7, 3, 7, 3, 1],
        }
    )
    config = DataConfig(test=0, validation=0)
    info = prepare(make_raw(frame, 2), config, tmp_path / "d", progress=False)
    row = records.find_rows(tmp_path / "d", info, [0])[0]
    assert row["times"].tolist() == [1, 3, 3, 7, 7]
    assert row["items"].tolist() == [0, 3, 1, 4, 2]
    assert row["values"].tolist() == [5, 2, 4, 1, 3]


def test_found_rows_merge_parts_in_time_order(tmp_path):
    frame = make_frame()
    info = prepare(make_raw(frame), DataConfig(split="last"), tmp_path / "d", progress=False)
    row = records.find_rows(tmp_path / "d", info, [6], ("history", "validation", "test"))[6]
    mine = frame[frame.user == "7"].sort_values("time", kind="stable")
    assert row["items"].tolist() == [int(item) - 101 for item in mine.item]
    assert row["times"].tolist() == mine.time.tolist()
    assert not records.find_rows(tmp_path / "d", info, [99])


@pytest.mark.parametrize(
    "settings",
    [
        {"split": "random"},
        {"split": "random", "rows": "item"},
        {"split": "time", "test": 0.3, "validation": 0.5},
        {"split": "users", "test": 5, "validation": 5},
        {"split": "last"},
    ],
)
def test_bytes_depend_on_nothing_but_source_and_settings(tmp_path, settings):
    frame = make_frame(share=0.3)
    for name, chunk in (("a", 1000), ("b", 1000), ("c", 7)):
        prepare(make_raw(frame, chunk), DataConfig(**settings), tmp_path / name, progress=False)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_time_vocabulary_is_what_train_knows(tmp_path):
    frame = make_frame(share=0.1)
    config = DataConfig(split="time", test=0.5, validation=0.5)
    info = prepare(make_raw(frame), config, tmp_path / "d", progress=False)
    train = frame[frame.time <= np.quantile(frame.time, 0.5)]
    users = (tmp_path / "d/users.txt").read_text().split()
    assert users == sorted(set(train.user), key=int)
    items = (tmp_path / "d/items.txt").read_text().split()
    assert items == sorted(set(train.item), key=int)
    assert sum(info.n_ratings.values()) + sum(info.dropped.values()) == len(frame)
    assert info.n_ratings["train"] == len(train)


def test_held_out_users_keep_their_position(tmp_path):
    frame = make_frame(share=0.15)
    config = DataConfig(split="users", test=8, validation=8)
    info = prepare(make_raw(frame), config, tmp_path / "d", progress=False)
    assert info.n_users == frame.user.nunique()
    assert info.groups == ("train", "validation", "test")
    assert sum(info.n_ratings.values()) + sum(info.dropped.values()) == len(frame)
    rows = list(records.read_rows(tmp_path / "d", info))
    assert len({row["user"] for row in rows}) == len(rows)
    train = [row for row in rows if row["group"] == "train"]
    assert info.n_ratings["train"] == sum(len(row["items"]) for row in train)
    assert {i for row in train for i in row["items"]} == set(range(info.n_items))
    assert all(not len(row["test_items"]) for row in rows if row["group"] != "test")
    assert info.max_history == max(len(row["items"]) for row in train)


def test_filters_count_what_they_drop(tmp_path):
    frame = pd.DataFrame(
        {
            "user": list("aaabbcdddd"),
            "item": list("xyzxyxwxyz"),
            "value": np.float32([5, 5, 1, 5, 5, 5, 5, 5, 5, 5]),
            "time": range(10),
        }
    )
    config = DataConfig(
        test=0, validation=0, min_rating=2, min_item_ratings=2, min_user_ratings=2, core=True
    )
    info = prepare(make_raw(frame), config, tmp_path / "d", progress=False)
    # 1 below 2; w and then z (its other rating is gone) are rare; c has one rating.
    assert info.dropped == {"min_rating": 1, "min_item_ratings": 2, "min_user_ratings": 1}
    assert (tmp_path / "d/users.txt").read_text() == "a\nb\nd\n"
    assert (tmp_path / "d/items.txt").read_text() == "x\ny\n"
    with pytest.raises(ValueError, match="no rating passes the filters"):
        prepare(make_raw(frame), DataConfig(min_rating=6), tmp_path / "e", progress=False)
    info = prepare(
        make_raw(frame), DataConfig(test=0, max_user_ratings=3), tmp_path / "f", progress=False
    )
    assert info.dropped == {"max_user_ratings": 4}


def test_side_tables_follow_the_vocabulary(tmp_path):
    users = pd.DataFrame({"user": ["3", "1", "77"], "age": [30, 10, 1], "zip": ["003", None, "x"]})
    items = pd.DataFrame({"item": ["101"]})  # no fields
    frame = make_frame(3)
    prepare(make_raw(frame, users=users, items=items), DataConfig(), tmp_path / "d", progress=False)
    text = (tmp_path / "d/user_fields.csv").read_text()
    assert text == "user,age,zip\n1,10,\n2,,\n3,30,003\n"
    assert not (tmp_path / "d/item_fields.csv").exists()
    twice = pd.concat([users, users])
    with pytest.raises(ValueError, match="user '3' has more than one row"):
        prepare(make_raw(frame, users=twice), DataConfig(), tmp_path / "e", progress=False)


def test_data_that_is_prepared_already_is_kept(tmp_path, capsys):
    raw = make_raw(make_frame())
    first = prepare(raw, DataConfig(), tmp_path / "d", progress=False)
    raw = dataclasses.replace(raw, chunks=None)  # would fail
    assert prepare(raw, DataConfig(), str(tmp_path / "d")) == first
    assert "prepared already" in capsys.readouterr().err


def test_other_settings_need_another_directory_or_overwrite(tmp_path):
    raw = make_raw(make_frame())
    prepare(raw, DataConfig(), tmp_path / "d", progress=False)
    config = DataConfig(seed=3, shards=1)
    with pytest.raises(
        ValueError, match=r"seed is 0, requested is 3; shards is 4, requested is 1.*--overwrite"
    ):
        prepare(raw, config, tmp_path / "d", progress=False)
    cure = "tfrec.prepare --overwrite --dataset=ml-latest-small --split=random --data seed=3 "
    with pytest.raises(ValueError, match=cure + f"--data shards=1 --data_dir={tmp_path / 'd'}`"):
        prepare(raw, config, tmp_path / "d", progress=False)
    raw = dataclasses.replace(raw, fingerprint="changed")
    with pytest.raises(ValueError, match="other source files or by another version"):
        prepare(raw, DataConfig(), tmp_path / "d", progress=False)
    info = prepare(raw, config, tmp_path / "d", progress=False, overwrite=True)
    assert DatasetInfo.load(tmp_path / "d") == info
    assert info.config["seed"] == 3
    assert len(list((tmp_path / "d").glob("*.tfrecord"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_both_lines_of_a_duplicate_are_given(tmp_path):
    frame = make_frame()
    frame = pd.concat([frame, frame[4:5]], ignore_index=True)
    expected = "twice: {}, and {} .duplicates in all: 1.; .*--data duplicates=last"
    with pytest.raises(ValueError, match=expected.format("rating 5", f"rating {len(frame)}")):
        prepare(make_raw(frame), DataConfig(), tmp_path / "d", progress=False)
    raw = make_raw(frame, locate=lambda number: f"file, line {number + 2}")
    with pytest.raises(
        ValueError, match=expected.format("file, line 6", f"file, line {len(frame) + 1}")
    ):
        prepare(raw, DataConfig(), tmp_path / "d", progress=False)
    raw = make_raw(make_frame(), locate=None)  # not called where nothing is wrong
    assert prepare(raw, DataConfig(), tmp_path / "d", progress=False).format == 2


def test_foreign_directories_are_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match="was not prepared by tfrec"):
        prepare(make_raw(make_frame()), DataConfig(), tmp_path, progress=False, overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("where", ["records", "info"])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, where):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "info":
        monkeypatch.setattr(DatasetInfo, "to_dict", full)
    else:
        examples = example_encoding.examples

        def fails_halfway(*args):
            yield from itertools.islice(examples(*args), 10)
            full()

        monkeypatch.setattr(example_encoding, "examples", fails_halfway)
    with pytest.raises(OSError, match="No space left"):
        prepare(make_raw(make_frame()), DataConfig(), tmp_path / "d", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_what_was_there(tmp_path, monkeypatch):
    raw = make_raw(make_frame())
    prepare(raw, DataConfig(), tmp_path / "d", progress=False)
    before = contents(tmp_path / "d")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(blocks, "gather", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(raw, DataConfig(seed=1), tmp_path / "d", progress=False, overwrite=True)
    assert contents(tmp_path / "d") == before
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_missing_shard_is_noticed(tmp_path):
    info = prepare(make_raw(make_frame()), DataConfig(), tmp_path / "d", progress=False)
    (tmp_path / "d/train-00001-of-00004.tfrecord").unlink()
    with pytest.raises(FileNotFoundError, match="holds 3 of the 4 train record files"):
        list(records.read_rows(tmp_path / "d", info))


def test_nothing_to_train_on_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no training rating"):
        prepare(make_raw(make_frame()), DataConfig(test=0.9999), tmp_path / "d", progress=False)


def test_info_is_json_with_the_protocol(tmp_path):
    config = DataConfig(split="last")
    info = prepare(make_raw(make_frame(share=0.12)), config, tmp_path / "d", progress=False)
    fields = json.loads((tmp_path / "d/info.json").read_text())
    assert fields["protocol"] == info.protocol
    assert "users with fewer than 3 ratings in train only" in info.protocol
    assert fields["config"]["split"] == "last"


@pytest.mark.slow
def test_ml_1m_bytes_do_not_depend_on_the_chunks(tmp_path):
    root = os.environ.get("TFREC_DATA", pathlib.Path(__file__).parents[1] / ".." / "shared/data")
    path = pathlib.Path(root) / "ml-1m.zip"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    with zipfile.ZipFile(path) as archive:
        text = archive.read("ml-1m/ratings.dat").replace(b"::", b" ")
    numbers = np.array(text.split(), np.int64).reshape(-1, 4)
    frame = pd.DataFrame(numbers, columns=["user", "item", "value", "time"])
    frame = frame.astype({"user": str, "item": str, "value": np.float32})
    for name, chunk in (("a", 2_000_000), ("b", 99_991)):
        info = prepare(make_raw(frame, chunk), DataConfig(), tmp_path / name, progress=False)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (info.n_users, info.n_items) == (6040, 3706)
    assert sum(info.n_ratings.values()) == 1_000_209


def test_blocks_do_not_change_the_bytes(tmp_path, monkeypatch):
    """Nor does the order in which their tasks are done, nor ids that come as categories."""
    frame, config = make_frame(), DataConfig(split="last", shards=3)
    prepare(make_raw(frame), config, tmp_path / "a", progress=False)
    coded = frame.astype({"user": "category", "item": "category"})
    monkeypatch.setattr(blocks, "_RATINGS", 50)
    monkeypatch.setattr(blocks, "_SLICE", 70)
    done = []

    def backwards(function, tasks):
        done.append(len(tasks))
        return [function(task) for task in reversed(tasks)]

    prepare(make_raw(coded), config, tmp_path / "b", progress=False, run=backwards)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert done[0] >= 5 and done[1] == 3


def test_a_second_process_waits_for_the_first_and_uses_its_data(tmp_path):
    """Both see an empty data_dir; the first is at work until the second waits."""
    waits, reads = threading.Event(), []
    frame = make_frame()

    def chunks():
        reads.append(1)
        assert waits.wait(60)
        yield frame

    class Stderr(io.StringIO):
        def write(self, text):
            if "waiting for it to finish" in text:
                waits.set()
            return super().write(text)

    raw = make_raw(frame, chunks=chunks)
    with contextlib.redirect_stderr(Stderr()) as said, ThreadPoolExecutor(2) as pool:
        tasks = [
            pool.submit(prepare, raw, DataConfig(), tmp_path / "above/d", False) for _ in range(2)
        ]
        infos = [task.result(90) for task in tasks]
    assert infos[0] == infos[1] == DatasetInfo.load(tmp_path / "above/d")
    assert len(reads) == 1
    assert said.getvalue().count(f"another process is preparing {tmp_path}/above/d") == 1
    assert [path.name for path in (tmp_path / "above").iterdir()] == ["d"]
