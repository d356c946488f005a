"""What a server answers, and what an export publishes."""

import functools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfrec.data import inputs
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import export, signatures

N = 40  # users and items of the checkerboard


def made(data_dir, name, **settings):
    """A model of random weights, which tells any two histories apart."""
    tf.keras.utils.set_random_seed(5)
    cls = MODELS[name]
    return cls.create(DatasetInfo.load(data_dir), cls.Config(**settings))


@pytest.fixture(scope="module")
def data_dir(board):
    return board()[0]


@pytest.fixture(scope="module")
def model(data_dir):
    return made(data_dir, "autoencoder", hidden=(8,))


@pytest.fixture(scope="module")
def top(model, data_dir, tmp_path_factory):
    """`top(k)` -> the signature's object."""
    file = tmp_path_factory.mktemp("titles") / "titles.txt"
    return functools.cache(lambda k=5: signatures.make(model, data_dir, k, file))


def ask(top, *histories):
    """Answers to histories of (item, rating) pairs, padded to one batch."""
    length = max(map(len, histories))
    padded = [[*h, *[("", 0.0)] * (length - len(h))] for h in histories]
    answer = top.recommend(
        items=tf.constant([[item for item, _ in h] for h in padded], tf.string),
        values=tf.constant([[float(value) for _, value in h] for h in padded]),
    )
    return {name: value.numpy() for name, value in answer.items()}


def same(a, b, row=0):
    """Whether the only answer of `a` is answer `row` of `b`."""
    np.testing.assert_array_equal(a["items"][0], b["items"][row])
    np.testing.assert_allclose(a["scores"][0], b["scores"][row], rtol=1e-5)


SHORT = [("i3", 5), ("i4", 1)]
LONG = [(f"i{x}", 1 + x % 5) for x in (1, 30, 7, 22, 9, 15, 2)]


# ------------------------------------------------------------------ requests


def test_an_item_sent_twice_counts_once_with_its_first_rating(top):
    same(ask(top(), [*SHORT, ("i3", 1)]), ask(top(), SHORT))
    same(ask(top(), [("i3", 5), ("i3", 1), ("i4", 1), ("i4", 5)]), ask(top(), SHORT))
    first = ask(top(), [("i3", 1), ("i3", 5), ("i4", 1)])
    assert abs(first["scores"] - ask(top(), SHORT)["scores"]).max() > 1e-4


def test_unknown_ids_and_padding_are_ignored(top):
    dirty = [("nobody knows", 5), SHORT[0], ("", 4), ("", 0), SHORT[1], ("I3", 5)]
    same(ask(top(), dirty), ask(top(), SHORT))


def test_the_order_of_a_history_does_not_matter_here(top):
    same(ask(top(), LONG), ask(top(), LONG[::-1]))


def test_a_batch_answers_as_each_request_alone(top):
    batch = ask(top(), SHORT, LONG, LONG[:1], [])
    for row, history in enumerate((SHORT, LONG, LONG[:1], [("", 0.0)])):
        same(ask(top(), history), batch, row)


def test_the_seen_is_struck_out_and_the_rest_comes_best_first(top, model):
    answer = ask(top(1000), SHORT)
    items = [item.decode() for item in answer["items"][0]]
    assert len(items) == N, "no more places than items"
    assert set(items[:-2]) == {f"i{x}" for x in range(N)} - {"i3", "i4"}
    assert items[-2:] == ["", ""], "places that no item fills"
    assert (np.diff(answer["scores"][0][:-2]) <= 0).all()
    assert answer["titles"][0][0].decode() == f"Film {items[0]}, The"
    assert answer["titles"][0][-1] == b""


def test_an_empty_request_is_answered(top):
    assert len(set(ask(top(), [("", 0.0)])["items"][0])) == 5
    none = top().recommend(items=tf.zeros([2, 0], tf.string), values=tf.zeros([2, 0]))
    assert none["items"].shape == (2, 5)


# ------------------------------------------------------------------ item rows: known users


@pytest.fixture(scope="module")
def item_rows(board):
    data_dir = board("item")[0]
    return made(data_dir, "autorec", hidden=(4,)), data_dir


def test_known_users_of_a_model_with_item_rows(item_rows, tmp_path):
    model, data_dir = item_rows
    top = signatures.make(model, data_dir, 3, tmp_path / "titles.txt")
    answer = top.recommend(user=tf.constant(["u7", "nobody", "u0"]))
    items = answer["items"].numpy()
    assert (items[1] == b"").all()
    assert (answer["titles"].numpy()[1] == b"").all()
    assert np.isfinite(answer["scores"]).all(), "JSON has no infinity"
    # The checkerboard is full: everything known, nothing left to recommend.
    assert (items[[0, 2]] == b"").all()


