"""Damaged and foreign files of a prepared directory: errors give file and cure."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from prepare_test import make_frame, make_raw

from tfrec.config import DataConfig
from tfrec.data import fields, inputs, records, stored, vocabulary
from tfrec.data.description import Description
from tfrec.data.prepare import prepare
from tfrec.schema import DatasetInfo

CONFIG = DataConfig(dataset="toy", split="users", test=5, validation=5, seed=7, shards=2)
RECORDS = "train-00001-of-00002.tfrecord"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a prepared directory, by name."""
    ids = [str(n) for n in range(1, 31)]
    users = pd.DataFrame({"user": ids, "city": ["Rome", "Oslo", "Bonn"] * 10})
    items = pd.DataFrame({"item": [str(n) for n in range(101, 121)], "title": "A film"})
    kinds = {"city": "category", "title": "text"}
    raw = make_raw(make_frame(), users=users, items=items, kinds=kinds)
    data_dir = tmp_path_factory.mktemp("whole") / "data"
    prepare(raw, CONFIG, data_dir, progress=False)
    return {path.name: path.read_bytes() for path in data_dir.iterdir()}


@pytest.fixture
def data_dir(whole, tmp_path):
    """A copy to be damaged."""
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def histories(data_dir):
    inputs.histories(data_dir, DatasetInfo.load(data_dir), "train", 4)


LOADERS = {
    "info.json": DatasetInfo.load,
    "users.txt": lambda data_dir: vocabulary.read(data_dir / "users.txt"),
    "items.txt": lambda data_dir: vocabulary.read(data_dir / "items.txt"),
    "field_city.txt": lambda data_dir: vocabulary.read(data_dir / "field_city.txt"),
    "user_fields.csv": lambda data_dir: vocabulary.read_table(data_dir / "user_fields.csv"),
    "item_fields.csv": lambda data_dir: vocabulary.read_table(data_dir / "item_fields.csv"),
    "fields.npz": fields.read,
    RECORDS: histories,
}
DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "junk": lambda content: np.random.default_rng(0).bytes(len(content)),
    "zeros": lambda content: bytes(1600),
    "json": lambda content: b'{"a": 1}\n',
    "list": lambda content: b"[1, 2]\n",
}


def cure(name, data_dir):
    """The end of the error."""
    if name == "info.json":
        return f"`python -m tfrec.prepare --overwrite --data_dir={data_dir}` and the flags it was"
    return (
        "`python -m tfrec.prepare --overwrite --dataset=toy --split=users --data test=5 --data "
        f"validation=5 --data seed=7 --data shards=2 --data_dir={data_dir}` (and --raw"
    )


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_with_the_cure(data_dir, name, damage):
    LOADERS[name](data_dir)  # as it was
    path = data_dir / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(ValueError) as error:
        LOADERS[name](data_dir)
    assert str(error.value).startswith(f"{path} is damaged, or of another version of tfrec (")
    assert cure(name, data_dir) in str(error.value)


@pytest.mark.parametrize("name", [name for name in LOADERS if name != "info.json"])
def test_a_missing_file_is_named_with_the_cure(data_dir, name):
    (data_dir / name).unlink()
    with pytest.raises(FileNotFoundError) as error:
        LOADERS[name](data_dir)
    assert (name if name != RECORDS else "holds 1 of the 2 train record") in str(error.value)
    assert cure(name, data_dir) in str(error.value)


def test_all_readers_of_rows_notice(data_dir):
    info = DatasetInfo.load(data_dir)
    path = data_dir / RECORDS
    path.write_bytes(path.read_bytes()[:-3])
    for read in (
        lambda: list(records.read_rows(data_dir, info)),
        lambda: records.find_rows(data_dir, info, [0]),
        lambda: inputs.events(data_dir, info, "validation", 4),
        lambda: Description(data_dir, info),
    ):
        with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is damaged.* is truncated"):
            read()


def test_bytes_that_have_changed_within_a_row_are_noticed(data_dir):
    info = DatasetInfo.load(data_dir)
    path = data_dir / RECORDS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    rows = inputs.histories(data_dir, info, "train", 4)

    def train():
        with records.naming_damage(data_dir, info):
            list(rows)

    for read in (
        train,
        lambda: list(records.read_rows(data_dir, info)),
        lambda: records.find_rows(data_dir, info, [99]),
        lambda: Description(data_dir, info),
    ):
        with pytest.raises(
            ValueError, match=rf"{re.escape(str(path))} is damaged.*corrupted record"
        ):
            read()


