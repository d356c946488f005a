"""Exports of all models in the C++ loader of TF Serving give the same answers as in Python.

`serving_proof.c` is compiled against the libraries of the installed TensorFlow; it knows what
TF Serving knows: the folder, and which tensors the signatures name.
"""

import dataclasses
import pathlib
import shutil
import subprocess
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from contract_test import SMALL, fast
from event_scores_test import clicks, fm  # noqa: F401 (fixtures)
from random_weights import randomise
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfrec.data import fields
from tfrec.models.ensemble import Ensemble
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import export, replay, signatures
from tfrec.serving.answers import specs_of

SOURCE = pathlib.Path(__file__).parent / "serving_proof.c"
NUMBERS = (np.float32, np.float64, np.int64, np.int32, np.bool_)  # what the program reads
INVALID_ARGUMENT = 3
BAD_ROW = 3
# One of each kind of input and output graph; the other models are run by `-m slow`.
KINDS = ("deeprec", "autorec", "cdae", "sasrec", "fuxi", "chebycf", "ials", "mf")
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


class Refusal(NamedTuple):
    """The error of a request."""

    code: int
    message: str


def outcomes(program, folder, requests):
    """The program's answers to requests (signature, {input: array}).

    Returns:
        For each `{output: array}`, or its refusal. An abort is one with the signal as its code,
        below 0; a new process is asked what comes after it.

    Raises:
        ValueError: the SavedModel does not load.
        subprocess.TimeoutExpired: a request hangs.
    """
    proto = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = proto.meta_graphs
    signatures = graph.signature_def
    found = []
    while len(found) < len(requests):
        rest = requests[len(found) :]
        done = subprocess.run(
            [program, folder],
            input="\n".join(line for name, sent in rest for line in asked(signatures[name], sent)),
            capture_output=True, text=True, env={"TF_CPP_MIN_LOG_LEVEL": "3"}, timeout=120,
        )  # fmt: skip
        if done.returncode > 0:
            raise ValueError(done.stderr)
        lines = iter(done.stdout.splitlines())
        for line, (name, _) in zip(lines, rest, strict=False):
            found.append(outcome(line, lines, list(signatures[name].outputs)))
        assert next(lines, None) is None
        assert done.returncode or len(found) == len(requests)
        if done.returncode < 0:
            found.append(Refusal(done.returncode, done.stderr.strip()))
    return found


def asked(signature, request):
    """A request in the program's lines."""
    yield f"run {len(request)} {len(signature.outputs)}"
    for name, array in request.items():
        kind = tf.string if array.dtype.kind in "SUO" else tf.as_dtype(array.dtype)
        dtype = kind.as_datatype_enum
        sizes = " ".join(map(str, [dtype, array.ndim, *array.shape]))
        entries = " ".join(entry(x, dtype) for x in array.ravel())
        yield f"{tensor_of(signature.inputs[name])} {sizes} {entries}"
    for info in signature.outputs.values():
        yield tensor_of(info)


def outcome(line, lines, outputs):
    """An answer from its first line and those that follow."""
    if line.startswith("error"):
        _, code, message = line.split(" ", 2)
        return Refusal(int(code), message)
    answer = {outputs[0]: tensor(line.split())}
    return answer | {name: tensor(next(lines).split()) for name in outputs[1:]}


def tensor_of(info):
    return info.name.replace(":", " ")


def entry(x, dtype):
    if dtype == tf.bool.as_datatype_enum:
        return str(int(x))
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
    """A model with random weights on the checkerboard, and its data."""
    cls = MODELS[name]
    tf.keras.utils.set_random_seed(7)
    config = dataclasses.replace(cls.Config(), **SMALL[name][0])
    data_dir, _ = board(cls.rows(config), likes_only=True)  # leaves something to recommend
    return randomised(cls.create(DatasetInfo.load(data_dir), config), data_dir), data_dir


def randomised(model, data_dir):
    """Gives all weights different values, so that no two items have the same score."""
    if model.reads == "events":
        model.take_tables(fields.read(data_dir))
    return randomise(model, np.random.default_rng(7), 0.1, keep=True)