def test_scores_of_item_rows_are_those_of_the_rows(item_rows):
    model, data_dir = item_rows
    codes, seen, _ = signatures.encode_items(model, data_dir)
    users = tf.constant([7, 0])
    got = model.score_columns(codes, users).numpy()
    for features, _ in inputs.histories(data_dir, model.info, "all", 16, fill=True):
        due = model.score(features).numpy()
        for line, row in enumerate(features["user"].numpy()):
            if row >= 0:
                np.testing.assert_allclose(got[:, row], due[line, [7, 0]], rtol=1e-4)
    assert np.bincount(seen).tolist() == [N] * N


# ------------------------------------------------------------------ exports


@pytest.fixture
def in_process(monkeypatch):
    """Runs the check of an export here instead of in a fresh process (5 s)."""

    def run(command, **kwargs):
        error = ""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["-c", *command[3:]])
            try:
                exec(command[2], {})
            except SystemExit as end:
                error = str(end.code)
        return subprocess.CompletedProcess(command, bool(error), "", f"notice\n{error}\n")

    monkeypatch.setattr(export.subprocess, "run", run)


def test_export_in_a_fresh_process(model, data_dir, tmp_path):
    version = export.export(model, data_dir, tmp_path / "base", k=4)
    assert version == tmp_path / "base/1"
    assert [p.name for p in (tmp_path / "base").iterdir()] == ["1"]


def test_versions_count_up_from_the_highest(model, data_dir, tmp_path, in_process):
    for name in ("3", "10", "notes"):
        (tmp_path / name).mkdir()
    assert export.export(model, data_dir, tmp_path, k=4).name == "11"
    assert {p.name for p in tmp_path.iterdir()} == {"3", "10", "11", "notes"}


@pytest.mark.parametrize("wrong", ["scores", "items", "titles"])
def test_a_model_that_answers_differently_is_not_published(
    model, data_dir, tmp_path, monkeypatch, in_process, wrong
):
    right = export.replay

    def replay(top, path):
        right(top, path)
        with np.load(path) as file:
            arrays = dict(file)
        arrays[f"serving_default/out/{wrong}"][2, 1] = 99 if wrong == "scores" else b"i0i"
        np.savez(path, **arrays)

    monkeypatch.setattr(export, "replay", replay)
    (tmp_path / "old/1").mkdir(parents=True)
    told = rf"published: serving_default: {wrong} of request 2, place 1: .* from the SavedModel"
    for base in ("old", "new"):
        with pytest.raises(ValueError, match=told):
            export.export(model, data_dir, tmp_path / base, k=4)
    assert [p.name for p in (tmp_path / "old").iterdir()] == ["1"]
    assert not (tmp_path / "new").exists()


def test_an_interrupted_export_leaves_nothing(model, data_dir, tmp_path, monkeypatch):
    def interrupt(aside):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "check", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export.export(model, data_dir, tmp_path / "base", k=4)
    assert not any(tmp_path.iterdir())


def test_titles_may_be_in_any_script_and_the_data_may_go(model, data_dir, tmp_path, in_process):
    data = shutil.copytree(data_dir, tmp_path / "data")
    fields = (data / "item_fields.csv").read_text()
    (data / "item_fields.csv").write_text(fields.replace("Film", "Amélie 天使 "))
    version = export.export(model, str(data), tmp_path / "base", k=4)
    shutil.rmtree(data)
    answer = tf.saved_model.load(str(version)).signatures["serving_default"](
        items=tf.constant([["i1"]]), values=tf.constant([[5.0]])
    )
    assert answer["titles"].numpy()[0, 0].decode().startswith("Amélie 天使 ")


@pytest.fixture(scope="module", params=["history", "user"])
def exported(request, model, data_dir, item_rows, tmp_path_factory):
    """A written SavedModel of each kind of request."""
    source = (model, data_dir) if request.param == "history" else item_rows
    folder = tmp_path_factory.mktemp("exported")
    top = signatures.make(*source, 4, folder / "titles.txt")
    export.write(top, folder / "1")
    export.write_request(top, folder / "1" / export.REQUEST)
    return folder / "1"


def test_tf_serving_finds_one_endpoint_and_no_xla(exported):
    proto = SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    (graph,) = proto.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    assert set(graph.signature_def) - {"__saved_model_init_op"} == {"serving_default"}
    signature = graph.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert set(signature.outputs) == {"items", "titles", "scores"}
    for function in graph.graph_def.library.function:
        assert not function.attr["_XlaMustCompile"].b, function.signature.name


def test_the_printed_request_is_one_that_the_signature_takes(exported):
    line = export.rest_request(exported, "films")
    assert line.endswith("http://localhost:8501/v1/models/films:predict")
    body = json.loads(line.split("'")[1])
    served = tf.saved_model.load(str(exported)).signatures["serving_default"]
    specs = served.structured_input_signature[1]
    assert set(body["inputs"]) == set(specs)
    answer = served(**{k: tf.constant(v, specs[k].dtype) for k, v in body["inputs"].items()})
    assert answer["items"].shape[1] == 4
