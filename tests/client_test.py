"""The client without TensorFlow, against the local server."""

import asyncio
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2
from servers import export_toy, serving
from tensorflow_serving.apis import predict_pb2

from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import arrays, descriptor_set, export, messages, signatures
from tfrec.serving.client import AsyncClient, Client, Recommendation, RequestError


class Lists(tf.Module):
    """Answers that show the request: small versions of the kinds of exports."""

    def answer(self, items, scores):
        return {"items": items, "titles": tf.strings.join(["Film ", items]), "scores": scores}

    def recommend(self, items, values):
        return self.answer(items, values)

    def full(self, items, values, exclude, allow):
        joined = tf.concat([items, exclude, allow], axis=1)
        ends = tf.zeros(tf.shape(tf.concat([exclude, allow], axis=1)))
        return self.answer(joined, tf.concat([values, ends], axis=1))

    def rate(self, items, values, candidates):
        total = tf.reduce_sum(values, axis=1, keepdims=True)
        return {"scores": total + tf.cast(tf.strings.length(candidates), tf.float32)}

    def user(self, user):
        return self.answer(user[:, None], tf.fill([tf.shape(user)[0], 1], 1.0))


def export_lists(base, users=False):
    module, text = Lists(), tf.string
    archive = keras.export.ExportArchive()
    archive.track(module)
    history = [
        tf.TensorSpec([None, None], text, "items"),
        tf.TensorSpec([None, None], tf.float32, "values"),
    ]
    two = [tf.TensorSpec([None, None], text, name) for name in ("exclude", "allow")]
    candidates = tf.TensorSpec([None, None], text, "candidates")
    if users:
        archive.add_endpoint("serving_default", module.user, [tf.TensorSpec([None], text, "user")])
    else:
        archive.add_endpoint("serving_default", module.recommend, history)
        archive.add_endpoint("recommend", module.full, [*history, *two])
        archive.add_endpoint("rate", module.rate, [*history, candidates])
    archive.write_out(base / "1", verbose=False)


@pytest.fixture(scope="module")
def target(tmp_path_factory, board):
    """One server of all models here: toy, lists, users, films."""
    folder = tmp_path_factory.mktemp("models")
    export_toy(folder / "toy", 1)
    export_lists(folder / "lists")
    export_lists(folder / "users", users=True)
    tf.keras.utils.set_random_seed(5)
    data_dir = board()[0]
    cls = MODELS["autoencoder"]
    model = cls.create(DatasetInfo.load(data_dir), cls.Config(hidden=(8,)))
    top = signatures.make(model, data_dir, 5, folder / "titles.txt")
    export.write(top, folder / "films/1")
    names = ("toy", "lists", "users", "films")
    listed = "".join(
        f"config {{name: '{n}' base_path: '{folder / n}' model_platform: 'tensorflow'}}"
        for n in names
    )
    (folder / "models.config").write_text(f"model_config_list {{{listed}}}")
    with serving(model_config_file=str(folder / "models.config"), enable_batching=True) as server:
        server.top = top
        yield server


