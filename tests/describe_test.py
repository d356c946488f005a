"""Descriptions of prepared data: counts by brute force, every leak found, the page."""

import dataclasses
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from commands_test import run
from conftest import checkerboard
from html_page import Page

import tfrec
from tfrec.config import DataConfig
from tfrec.data import (
    description,
    description_page,
    description_text,
    prepare,
    records,
    rule_audit,
)
from tfrec.data.description import Description
from tfrec.schema import PARTS, DatasetInfo, feature_names


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`made(**settings)` -> directory of the prepared checkerboard."""
    known = {}

    def make(**settings):
        key = str(settings)
        if key not in known:
            known[key] = tmp_path_factory.mktemp("described") / "data"
            config = DataConfig(dataset="board", **settings)
            prepare.prepare(checkerboard(False), config, known[key], progress=False)
        return known[key]

    return make


def described(data_dir):
    return Description(data_dir, DatasetInfo.load(data_dir))


def verdicts(found):
    return dict(map(reversed, description_text.checks(found)))


SETTINGS = [
    {"split": "random", "test": 0.2},
    {"split": "time", "test": 0.3, "rows": "item"},
    {"split": "users", "test": 6, "validation": 6, "fold_in": "time"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s["split"])
def test_counts_are_those_of_the_records(monkeypatch, made, settings):
    monkeypatch.setattr(description, "_ROWS", 7)
    data_dir = made(**settings)
    info, found = DatasetInfo.load(data_dir), described(data_dir)
    lists, by_row, by_column, on_train = {}, {}, {}, set()
    for row in records.read_rows(data_dir, info):
        for part in PARTS:
            columns = row[feature_names(part)[0]].tolist()
            key = row["group"], part
            lists[key] = lists.get(key, 0) + len(columns)
            by_row[row["user"]] = by_row.get(row["user"], 0) + len(columns)
            for column in columns:
                by_column[column] = by_column.get(column, 0) + 1
            if key == ("train", "history"):
                on_train |= set(columns)
    assert {k: n for k, n in found.lists.items() if n} == {k: n for k, n in lists.items() if n}
    assert found.row_counts.tolist() == [by_row.get(i, 0) for i in range(info.n_rows)]
    assert found.column_counts.tolist() == [by_column.get(i, 0) for i in range(info.n_columns)]
    assert set(np.flatnonzero(found.train_counts)) == on_train
    assert found.values.sum() == sum(by_row.values())
    assert sum(n.sum() for n in found.months.values()) == found.values.sum() - 1  # one at time 0
    halves = found.values.sum(0)
    assert halves[[0, 4]].min() > 0 and not halves[1:4].any()  # ratings are 1 or 5
    assert found.density.shape == (min(40, info.n_rows), min(40, info.n_columns))
    np.testing.assert_allclose(found.density.mean(), 1 - info.sparsity, atol=1e-9)


def test_ties_in_time_are_counted(tmp_path):
    times = pd.Series([5, 5, 5, 9, 3, 4, 4, 4], dtype="int64")
    frame = pd.DataFrame({"user": list("aaaabbbb"), "item": list("wxyzwxyz"), "time": times})
    data = tfrec.Dataset.from_pandas(frame, time="time")
    found = described(data.split("last", data_dir=tmp_path / "data").data_dir)
    assert (found.neighbours, found.neighbours_tied, found.tied_with_own) == (6, 4, 1)
    said = verdicts(found)
    assert any("1 of 2 test ratings have the time of" in sentence for sentence in said)
    assert "4 of 6 neighbouring ratings" in dict(description_text.rows(found))["ties"]


def test_a_random_split_is_clean_but_not_by_time(made):
    found = described(made(split="random", test=0.2))
    said = verdicts(found)
    assert said["no pair of user and item is in two parts, or twice in one"] == "ok"
    note = next(s for s in said if "split=random does not go by time" in s)
    assert re.match(
        r"[\d,]+ of 320 test ratings are earlier than the last input of their user", note
    )
    assert said[note] == "note"
    assert "LEAK" not in said.values()


def test_splits_by_time_come_after_training(made):
    for settings in (SETTINGS[1], {"split": "last"}):
        assert "LEAK" not in verdicts(described(made(**settings))).values()
    with_input = verdicts(described(made(**SETTINGS[2])))
    assert with_input["0 users are tested without any input"] == "ok"


def spoilt(data_dir, folder, spoil):
    """A copy whose rows went through `spoil(user, lists)`: items, values, times by part."""
    shutil.copytree(data_dir, folder)
    info = DatasetInfo.load(data_dir)
    for file in folder.glob("*.tfrecord"):
        file.unlink()
    rows = {row["user"]: row for row in records.read_rows(data_dir, info)}
    with tf.io.TFRecordWriter(str(folder / "train-00000-of-00001.tfrecord")) as out:
        for user in range(info.n_rows):
            lists = {p: [rows[user][n].tolist() for n in feature_names(p)] for p in PARTS}
            spoil(user, lists)
            row = {"user": ints([user])}
            for part in PARTS:
                items, values, times = feature_names(part)
                row[items], row[times] = ints(lists[part][0]), ints(lists[part][2])
                row[values] = tf.train.Feature(float_list=tf.train.FloatList(value=lists[part][1]))
            example = tf.train.Example(features=tf.train.Features(feature=row))
            out.write(example.SerializeToString())
    return folder


def ints(values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def test_pairs_in_two_parts_are_a_leak(made, tmp_path):
    def spoil(user, lists):
        if user < 3:  # a test rating in the input, too
            for input_, test in zip(lists["history"], lists["test"]):
                input_.append(test[0])
        if user == 5:
            for validation in lists["validation"]:
                validation.append(validation[0])

    said = verdicts(described(spoilt(made(split="random", test=0.2), tmp_path / "x", spoil)))
    assert said["3 pairs of user and item are both in history and test"] == "LEAK"
    assert said["1 pairs of user and item are twice in validation"] == "LEAK"
    assert not any("no pair" in sentence for sentence in said)


def test_a_test_before_training_is_a_leak_of_a_split_by_time(made, tmp_path):
    def spoil(user, lists):
        if user == 7 and lists["test"][2]:
            lists["test"][2][0] = 1

    for split in ("time", "last"):
        data_dir = made(split=split)
        said = verdicts(described(spoilt(data_dir, tmp_path / split, spoil)))
        (leak,) = (sentence for sentence, verdict in said.items() if verdict == "LEAK")
        assert re.match(r"1 of [\d,]+ test ratings are earlier than the last ", leak)


def test_cold_items_are_reported(made, tmp_path):
    def spoil(user, lists):
        if user == 4:
            lists["history"] = lists["validation"] = [[], [], []]
        for part in ("history", "validation"):  # item 9 is not in training
            keep = [i for i, column in enumerate(lists[part][0]) if column != 9]
            lists[part] = [[numbers[i] for i in keep] for numbers in lists[part]]

    found = described(spoilt(made(split="random", test=0.2), tmp_path / "x", spoil))
    n = int(found.test_counts[9])
    said = verdicts(found)
    assert said[f"{n} of 320 test ratings are on 1 cold items"] == "note"
    assert said["1 users are tested without any input"] == "note"


def test_the_command_prints_a_table_and_writes_a_page(capsys, made, tmp_path):
    data_dir = made(**SETTINGS[2])
    page = tmp_path / "a.html"
    done = run(capsys, "describe", f"--data_dir={data_dir}", f"--html={page}")
    assert done.status == 0 and done.err == ""
    assert re.search(r"^ratings +1,600: 1,120 train, ", done.out, re.M)
    assert re.search(r"^values +1: 50.0 %, 5: 50.0 %$", done.out, re.M)
    assert "held-out users" in done.out and "train rows, train: 1970-01-01 00:00 to" in done.out
    text = page.read_text()
    shown = Page(text).check()
    assert list(shown.sections) == ["data", "leaks", "plots"]
    assert shown.tables["What is there"].rows["values"] == ["1: 50.0 %, 5: 50.0 %"]
    assert len(shown.root.all("svg")) == 6 and "Sparsity" in shown.sections["plots"].text
    description_page.write(described(data_dir), page)
    assert page.read_text() == text  # the same bytes for the same data
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]


def test_a_page_of_one_value_without_times(made, tmp_path):
    """Implicit data: every plot has something to say, and names are escaped."""
    raw = checkerboard(True)
    (frame,) = raw.chunks()
    frame = frame.assign(value=np.float32(1), time=0)
    raw = dataclasses.replace(
        raw,
        name="<b>&",
        chunks=lambda: iter([frame]),
        rating_min=1.0,
        rating_max=1.0,
        has_times=False,
    )
    prepare.prepare(raw, DataConfig(), tmp_path / "data", progress=False)
    found = described(tmp_path / "data")
    assert found.values.shape == (3, 1) and not found.has_times
    description_page.write(found, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert "&lt;b&gt;&amp;" in text and "<b>&" not in text and "no times are known" in text
    assert "none known" in description_text.table(found)


def test_values_around_zero_are_counted_where_they_are(tmp_path):
    raw = checkerboard(False)
    (frame,) = raw.chunks()
    tenths = np.random.default_rng(0).integers(-3, 4, len(frame))
    frame = frame.assign(value=(tenths / 10).astype(np.float32)).drop(columns="test")
    names = ("rating_min", "rating_max", "rating_step")
    scale = dict(zip(names, map(float, np.float32([-0.3, 0.3, 0.1])), strict=True))
    raw = dataclasses.replace(raw, chunks=lambda: iter([frame]), **scale)
    prepare.prepare(raw, DataConfig(), tmp_path / "data", progress=False)
    found = described(tmp_path / "data")
    due = np.bincount(tenths + 3)
    assert found.values.sum(0).tolist() == due.tolist()
    names = ("-0.3", "-0.2", "-0.1", "0", "0.1", "0.2", "0.3")
    expected = ", ".join(f"{v}: {100 * n / 1600:.1f} %" for v, n in zip(names, due, strict=True))
    assert dict(description_text.rows(found))["values"] == expected


def test_nothing_prepared(capsys, tmp_path):
    done = run(capsys, "describe", f"--data_dir={tmp_path}")
    assert done.status == 1 and "nothing is prepared in --data_dir" in done.err


# ------------------------------------------------------------------ rules without learning


def test_rules_answer_what_the_split_gives_away(tmp_path):
    """Item b follows a; on the third day everyone chooses d; c is the most popular."""
    day = 86_400
    histories = [[("c", 1), ("a", 5), ("b", 6)]] * 3 + [[("c", 1), ("d", 2 * day + 5)]] * 4
    tested = [[("c", 1), ("a", 2), ("b", 9 * day)], [("a", 1), ("d", 2 * day)]]
    lines = [
        (f"u{n}", item, 1.0, time + day)
        for n, history in enumerate(histories + tested)
        for item, time in history
    ]
    frame = pd.DataFrame(lines, columns=["user", "item", "value", "time"])
    last = frame.groupby("user")["time"].transform("max") == frame["time"]
    frame["test"] = last & frame["user"].isin(["u7", "u8"])
    items = pd.DataFrame({"item": list("abcd")})
    raw = dataclasses.replace(
        checkerboard(True), items=items, name="rules", chunks=lambda: iter([frame]), kinds={}
    )
    config = DataConfig(dataset="rules", split="folds", validation=0.0)
    info = prepare.prepare(raw, config, tmp_path / "d", progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule_audit, "K", 1)
        found = rule_audit.audit(tmp_path / "d", info)
    # u7: b follows a. u8: c is the most popular and follows nothing; on its day d is chosen.
    assert found == rule_audit.Audit(rows=2, popularity=0.0, day=0.5, successors=0.5)
    assert "50.0 % (successors of the last input)" in rule_audit.text(found)


def test_data_without_times_or_with_rows_by_item_is_not_audited(made):
    data_dir = made(split="time", test=0.3, rows="item")
    assert rule_audit.audit(data_dir, DatasetInfo.load(data_dir)) is None