def test_rows_that_are_missing_as_a_whole_are_noticed(data_dir):
    info = DatasetInfo.load(data_dir)
    first = next(iter(records.read_rows(data_dir, info, ["validation"])))
    path = data_dir / "validation-00000-of-00001.tfrecord"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little") + 16
    path.write_bytes(content[size:])
    error = r"validation-\S+ is damaged.*4 rows, and 29 in all record files, where 30 are expected"
    with pytest.raises(ValueError, match=error):
        records.find_rows(data_dir, info, [first["user"]])
    path.write_bytes(content)
    (row,) = records.find_rows(data_dir, info, [first["user"]]).values()
    assert row["items"].tolist() == list(first["items"])


def test_invalid_text_and_extra_lines_are_refused(data_dir):
    path = data_dir / "items.txt"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"105", b"\xff05"))
    with pytest.raises(ValueError, match=r"items.txt is damaged.*UnicodeDecodeError.*can't decode"):
        vocabulary.read(path)
    path.write_bytes(content + b"121\n")
    with pytest.raises(ValueError, match=r"items.txt is damaged.*21 whole lines, 20 expected"):
        vocabulary.read(path)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"spin": 1}, "DatasetInfo has an unknown 'spin'"),
        ({"n_users": None}, "'n_users' of DatasetInfo is None, not of type"),
        ({"n_users": "30"}, "'n_users' of DatasetInfo is '30', not of type"),
        ({"n_items": True}, "'n_items' of DatasetInfo is True, not of type"),
        ({"rating_min": "low"}, "'rating_min' of DatasetInfo is 'low', not of type"),
        ({"n_ratings": [1]}, r"'n_ratings' of DatasetInfo is \(1,\), not of type dict"),
        ({"n_ratings": {"train": "1"}}, "'n_ratings' of DatasetInfo is {'train': '1'}, not of"),
        ({"groups": "train"}, "'groups' of DatasetInfo is 'train', not of type tuple"),
        ({"groups": [1]}, r"'groups' of DatasetInfo is \(1,\), not of type tuple"),
        ({"fields": [1]}, r"'fields' of DatasetInfo is \(1,\), not of type"),
        ({"fields": [{"name": "x"}]}, "Field has no 'of'"),
        ({"config": []}, r"'config' of DatasetInfo is \(\), not of type"),
    ],
    ids=str,
)
def test_an_info_of_another_version_is_refused(data_dir, change, error):
    path = data_dir / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=rf"info.json is damaged, or of another.*{error}.*prepare"):
        DatasetInfo.load(data_dir)


def test_missing_entries_of_an_info_are_reported(whole):
    fields_ = json.loads(whole["info.json"])
    assert DatasetInfo.from_dict(fields_).to_dict() == fields_
    for name in ("name", "n_users"):
        less = {key: value for key, value in fields_.items() if key != name}
        with pytest.raises(ValueError, match=f"DatasetInfo has no '{name}'"):
            DatasetInfo.from_dict(less)


def test_unknown_settings_in_an_info_do_not_hide_what_is_damaged(data_dir):
    path = data_dir / "info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"config": info["config"] | {"sped": 3}}))
    (data_dir / "users.txt").write_text("")
    with pytest.raises(ValueError, match=r"users.txt is damaged.*--data_dir=\S+ and the flags it"):
        vocabulary.read(data_dir / "users.txt")
    with pytest.raises(
        ValueError,
        match=r"prepared with .*sped is 3, requested is None.*--overwrite",
    ):
        prepare(make_raw(make_frame()), DataConfig(), data_dir, progress=False)


def test_the_cure_of_a_damaged_info_works(data_dir):
    (data_dir / "info.json").write_text("{")
    raw = make_raw(make_frame())
    with pytest.raises(ValueError, match="info.json is damaged"):
        prepare(raw, CONFIG, data_dir, progress=False)
    info = prepare(raw, CONFIG, data_dir, progress=False, overwrite=True)
    assert DatasetInfo.load(data_dir) == info


def test_changes_are_by_name_with_both_values():
    old = {"seed": 0, "train": {"epochs": 3, "cuts": (10, 20)}, "gone": 1}
    same = {"seed": 0, "train": {"epochs": 3, "cuts": [10, 20]}, "gone": 1}
    assert stored.changes(old, same) == ""
    assert stored.changes(old, {"seed": 2, "train": {"epochs": 5, "cuts": [10]}}) == (
        "gone is 1, requested is None; seed is 0, requested is 2; train.cuts is [10, 20], "
        "requested is [10]; train.epochs is 3, requested is 5"
    )