def expect_same(program, top, folder):
    """Exports to `folder` and compares every signature's answers.

    In the same process, every signature gets malformed requests that only the graph can refuse.

    Returns:
        Answers by signature.
    """
    export.write(top, folder)
    assert not {"Assert", "CheckNumerics"} & operations(folder), "they fail whole batches"
    good = [(name, top.example(name)) for name in top.endpoints()]
    wrong, poisoned = dict(malformed(top)), list(with_a_bad_row(top))
    empty = [(n, {key: array[:0] for key, array in request.items()}) for n, request in good]
    found = outcomes(program, folder, [*good, *wrong.values(), *poisoned, *empty])
    answers = {}
    for (name, request), answer in zip(good, found):
        due = {n: plain(x.numpy()) for n, x in top.ask(name, request).items()}
        assert set(answer) == set(due)
        assert not replay.difference(answer, due), name
        assert all(len(x) == len(next(iter(request.values()))) for x in answer.values())
        answers[name] = answer
    rest = iter(found[len(good) :])
    expect_refusals({what: next(rest) for what in wrong})
    for name, _ in poisoned:
        answer = next(rest)
        assert isinstance(answer, dict), (name, answer)
        expect_other_rows(name, answer, answers[name])
    for (name, _), answer in zip(empty, rest, strict=True):
        assert isinstance(answer, dict), (name, answer)
        assert {len(array) for array in answer.values()} == {0}, name
    return answers


def operations(folder):
    """Names of all operations of an export's functions."""
    proto = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = proto.meta_graphs
    return {node.op for function in graph.graph_def.library.function for node in function.node_def}


def expect_refusals(found):
    """Checks the outcomes of malformed requests, by their error."""
    aborts = [what for what, x in found.items() if isinstance(x, Refusal) and x.code < 0]
    print(f"{len(found)} malformed requests, {len(aborts)} aborts")
    assert not aborts
    answered = [what for what, x in found.items() if not isinstance(x, Refusal)]
    assert not answered
    assert {x.code for x in found.values()} == {INVALID_ARGUMENT}, found


def malformed(top):
    """For each signature the kind of error and the request (signature, {input: array})."""
    for name, function in top.endpoints().items():
        request, specs = top.example(name), specs_of(function)
        for what, wrong in wrong_requests(request):
            yield f"{name}: {what}", (name, wrong)
        for key, array in request.items():
            for what, wrong in wrong_arrays(array, specs[key].dtype, len(request) == 1):
                yield f"{name}: {key} {what}", (name, {**request, key: wrong})


def wrong_requests(request):
    """Requests with the same mistake in each input."""
    yield "scalars", {key: array.ravel()[:1].reshape(()) for key, array in request.items()}
    yield "one dimension more", {key: array[..., np.newaxis] for key, array in request.items()}
    # One only: the loader optimises the graph again for each choice of inputs.
    yield f"no {list(request)[-1]}", dict(list(request.items())[:-1])


def wrong_arrays(array, dtype, alone):
    """Wrong ranks, sizes and dtypes of one input."""
    yield "is a scalar", array.ravel()[:1].reshape(())
    yield "has one dimension more", array[..., np.newaxis]
    yield "has one dimension more in front", array[np.newaxis]
    yield "has two dimensions more", array[..., np.newaxis, np.newaxis]
    for other in NUMBERS:
        if other != dtype.as_numpy_dtype:
            yield f"is {other.__name__}", np.zeros(array.shape, other)
    if dtype != tf.string:
        yield "is text", np.full(array.shape, "1")
    if array.ndim == 2:
        yield "has a dimension less", array[:, 0]
    if not alone:
        yield "has fewer rows", array[:4]
        yield "has one row", array[:1]
        yield "has no rows", array[:0]
        yield "has a row more", np.concatenate([array, array[:1]])


def with_a_bad_row(top):
    """Requests whose row BAD_ROW cannot be parsed."""
    for name in top.endpoints():
        request = top.example(name)
        for number in range(len(BAD_EXAMPLES) if "inputs" in request else 4):
            bad = {
                key: array.astype(object if array.dtype.kind == "U" else array.dtype)
                for key, array in request.items()
            }
            for array in bad.values():
                array[BAD_ROW] = bad_entry(array, number)
            yield name, bad


def bad_entry(array, number):
    if array.dtype.kind == "f":
        return [np.nan, np.inf, -np.inf, 3e38][number]
    if array.dtype.kind == "i":
        return [-1, -(2**63), 2**63 - 1, 2**40][number]
    return (BAD_EXAMPLES if isinstance(array[0], bytes) else BAD_IDS)[number]