@pytest.fixture
def connect(target):
    """`connect(model, **options)`: a client."""
    made = []

    def make(model, **options):
        made.append(Client(target.target, model, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


# ------------------------------------------------------------------ recommendations


def test_histories_in_any_form(connect):
    films = connect("films")
    forms = [{"i3": 5.0, "i4": 1.0}, [("i3", 5), ("i4", 1)], iter([("i3", 5.0), ("i4", 1.0)])]
    first, *others = films.recommend(forms)
    assert others == [first, first]
    assert len(first) == 5
    assert isinstance(first[0], Recommendation)
    assert first[0].title == f"Film {first[0].item}, The"
    scores = [entry.score for entry in first]
    assert scores == sorted(scores, reverse=True)
    assert not {"i3", "i4"} & {entry.item for entry in first}


def test_the_answer_is_the_models_own(connect, target):
    asked = {"items": tf.constant([["i3", "i4"]]), "values": tf.constant([[5.0, 1.0]])}
    due = target.top.ask("serving_default", asked)
    (got,) = connect("films").recommend([{"i3": 5, "i4": 1}])
    assert [entry.item.encode() for entry in got] == due["items"].numpy()[0].tolist()
    np.testing.assert_allclose([entry.score for entry in got], due["scores"][0], rtol=1e-5)


def test_ids_alone_get_the_clients_rating(connect):
    lists = connect("lists", rating=4.0)
    assert lists.recommend([["a", "b"]]) == [
        [Recommendation("a", "Film a", 4.0), Recommendation("b", "Film b", 4.0)]
    ]


def test_rows_of_several_lengths_and_requests_of_several_rows(connect):
    lists = connect("lists", batch_size=2)
    histories = [[f"x{n}" for n in range(row)] for row in (3, 0, 1, 5, 2)]
    found = lists.recommend(histories)
    assert [[entry.item for entry in row] for row in found] == histories
    assert lists.recommend([]) == []


def test_k_cuts_the_answer(connect):
    assert [len(row) for row in connect("lists").recommend([["a", "b", "c"], ["a"]], k=2)] == [2, 1]


def test_exclude_and_allow_ask_the_full_signature(connect):
    found = connect("lists").recommend([["a"], ["b"]], exclude=[["x", "y"], []])
    assert [[entry.item for entry in row] for row in found] == [["a", "x", "y"], ["b"]]
    found = connect("lists").recommend([["a"], ["b"]], allow=[[], ["z"]])
    assert [[entry.item for entry in row] for row in found] == [["a"], ["b", "z"]]


def test_known_users(connect):
    found = connect("users").recommend_users(["7", "12"])
    assert [[p.item for p in row] for row in found] == [["7"], ["12"]]


def test_ratings_of_candidates(connect):
    found = connect("lists").rate([{"a": 2.0}, {"a": 1.0, "b": 3.0}], [["x", "xxx"], ["xx"]])
    assert found == [[3.0, 5.0], [6.0]]


def test_what_does_not_fit_the_model(connect):
    with pytest.raises(ValueError, match="takes user, not items, values: models take histories"):
        connect("users").recommend([["a"]])
    with pytest.raises(RequestError, match='key "recommend" not found. known: serving_default'):
        connect("users").recommend_users(["7"], exclude=[["x"]])
    with pytest.raises(ValueError, match="'abc' is one string: a history is a list of ids"):
        connect("lists").recommend(["abc"])
    with pytest.raises(ValueError, match="item 1: raw ids are strings"):
        connect("lists").recommend([{1: 5.0}])


# ------------------------------------------------------------------ plain calls


def test_predict_takes_lists_and_converts_them(connect):
    toy = connect("toy")
    assert toy.predict({"n": [1, 2]}, "count")["next"].tolist() == [2, 3]
    found = toy.predict({"x": [[1, 2]]}, "half", outputs=["y"])
    assert {k: v.tolist() for k, v in found.items()} == {"y": [[1.5, 2.0]]}


def test_messages_longer_than_grpcs_own_limit(tmp_path):
    """5.6 MB in each direction; without batching, which limits batches to 1,000 rows."""
    export_toy(tmp_path, 1)
    with (
        serving(model_name="toy", model_base_path=str(tmp_path)) as server,
        Client(server.target, "toy", timeout=60) as toy,
    ):
        x = np.arange(1_400_000, dtype=np.float32).reshape(-1, 2)
        found = toy.predict({"x": x}, "half", outputs=["y"])["y"]
        np.testing.assert_array_equal(found, x / 2 + 1)


def test_errors_carry_code_and_text(connect):
    with pytest.raises(RequestError) as error:
        connect("stranger").status()
    assert error.value.code == "NOT_FOUND"
    assert error.value.message == "Could not find any versions of model stranger"
    with pytest.raises(RequestError, match=r"Servable not found for request: Specific\(toy, 9\)"):
        connect("toy", version=9).predict({"n": [1]}, "count")
    with pytest.raises(RequestError, match="Unrecognized servable version label: x"):
        connect("toy", label="x").predict({"n": [1]}, "count")


def test_status(connect):
    assert connect("toy", version=1).status() == {1: "AVAILABLE"}


def test_the_deadline_ends_a_call(connect):
    toy = connect("toy")
    start = time.monotonic()
    with pytest.raises(RequestError) as error:
        toy.predict({"steps": [100_000]}, "slow", timeout=0.3)
    assert error.value.code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - start < 10


# ------------------------------------------------------------------ asyncio


def test_the_asynchronous_client_gives_the_same_answers(connect, target):
    """Every method, several calls at once, and errors."""
    films, lists, users = connect("films"), connect("lists", batch_size=2), connect("users")
    histories = [["a"], [], ["b", "c"], [("d", 2.0)], {"e": 1.0}]
    shut = [["x"], [], [], [], ["y", "z"]]

    async def ask():
        async with (
            AsyncClient(target.target, "films") as a_films,
            AsyncClient(target.target, "lists", batch_size=2) as a_lists,
            AsyncClient(target.target, "users") as a_users,
        ):
            found = await asyncio.gather(
                a_films.recommend([{"i3": 5.0}], k=3),
                a_lists.recommend(histories, exclude=shut),
                a_lists.rate(histories, [["x"]] * 5),
                a_users.recommend_users(["7", "12"]),
                a_films.status(),
            )
            with pytest.raises(ValueError, match="takes user, not items, values"):
                await a_users.recommend([["a"]])
            with pytest.raises(RequestError, match='key "recommend" not found'):
                await a_users.recommend_users(["7"], exclude=[["x"]])
            with pytest.raises(RequestError) as error:
                await a_lists.predict({"items": [["a"]]})
            assert error.value.code == "INVALID_ARGUMENT"
            return found

    assert asyncio.run(ask()) == [
        films.recommend([{"i3": 5.0}], k=3),
        lists.recommend(histories, exclude=shut),
        lists.rate(histories, [["x"]] * 5),
        users.recommend_users(["7", "12"]),
        films.status(),
    ]


# ------------------------------------------------------------------ messages


def test_the_stored_messages_are_those_of_the_installed_package():
    """`python -m tfrec.serving.descriptor_set` writes them again."""
    stored = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set.PATH.read_bytes())
    due = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set.collect())
    assert [file.name for file in stored.file] == [file.name for file in due.file]
    for ours, theirs in zip(stored.file, due.file):
        assert ours == theirs, f"{ours.name}: python -m tfrec.serving.descriptor_set"


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.5, -2]], np.float32), np.array([3, 2**62]), np.array(7, np.int32),
        np.array([True, False]), np.array([], np.float32), np.zeros([2, 0, 3]),
        np.array([[b"a", "Ä天".encode()], [b"", b"\xff"]], object), np.array([5], np.uint8),
    ],
    ids=lambda a: f"{a.dtype}{list(a.shape)}",
)  # fmt: skip
@pytest.mark.parametrize("readable", [False, True])
def test_arrays_on_the_wire_are_tensorflows(array, readable):
    ours = messages.TensorProto()
    arrays.fill(ours, array, None, readable)
    theirs = predict_pb2.PredictRequest().inputs["x"]
    theirs.ParseFromString(ours.SerializeToString())
    found = tf.make_ndarray(theirs)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    back = messages.TensorProto.FromString(tf.make_tensor_proto(array).SerializeToString())
    np.testing.assert_array_equal(arrays.to_array(back), array)


def test_padding():
    text = arrays.Spec(np.dtype(object), (None, None))
    assert arrays.pad([["a", "b"], []], text).tolist() == [["", "a", "b"], ["", "", ""]]
    numbers = arrays.Spec(np.dtype(np.float32), (None, None))
    assert arrays.pad([[1.0, 2.0], [4.0]], numbers).tolist() == [[0, 1, 2], [0, 4, 0]]


LIGHT = """
import sys
import tfrec.serving.client, tfrec.serving.request_text, tfrec.request
heavy = {"tensorflow", "keras", "pandas", "aiohttp", "scipy", "tensorflow_serving"}
sys.exit(", ".join(heavy & set(sys.modules)) or 0)
"""


def test_the_client_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
