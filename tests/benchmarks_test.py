"""The parts of the benchmarks that need no peer: the same interactions, the same measure."""

import importlib.util
import pathlib
import types

import numpy as np
import pytest

from tfrec.data import inputs, records
from tfrec.schema import DatasetInfo

FOLDER = pathlib.Path(__file__).parents[1] / "benchmarks"
GIVEN = {
    "train": [("7", "a"), ("7", "b"), ("12", "b"), ("12", "c"), ("12", "d")],
    "validation": [("7", "c"), ("12", "e")],
    "test": [("12", "a"), ("7", "e"), ("7", "d")],
}


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def given(tmp_path):
    recbole = load("recbole")
    for part, rows in GIVEN.items():
        lines = ["user,item", *(",".join(row) for row in rows)]
        (tmp_path / f"{part}.csv").write_text("\n".join(lines) + "\n")
    recbole.prepare_given(tmp_path, tmp_path / "data")
    return recbole, tmp_path / "data"


def test_the_given_interactions_go_to_the_given_parts(given):
    _, data_dir = given
    info = DatasetInfo.load(data_dir)
    rows = {row["user"]: row for row in records.read_rows(data_dir, info)}
    assert (info.n_users, info.n_items) == (2, 5)
    assert sorted(rows[0]["items"]) == [0, 1]  # user 7: a, b
    assert sorted(rows[1]["items"]) == [1, 2, 3]
    assert (rows[0]["validation_items"], rows[1]["validation_items"]) == ([2], [4])
    assert sorted(rows[0]["test_items"]) == [3, 4]
    assert info.row_counts == {"train": 2, "validation": 2, "test": 2}
    (features, targets), = inputs.histories(data_dir, info, "validation", 2)  # fmt: skip
    assert np.sort(targets["target_items"], axis=0).ravel().tolist() == [2, 4]
    assert features["items"].shape == (2, 3)


def test_train_is_the_input_and_validation_is_struck_out_too(given):
    recbole, data_dir = given
    inputs_seen = {}

    def score(features):
        items = features["items"].numpy()
        inputs_seen.update(zip(features["user"].numpy().tolist(), np.sort(items).tolist()))
        return np.tile(np.float32([0, 1, 9, 3, 2]), (len(items), 1))  # c best: struck out

    result = recbole.measure(data_dir, score).result()
    assert {u: [i for i in x if i >= 0] for u, x in inputs_seen.items() if u >= 0} == {
        0: [0, 1],
        1: [1, 2, 3],
    }
    assert result["recall@10"] == 1.0  # user 7: d, e; user 12: a, all that is left
    assert result["ndcg@10"] == 1.0


def test_lists_are_measured_in_their_order(given):
    recbole, data_dir = given
    lists = {"7": ["e", "d"], "12": ["a"]}
    assert recbole.measure(data_dir, recbole.list_scores(data_dir, lists)).result()["ndcg@10"] == 1
    peer = {"name": "x", "top": lists, "validation": {"ndcg@10": 0, "recall@10": 0}}
    peer["test"] = {"ndcg@10": 0.9, "recall@10": 1.0}
    report = recbole.measure(data_dir, recbole.list_scores(data_dir, lists))
    with pytest.raises(ValueError, match="do not measure the same"):
        recbole.compared(peer, report, data_dir)


def test_ials_reads_rows_as_ones():
    found = load("ials").matrix(np.array([[2, 0, -1], [-1, -1, -1]]), 3)
    np.testing.assert_array_equal(found.toarray(), [[1, 0, 1], [0, 0, 0]])


def test_ials_names_the_missing_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "implicit", types.ModuleType("implicit"))
    with pytest.raises(ValueError, match="pip install implicit"):
        load("ials").implicit()