def example(**features):
    """A serialized Example of lists."""
    kinds = {float: "float_list", int: "int64_list", bytes: "bytes_list"}
    made = tf.train.Example()
    for name, entries in features.items():
        getattr(made.features.feature[name], kinds[type(entries[0])]).value.extend(entries)
    return made.SerializeToString()


HUGE = b"i1" * 10_000
BAD_IDS = ["\x00 \x7f", b"\xff\xfe\x80", HUGE, "\U0010ffff"]
BAD_EXAMPLES = [
    b"\xff" * 20,
    b"\x0a\x05",
    "no bytes of a message: ä".encode(),
    example(items=[b"i1"], values=[5.0])[:-3],
    example(items=[1, 2], user=[3], item=[4]),  # numbers for ids
    example(items=[b"i1"], values=[5], user=[7.5], item=[b"i2"]),  # an integer for a rating
    example(items=[b"i1", b"i2"], values=[float("nan"), float("inf")], user=[b"\xff\x00"]),
    example(items=[b"i1", b"i2"], values=[3e38]),
    example(items=[b"i1"], values=[5.0, 4.0, 3.0], exclude=[b""], item=[b"i2", b"i3"]),
    example(items=[HUGE, b"\xff"], user=[HUGE], item=[HUGE], candidates=[HUGE, b"\xff"]),
    HUGE,
]


def expect_other_rows(name, answer, due):
    """Checks that all rows but BAD_ROW equal `due`, and that BAD_ROW can be sent as JSON."""
    others = [{n: np.delete(x, BAD_ROW, 0) for n, x in y.items()} for y in (answer, due)]
    assert not replay.difference(*others), name
    for array in answer.values():
        assert array.dtype.kind != "f" or np.isfinite(array[BAD_ROW]).all(), name


def plain(array):
    return array.astype("S") if array.dtype == object else array


@pytest.mark.parametrize("name", fast(MODELS, {*MODELS} - {*KINDS}))
def test_every_signature_answers_as_python_does(program, board, tmp_path, name):
    model, data_dir = made(name, board)
    top = signatures.make(model, data_dir, 5, tmp_path / "titles.txt")
    answers = expect_same(program, top, tmp_path / "1")
    known = {"serving_default", "recommend", "recommend_example", "rate", "rate_example"}
    assert known <= set(answers)
    assert ("explain" in answers) == (top.kind == "history")
    assert ("recommend_at" in answers) == model.reads_times
    assert (answers["serving_default"]["items"] != answers["recommend"]["items"]).any()
    for one, other in (("items", "classes"), ("scores", "scores")):
        np.testing.assert_array_equal(answers["recommend_example"][one], answers["classify"][other])


def test_events_with_a_time_numbers_and_categories(program, clicks, fm, tmp_path):  # noqa: F811
    top = signatures.make(fm, clicks, 5, tmp_path / "titles.txt")
    assert set(top.example("score")) == {"user", "item", "site", "price", "time"}
    expect_same(program, top, tmp_path / "1")


def test_an_ensemble_of_histories_item_rows_and_events(program, board, tmp_path):
    models, folders = zip(*(made(name, board) for name in ("biases", "autorec", "mf")))
    settings = Ensemble.Config(("a", "b", "c"), folders, (0.5, 0.3, 0.2))
    model = Ensemble.of(models, settings)
    top = signatures.make(model, folders[0], 5, tmp_path / "titles.txt")
    assert top.kind == "user" and "explain" not in top.endpoints()
    expect_same(program, top, tmp_path / "1")


# ------------------------------------------------------------------ what must fail


def test_the_loader_refuses_what_python_lets_pass(program, board, tmp_path):
    """Keras 3 layers in a tf.Module: Python answers, a server could not find a variable."""
    model, data_dir = made("multdae", board)
    top = signatures.make(model, data_dir, 5, tmp_path / "titles.txt")
    wrong = tf.Module()
    wrong.model, wrong.tables = model, top.tables()
    wrong.answer = top.endpoints()["serving_default"]
    tf.saved_model.save(wrong, str(tmp_path / "1"), {"serving_default": wrong.answer})
    request = top.example("serving_default")
    sent = {k: tf.constant(v) for k, v in request.items()}
    assert tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"](**sent)
    ((_, answer),) = outcomes(program, tmp_path / "1", [("serving_default", request)])
    assert "Could not find variable" in answer
