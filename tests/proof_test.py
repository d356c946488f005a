"""Every model's export, run by the C++ loader of TF Serving: same answers as Python's.

`serving_proof.c` is compiled against the libraries of the installed TensorFlow; it knows what
TF Serving knows: the folder, and which tensors the signatures name.
"""

import dataclasses
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from contract_test import SMALL
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfrec.data import fields
from tfrec.models.registry import MODELS
from tfrec.models.svae import SVAE
from tfrec.schema import DatasetInfo
from tfrec.serving import export, replay, signatures

SOURCE = pathlib.Path(__file__).parent / "serving_proof.c"
pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="there is no gcc to compile with")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The compiled program."""
    path = tmp_path_factory.mktemp("proof") / "proof"
    wheel = pathlib.Path(tf.__file__).parent
    gold = ["-fuse-ld=gold"] if shutil.which("ld.gold") else []  # a fifth of the time
    subprocess.run(
        [
            "gcc", "-Wall", "-Werror", "-o", path, SOURCE, f"-I{wheel / 'include'}", f"-L{wheel}",
            "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{wheel}",
            *gold,
        ],
        check=True,
    )  # fmt: skip
    return path


def ask(program, folder, requests):
    """Answers of the program to `{signature: {input: array}}`: `{signature: {output: array}}`.

    Raises:
        ValueError: the program failed; its message.
    """
    proto = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = proto.meta_graphs
    lines, names = [], []
    for endpoint, request in requests.items():
        signature = graph.signature_def[endpoint]
        assert set(request) == set(signature.inputs)
        lines.append(f"run {len(request)} {len(signature.outputs)}")
        for name, array in request.items():
            info = signature.inputs[name]
            sizes = " ".join(map(str, [info.dtype, array.ndim, *array.shape]))
            entries = " ".join(entry(x, info.dtype) for x in array.ravel())
            lines.append(f"{place(info)} {sizes} {entries}")
        for name, info in signature.outputs.items():
            lines.append(place(info))
            names.append((endpoint, name))
    done = subprocess.run(
        [program, folder], input="\n".join(lines), capture_output=True, text=True,
        env={"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    if done.returncode:
        raise ValueError(done.stderr)
    answers = {endpoint: {} for endpoint in requests}
    for (endpoint, name), line in zip(names, done.stdout.splitlines(), strict=True):
        answers[endpoint][name] = tensor(line.split())
    return answers


def place(info):
    return info.name.replace(":", " ")


def entry(x, dtype):
    if dtype != tf.string.as_datatype_enum:
        return repr(x.item())
    return "x" + (x if isinstance(x, bytes) else str(x).encode()).hex()


def tensor(words):
    """An array from a line of the program."""
    dtype, rank = map(int, words[:2])
    entries = words[2 + rank :]
    if dtype == tf.string.as_datatype_enum:
        entries = [bytes.fromhex(x[1:]) for x in entries]
    else:
        entries = np.array(entries, np.float32)
    return np.reshape(np.array(entries), [int(x) for x in words[2 : 2 + rank]])


def made(name, board):
    """A model of random weights, on the checkerboard; and its data."""
    cls = MODELS[name]
    config = dataclasses.replace(cls.Config(), **SMALL[name][0])
    data_dir, _ = board(cls.rows(config), likes_only=True)  # leaves something to recommend
    return randomised(cls.create(DatasetInfo.load(data_dir), config), data_dir), data_dir


def randomised(model, data_dir):
    """Gives no weight the same value twice, so that no two items score alike."""
    if model.reads == "events":
        model.take_tables(fields.read(data_dir))
    rng = np.random.default_rng(7)
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(weight + rng.normal(scale=0.1, size=weight.shape))
    return model


def expect_same(program, top, folder):
    """Exports to `folder` and compares every signature's answers."""
    export.write(top, folder)
    requests = {name: top.example(name) for name in top.endpoints()}
    answers = ask(program, folder, requests)
    for name, request in requests.items():
        due = {n: plain(x.numpy()) for n, x in top.ask(name, request).items()}
        assert set(answers[name]) == set(due)
        assert not replay.difference(answers[name], due), name
        assert all(len(x) == len(next(iter(request.values()))) for x in answers[name].values())
    return answers


def plain(array):
    return array.astype("S") if array.dtype == object else array


@pytest.mark.parametrize("name", MODELS)
def test_every_signature_answers_as_python_does(program, board, tmp_path, name):
    model, data_dir = made(name, board)
    top = signatures.make(model, data_dir, 5, tmp_path / "titles.txt")
    answers = expect_same(program, top, tmp_path / "1")
    assert {"serving_default", "recommend", "recommend_example", "rate"} <= set(answers)
    assert (answers["serving_default"]["items"] != answers["recommend"]["items"]).any()
    for one, other in (("items", "classes"), ("scores", "scores")):
        np.testing.assert_array_equal(answers["recommend_example"][one], answers["classify"][other])


class Windowed(SVAE):
    """A model of sequences of a fixed length."""

    max_items = 6


def test_a_model_of_sequences_of_fixed_length(program, board, tmp_path):
    data_dir, _ = board(likes_only=True)
    config = dataclasses.replace(SVAE.Config(), **SMALL["svae"][0])
    model = randomised(Windowed.create(DatasetInfo.load(data_dir), config), data_dir)
    top = signatures.make(model, data_dir, 5, tmp_path / "titles.txt")
    for name in ("serving_default", "recommend", "rate"):
        assert top.example(name)["items"].shape == (9, 6)
    expect_same(program, top, tmp_path / "1")


# ------------------------------------------------------------------ what must fail


def test_the_loader_refuses_what_python_lets_pass(program, board, tmp_path):
    """Keras 3 layers in a tf.Module: Python answers, a server could not find a variable."""
    model, data_dir = made("autoencoder", board)
    top = signatures.make(model, data_dir, 5, tmp_path / "titles.txt")
    wrong = tf.Module()
    wrong.model, wrong.tables = model, top.tables()
    wrong.answer = top.endpoints()["serving_default"]
    tf.saved_model.save(wrong, str(tmp_path / "1"), {"serving_default": wrong.answer})
    request = {"serving_default": top.example("serving_default")}
    sent = {k: tf.constant(v) for k, v in request["serving_default"].items()}
    assert tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"](**sent)
    with pytest.raises(ValueError, match="Could not find variable"):
        ask(program, tmp_path / "1", request)
