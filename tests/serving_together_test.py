"""tfrec's exports, the local server and the client together: every kind of signature."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from servers import eventually, serving

from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import export, signatures, warmup
from tfrec.serving.client import Client

KINDS = {  # model, its settings, rows of the data, likes only
    "history": ("autoencoder", {"hidden": (8,)}, "user", False),
    "events": ("mf", {"latent": 4}, "user", False),
}


@pytest.fixture(scope="module")
def server(board, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tops = {}
    for name, (model, settings, rows, likes) in KINDS.items():
        tf.keras.utils.set_random_seed(5)
        data_dir, cls = board(rows, likes)[0], MODELS[model]
        made = cls.create(DatasetInfo.load(data_dir), cls.Config(**settings))
        tops[name] = signatures.make(made, data_dir, 5, folder / f"{name}.txt")
        export.write(tops[name], folder / name / "1")
        export.write_extras(tops[name], folder / name / "1", folder / name / "1", {})
    listed = "".join(
        f"config {{name: '{n}' base_path: '{folder / n}' model_platform: 'tensorflow'}}"
        for n in KINDS
    )
    (folder / "models.config").write_text(f"model_config_list {{{listed}}}")
    batching = folder / "batching.config"
    batching.write_text("max_batch_size {value: 64} pad_variable_length_inputs: true")
    flags = {"enable_batching": True, "batching_parameters_file": str(batching)}
    with serving(model_config_file=str(folder / "models.config"), **flags) as running:
        running.tops, running.folder = tops, folder
        yield running


@pytest.mark.parametrize("name", KINDS)
def test_every_signature_answers_as_in_python(server, name):
    """The warm-up requests were replayed at the start; here the answers are compared."""
    top = server.tops[name]
    with Client(server.target, name) as client:
        assert set(client.signatures()) == set(top.endpoints())
        for signature in top.endpoints():
            sent = top.example(signature)
            due = {k: v.numpy() for k, v in top.ask(signature, sent).items()}
            got = client.predict(sent, signature)
            assert set(got) == set(due)
            for output, array in due.items():
                if array.dtype == object:
                    np.testing.assert_array_equal(got[output], array)
                else:
                    np.testing.assert_allclose(got[output], array, rtol=1e-4, atol=1e-4)


def test_the_client_asks_for_histories(server):
    with Client(server.target, "history") as client:
        rows = client.recommend([{"i3": 5.0, "i4": 5.0}, ["i7"]], exclude=[["i9"], []])
        assert [len(row) for row in rows] == [5, 5]
        assert not {"i3", "i4", "i9"} & {entry.item for entry in rows[0]}
        (row,) = client.recommend([["i3"]], allow=[["i5", "i6"]])
        assert {entry.item for entry in row} == {"i5", "i6"}
        (ratings,) = client.rate([["i3"]], [[entry.item for entry in row]])
        np.testing.assert_allclose(ratings, [entry.score for entry in row], rtol=1e-3)


def test_the_client_asks_for_users(server):
    with Client(server.target, "events") as client:
        plain, unknown = client.recommend_users(["u7", "stranger"])
        assert plain == [], "the checkerboard is full: all is seen"
        assert len(unknown) == 5, "what is popular"
        (ratings,) = client.rate(["u7"], [["i3", "i4"]])
        assert len(ratings) == 2


def test_examples_over_rest(server):
    example = {"items": ["i3", "i4"], "values": [5.0, 1.0], "exclude": ["i9"]}
    body = json.dumps({"signature_name": "classify", "examples": [example, {"items": ["i1"]}]})
    status, text = server.http("/v1/models/history:classify", body)
    assert status == 200
    (first, second) = json.loads(text)["results"]
    with Client(server.target, "history") as client:
        (due,) = client.recommend([{"i3": 5.0, "i4": 1.0}], exclude=[["i9"]])
    assert [label for label, _ in first] == [entry.item for entry in due]
    assert len(second) == 5
    body = json.dumps({"signature_name": "regress", "examples": [{**example, "item": ["i5"]}]})
    status, text = server.http("/v1/models/history:regress", body)
    assert status == 200
    assert len(json.loads(text)["results"]) == 1


def test_a_version_loads_where_a_batch_has_one_row(server, tmp_path):
    """Warm-up requests go through the batches; one of more rows fails the load."""
    batching = tmp_path / "batching.config"
    batching.write_text("max_batch_size {value: 1}")
    flags = {"enable_batching": True, "batching_parameters_file": str(batching)}
    base = shutil.copytree(server.folder / "history", tmp_path / "history")
    started = serving(model_name="history", model_base_path=str(base), **flags)
    with started as running, Client(running.target, "history") as client:
        assert len(client.recommend([["i3"]])[0]) == 5
        top, name = server.tops["history"], "serving_default"
        shutil.copytree(base / "1", base / "aside")
        warmup.write(base / "aside" / warmup.FILE, "history", {name: top.example(name)})
        (base / "aside").rename(base / "2")
        eventually(lambda: "Task size 9 is larger" in running.http("/v1/models/history")[1])
        assert len(client.recommend([["i3"]])[0]) == 5


def test_a_bad_row_does_not_fail_what_shares_its_batch(server):
    """Eight at a time, over and over."""
    good = {"items": np.array([["i3", "i4"]]), "values": np.array([[5.0, 1.0]], np.float32)}
    nan = {"items": np.array([["i3", "i4"]]), "values": np.array([[np.nan, 1.0]], np.float32)}
    uneven = {"items": np.array([["i3"]]), "values": np.array([[5.0, 1.0, 3.0]], np.float32)}
    example = server.tops["history"].example("recommend_example")["inputs"][:1]
    asked = [
        ("serving_default", [good, nan, good, uneven]),
        ("recommend_example", [{"inputs": example}, {"inputs": np.array([b"\xff"], object)}]),
    ]
    with Client(server.target, "history") as client, ThreadPoolExecutor(8) as pool:
        for signature, requests in asked:
            sent = [(request, signature) for request in requests]
            alone = [client.predict(*one)["items"] for one in sent]
            found = pool.map(lambda one: client.predict(*one)["items"], sent * 20)
            for number, items in enumerate(found):
                np.testing.assert_array_equal(items, alone[number % len(alone)])
