"""Answers of the signatures, and exports."""

import base64
import functools
import json
import shlex
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfrec.data import inputs
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import (
    answers,
    checks,
    examples,
    export,
    export_metadata,
    known_users,
    replay,
    signatures,
    tables,
    warmup,
)

N = 40  # users and items of the checkerboard


def made(data_dir, name, **settings):
    """A model with random weights, whose scores differ for any two histories."""
    tf.keras.utils.set_random_seed(5)
    cls = MODELS[name]
    return cls.create(DatasetInfo.load(data_dir), cls.Config(**settings))


@pytest.fixture(scope="module")
def data_dir(board):
    return board()[0]


@pytest.fixture(scope="module")
def model(data_dir):
    return made(data_dir, "autoencoder", base="none", hidden=(8,))


@pytest.fixture(scope="module")
def top(model, data_dir, tmp_path_factory):
    """`top(k)` -> the signature's object."""
    file = tmp_path_factory.mktemp("titles") / "titles.txt"
    return functools.cache(lambda k=5: signatures.make(model, data_dir, k, file))


def ask(top, *histories):
    """Answers to histories of (item, rating) pairs, padded to one batch."""
    length = max(map(len, histories))
    padded = [[*h, *[("", 0.0)] * (length - len(h))] for h in histories]
    return sent(
        top,
        "serving_default",
        items=[[item for item, _ in h] for h in padded],
        values=[[float(value) for _, value in h] for h in padded],
    )


def sent(top, endpoint, **request):
    """The answer to a request, as arrays."""
    answer = top.ask(endpoint, request)
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
    dirty = [("not known", 5), SHORT[0], ("", 4), ("", 0), SHORT[1], ("I3", 5)]
    same(ask(top(), dirty), ask(top(), SHORT))


def test_the_order_of_a_history_does_not_matter_here(top):
    same(ask(top(), LONG), ask(top(), LONG[::-1]))


def test_a_batch_answers_as_each_request_alone(top):
    batch = ask(top(), SHORT, LONG, LONG[:1], [])
    for row, history in enumerate((SHORT, LONG, LONG[:1], [("", 0.0)])):
        same(ask(top(), history), batch, row)


def test_seen_items_are_excluded_and_the_rest_comes_best_first(top, model):
    answer = ask(top(1000), SHORT)
    items = [item.decode() for item in answer["items"][0]]
    assert len(items) == N, "no longer than the items"
    assert set(items[:-2]) == {f"i{x}" for x in range(N)} - {"i3", "i4"}
    assert items[-2:] == ["", ""], "padding where no item is left"
    assert (np.diff(answer["scores"][0][:-2]) <= 0).all()
    assert answer["titles"][0][0].decode() == f"Film {items[0]}, The"
    assert answer["titles"][0][-1] == b""


def test_an_empty_request_is_answered(top):
    assert len(set(ask(top(), [("", 0.0)])["items"][0])) == 5
    none = sent(top(), "serving_default", items=np.zeros([2, 0], str), values=np.zeros([2, 0]))
    assert none["items"].shape == (2, 5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_rating_that_is_no_number_is_the_highest(top, value):
    batch = ask(top(), [("i3", value), ("i4", 1)], LONG)
    same(ask(top(), SHORT), batch)
    same(ask(top(), LONG), batch, 1)


def test_the_first_rating_stands_for_those_missing_and_those_of_no_item_are_ignored(top):
    """A server that batches pads each input separately, so the lengths of a row may differ."""
    items = [["i3", "i4"], ["i7", "i9"]]
    for given, full in (([[1], [2]], [[1, 1], [2, 2]]), ([[1, 5, 3], [2, 5, 4]], [[1, 5], [2, 5]])):
        got = sent(top(), "serving_default", items=items, values=given)
        due = sent(top(), "serving_default", items=items, values=full)
        for name, array in due.items():
            np.testing.assert_array_equal(got[name], array)
        rows = [
            tf.train.Example(features=tf.train.Features(feature={
                "items": tf.train.Feature(bytes_list={"value": [x.encode() for x in row]}),
                "values": tf.train.Feature(float_list={"value": values}),
            })).SerializeToString() for row, values in zip(items, given)
        ]  # fmt: skip
        by_row = sent(top(), "recommend_example", inputs=rows)
        for name, array in due.items():
            np.testing.assert_array_equal(by_row[name], array)
    rated = sent(top(), "rate", items=items, values=[[], []], candidates=[["i1"]] * 2)
    full = sent(top(), "rate", items=items, values=[[5, 5]] * 2, candidates=[["i1"]] * 2)
    np.testing.assert_array_equal(rated["scores"], full["scores"])


def test_ratings_too_large_to_compute_with_harm_their_row_only(top):
    batch = ask(top(), [("i3", 3e38), ("i4", -3e38)], SHORT)
    assert np.isfinite(batch["scores"]).all()
    same(ask(top(), SHORT), batch, 1)


# ------------------------------------------------------------------ lists, Examples, candidates


def padded(*rows):
    length = max(map(len, rows))
    return [[*row, *[""] * (length - len(row))] for row in rows]


def recommended(top, exclude, allow, histories=(SHORT, LONG)):
    """Ids of the answers to histories, with lists."""
    length = max(map(len, histories))
    return sent(
        top,
        "recommend",
        items=padded(*[[item for item, _ in h] for h in histories]),
        values=[[v for _, v in h] + [0] * (length - len(h)) for h in histories],
        exclude=padded(*exclude),
        allow=padded(*allow),
    )


def names(answer):
    return [[x.decode() for x in row] for row in answer["items"]]


def test_empty_lists_change_nothing(top):
    plain, lists = ask(top(), SHORT, LONG), recommended(top(), [[], []], [[], [""]])
    for name, array in plain.items():
        np.testing.assert_array_equal(lists[name], array)


def test_exclude_removes_items_and_the_next_best_follow(top):
    best = names(ask(top(10), SHORT, LONG))
    cut = names(recommended(top(), [best[0][:3], ["not known", "", "i3"]], [[], []]))
    assert cut == [best[0][3:8], [item for item in best[1] if item != "i3"][:5]]


def test_only_what_is_allowed_is_recommended_best_first(top):
    best = names(ask(top(1000), SHORT))[0]
    some = [best[20], best[4], "i3", "not known", best[30]]
    assert names(recommended(top(), [[], []], [some, ["not known"]])) == [
        [best[4], best[20], best[30], "", ""],  # i3 is in the history
        [""] * 5,
    ]
    assert names(recommended(top(), [[best[4]], []], [some, []]))[0][:2] == [best[20], best[30]]


def test_examples_answer_like_lists_of_one_length(top):
    values = np.array([[5, 1], [5, 5]], np.float32)
    lists = {
        "items": np.array(padded(["i3", "i4"], ["i7"])),
        "exclude": np.array(padded(["i9"], [])),
        "allow": np.array(padded([], ["i1", "i2"])),
    }
    due = sent(top(), "recommend", values=values, **lists)
    for name, sent_too in (("all", {"values": values}), ("highest rating left out", {})):
        rows = examples.serialize(lists | sent_too)
        got = sent(top(), "recommend_example", inputs=rows)
        np.testing.assert_array_equal(got["items"][1], due["items"][1], name)
        same = (got["items"][0] == due["items"][0]).all()
        assert same == bool(sent_too), "a missing value is the highest"
    classes = sent(top(), "classify", inputs=rows)
    np.testing.assert_array_equal(classes["classes"], got["items"])
    unknown = sent(top(), "recommend_example", inputs=[tf.train.Example().SerializeToString()])
    same_as_nothing = ask(top(), [("", 0)])
    np.testing.assert_array_equal(unknown["items"], same_as_nothing["items"])


def test_examples_that_cannot_be_parsed_answer_like_empty_ones(top):
    def example(**lists):
        made = tf.train.Example()
        for name, (kind, entries) in lists.items():
            getattr(made.features.feature[name], kind).value.extend(entries)
        return made.SerializeToString()

    items, item = ("bytes_list", [b"i3", b"i4"]), ("bytes_list", [b"i9"])
    good = example(items=items, values=("float_list", [5, 1]), item=item)
    integers = example(items=items, values=("int64_list", [5, 1]), item=item)
    texts = example(items=items, values=("bytes_list", [b"5", b"1"]), item=item)
    highest = example(items=items, item=item)
    bad = [
        *(b"\xff\xff", good[:-2], b"no bytes of a message"),
        example(items=("int64_list", [3, 4])),
        example(items=("int64_list", [3, 4]), values=("int64_list", [5, 1])),
        example(items=items, exclude=("float_list", [1])),
    ]
    for endpoint, output in (("recommend_example", "items"), ("regress", "outputs")):
        right, empty = sent(top(), endpoint, inputs=[good, b""])[output]
        if endpoint == "regress":
            bad[-1] = example(items=items, item=("float_list", [1]))
        numbers = sent(top(), endpoint, inputs=[b"\xff", integers, texts, highest])[output]
        np.testing.assert_array_equal(numbers[1], right)
        np.testing.assert_array_equal(numbers[2], numbers[3])
        found = sent(top(), endpoint, inputs=[good, *bad, good])[output]
        for row in (found[0], found[-1]):
            np.testing.assert_array_equal(row, right)
        for row in found[1:-1]:
            np.testing.assert_array_equal(row, empty)
        np.testing.assert_array_equal(sent(top(), endpoint, inputs=bad[:1])[output], [empty])
        assert len(sent(top(), endpoint, inputs=np.zeros(0, object))[output]) == 0


def test_an_examples_values_beyond_its_items_are_ignored(top):
    rows = [{"items": [b"i3", b"i4"], "values": values} for values in ([5, 1], [5, 1, 2, 2])]
    longer = {"items": [b"i7", b"i9", b"i2", b"i5"], "values": [1, 2, 3, 4]}
    serialized = []
    for row in [*rows, longer]:
        made = tf.train.Example()
        made.features.feature["items"].bytes_list.value.extend(row["items"])
        made.features.feature["values"].float_list.value.extend(row["values"])
        serialized.append(made.SerializeToString())
    answer = sent(top(), "recommend_example", inputs=serialized)
    for array in answer.values():
        np.testing.assert_array_equal(array[0], array[1])


def test_candidates_are_rated_as_the_model_scores_them(top, model):
    ids = (top().data_dir / "items.txt").read_text().split()
    features = {
        "user": tf.constant([-1]),
        "items": tf.constant([[ids.index("i3"), ids.index("i4")]]),
        "values": tf.constant([[5.0, 1.0]]),
    }
    due = np.clip(model.score(features).numpy()[0], 1, 5)
    candidates = [["i9", "", "i3", "not known", "i9"]]
    got = sent(top(), "rate", items=[["i3", "i4"]], values=[[5, 1]], candidates=candidates)
    expected = [due[ids.index("i9")], -3.4028235e38, due[ids.index("i3")], -3.4028235e38]
    np.testing.assert_allclose(got["scores"][0], [*expected, expected[0]], rtol=1e-5)
    row = examples.serialize(
        {
            "items": np.array([["i3", "i4"]]),
            "values": np.array([[5.0, 1.0]]),
            "item": np.array(["i9"]),
        }
    )
    regressed = sent(top(), "regress", inputs=row)["outputs"]
    np.testing.assert_allclose(regressed, [due[ids.index("i9")]], rtol=1e-5)


# ------------------------------------------------------------------ models of sequences


def test_the_newest_of_a_long_history_are_read_and_all_is_excluded(board, tmp_path):
    data_dir, _ = board(likes_only=True)
    windowed = type("Windowed", (MODELS["svae"],), {"max_items": 3})
    small = MODELS["svae"].Config(embedding=4, recurrent=4, hidden=(4,), latent=2)
    model = windowed.create(DatasetInfo.load(data_dir), small)
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(np.random.default_rng(3).normal(size=weight.shape))
    top = signatures.make(model, data_dir, 100, tmp_path / "titles.txt")
    long = np.array([["i1", "i2", "x", "i5", "i3", "i5", "i4"]])
    got = sent(top, "recommend_example", inputs=examples.serialize({"items": long}))
    dense = sent(top, "serving_default", items=long, values=np.full(long.shape, 5))
    due = sent(
        top, "recommend",
        items=[["i5", "i3", "i4"]], values=[[5, 5, 5]], exclude=long[:, :2], allow=[[""]],
    )  # fmt: skip
    np.testing.assert_array_equal(got["items"], due["items"])
    np.testing.assert_array_equal(dense["items"], due["items"])
    assert {f"i{x}".encode() for x in range(N)} - set(got["items"][0]) == {
        b"i1", b"i2", b"i3", b"i4", b"i5",
    }  # fmt: skip
    rated = sent(top, "rate", items=long, values=long == "", candidates=[["i9"]])["scores"]
    (column,) = np.flatnonzero(due["items"][0] == b"i9")
    np.testing.assert_allclose(rated[0, 0], due["scores"][0, column], rtol=1e-5)
    short = sent(top, "recommend_example", inputs=examples.serialize({"items": long[:, :1]}))
    for row in (["i1"], ["i1", "", ""], ["", "i1"]):
        one = sent(top, "serving_default", items=[row], values=[[5]])
        np.testing.assert_array_equal(short["items"], one["items"])


# ------------------------------------------------------------------ item rows: known users


@pytest.fixture(scope="module")
def item_rows(board):
    data_dir = board("item")[0]
    return made(data_dir, "autorec", hidden=(4,)), data_dir


def test_known_users_of_a_model_with_item_rows(item_rows, tmp_path):
    model, data_dir = item_rows
    top = signatures.make(model, data_dir, 3, tmp_path / "titles.txt")
    answer = sent(top, "serving_default", user=["u7", "stranger", "u0"])
    items = answer["items"]
    assert (items[1] != b"").all(), "an unknown user gets popular items"
    assert np.isfinite(answer["scores"]).all(), "JSON has no infinity"
    # The checkerboard is full: all items are rated, none is left to recommend.
    assert (items[[0, 2]] == b"").all()


def test_scores_of_item_rows_are_those_of_the_rows(item_rows):
    model, data_dir = item_rows
    codes, seen, _ = known_users.encode_items(model, data_dir)
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
        assert command[1:3] == ["-m", "tfrec.serving.replay"]
        try:
            replay.compare(*command[3:])
        except ValueError as error:
            return subprocess.CompletedProcess(command, 1, "", f"notice\n{error}\n")
        return subprocess.CompletedProcess(command, 0, "", "")

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


def test_a_version_of_a_given_number_knows_its_own_path(model, data_dir, tmp_path, in_process):
    """For the pusher: its file is published by the same rename, and no path is temporary."""
    (tmp_path / "films/.writing-1/model").mkdir(parents=True)  # as kill -9 would leave it
    version = export.export(
        model, data_dir, tmp_path / "films", k=4, version=7, extras={"pushed.json": "{}"}
    )
    assert [p.name for p in (tmp_path / "films").iterdir()] == ["7"]
    assert (version / "assets.extra/pushed.json").read_text() == "{}"
    page = (version / export_metadata.README).read_text()
    assert "served as `films`" in page
    assert str(tmp_path / "films/7") in page
    assert ".writing" not in page
    for name in ("7", "-1"):
        with pytest.raises(ValueError, match=r"films/7 already exists|version=-1"):
            export.export(model, data_dir, tmp_path / "films", k=4, version=int(name))
    assert [p.name for p in (tmp_path / "films").iterdir()] == ["7"]


@pytest.mark.parametrize("wrong", ["scores", "items", "titles"])
def test_a_model_that_answers_differently_is_not_published(
    model, data_dir, tmp_path, monkeypatch, in_process, wrong
):
    right = replay.save

    def save(path, answers):
        right(path, answers)
        with np.load(path) as file:
            arrays = dict(file)
        arrays[f"serving_default/{wrong}"][2, 1] = 99 if wrong == "scores" else b"i0i"
        np.savez(path, **arrays)

    monkeypatch.setattr(replay, "save", save)
    (tmp_path / "old/1").mkdir(parents=True)
    expected = (
        rf"published: serving_default: {wrong} of request 2, column 1: .* from the SavedModel"
    )
    base = tmp_path / ("new" if wrong == "titles" else "old")
    with pytest.raises(ValueError, match=expected):
        export.export(model, data_dir, base, k=4)
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


# ------------------------------------------------------------------ the dry run


@pytest.mark.parametrize("name", ["autoencoder", "autorec", "mf"])
def test_a_dry_run_reads_no_ratings(board, tmp_path, name):
    """It needs only vocabularies and info, so it takes seconds for data of any size."""
    cls = MODELS[name]
    source, _ = board(cls.rows(cls.Config()))
    data = shutil.copytree(source, tmp_path, ignore=lambda *_: RECORDS, dirs_exist_ok=True)
    before = sorted(data.iterdir())
    model = made(data, name, **{"latent": 4} if name == "mf" else {"hidden": (4,)})
    weights = model.get_weights()
    export.dry_run(model, data)
    assert sorted(data.iterdir()) == before
    for a, b in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(a, b)


RECORDS = [f"train-0000{i}-of-00002.tfrecord" for i in range(2)]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (lambda self, features: tf.py_function(lambda x: x, [features["values"]], tf.float32),
         "EagerPyFunc is not available in TF Serving"),
        (lambda self, features: features["ratings"], "'ratings'"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_exported_is_refused_before_training(
    data_dir, monkeypatch, score, expected
):
    monkeypatch.setattr(MODELS["autoencoder"], "score", score)
    model = made(data_dir, "autoencoder", hidden=(4,))
    with pytest.raises(ValueError, match="cannot be exported, so nothing was trained") as error:
        export.dry_run(model, data_dir)
    assert expected in str(error.value)
    assert "--nodry_run" in str(error.value)


def test_a_model_that_diverged_is_not_exported(data_dir):
    model = made(data_dir, "autoencoder", hidden=(4,))
    kernel = next(weight for weight in model.weights if weight.path.endswith("kernel"))
    kernel.assign(np.where(np.eye(*kernel.shape), np.nan, kernel))
    with pytest.raises(ValueError, match=r"AutoEncoder has NaN or infinity in .*kernel.*diverged"):
        export.dry_run(model, data_dir)


def test_a_dry_run_under_replicas(mirrored, data_dir):
    with mirrored.scope():
        model = made(data_dir, "autoencoder", hidden=(4,))
    export.dry_run(model, data_dir)


# ------------------------------------------------------------------ assets


@pytest.fixture(scope="module", params=["history", "user"])
def exported(request, model, data_dir, item_rows, tmp_path_factory):
    """A written SavedModel for each kind of request, and its signatures."""
    source = (model, data_dir) if request.param == "history" else item_rows
    folder = tmp_path_factory.mktemp("exported") / "films"
    folder.mkdir()
    top = signatures.make(*source, 4, folder / "titles.txt")
    export.write(top, folder / "1")
    export.write_extras(top, folder / "1", folder / "1", {})
    return folder / "1", top


def test_the_static_check_knows_a_good_export(exported):
    path, top = exported
    proto = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (graph,) = proto.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    assert set(graph.signature_def) - {"__saved_model_init_op"} == set(top.endpoints())
    assert set(graph.signature_def["classify"].outputs) == {"classes", "scores"}
    assert set(graph.signature_def["regress"].outputs) == {"outputs"}
    for name in ("serving_default", "recommend", "recommend_example"):
        assert set(graph.signature_def[name].outputs) == {"items", "titles", "scores"}
    checks.check(path, top.endpoints())


def test_an_export_does_not_show_where_it_was_made(exported):
    path, top = exported
    text = (path / "saved_model.pb").read_bytes()
    for folder in (path.parent, top.data_dir):
        assert str(folder).encode() not in text
    assert (path / "assets/items.txt").read_bytes() == (top.data_dir / "items.txt").read_bytes()


def test_tables_of_one_path_hold_what_its_file_held(tmp_path):
    """TensorFlow's own would share a table, and the second one would be the first."""
    file, found = tmp_path / "items.txt", []
    for lines in ("a\nb\n", "b\na\n"):
        file.write_text(lines)
        found += [tables.position_table(file), tables.line_table(file)]
    assert [int(table.lookup(tf.constant("a"))) for table in found[::2]] == [0, 1]
    names = [table.lookup(tf.constant(0, tf.int64)).numpy() for table in found[1::2]]
    assert names == [b"a", b"b"]


def test_the_printed_lines_ask_the_export(exported, capsys):
    path, top = exported
    *_, python, curl = export_metadata.summary(path).splitlines()
    body = json.loads(shlex.split(curl)[2])
    assert shlex.split(curl)[3] == "http://localhost:8501/v1/models/films:predict"
    assert set(body["inputs"]) == set(answers.specs_of(top.endpoints()["serving_default"]))
    capsys.readouterr()
    exec(shlex.split(python)[2], {})
    printed = capsys.readouterr().out
    for item in sent(top, "serving_default", **body["inputs"])["items"].ravel():
        assert str(item) in printed


def test_warm_up_requests_have_one_row(exported):
    path, top = exported
    requests = warmup.read(path / warmup.FILE)
    assert set(requests) == set(top.endpoints())
    for request in requests.values():
        assert {len(tensor) for tensor in request.values()} == {1}


def test_what_an_export_shows_is_no_users_own(board, data_dir, tmp_path):
    """It depends only on the vocabulary: other ratings give the same requests."""
    tops = [
        signatures.make(made(path, name, **settings), path, 4, tmp_path / "titles.txt")
        for name, settings in (("autoencoder", {"hidden": (4,)}), ("fm", {"latent": 2}))
        for path in (data_dir, board(likes_only=True)[0])
    ]
    for one, other in (tops[:2], tops[2:]):
        for name, array in one.sampled.items():
            np.testing.assert_array_equal(array, other.sampled[name])


def test_every_request_of_the_page_is_answered(exported):
    path, top = exported
    page = (path / "README.md").read_text()
    bodies = [json.loads(shlex.split(x)[2]) for x in page.splitlines() if x.startswith("curl")]
    names = [body.get("signature_name", "serving_default") for body in bodies]
    assert names == list(top.endpoints())
    described = json.loads((path / export_metadata.SIGNATURES).read_text())
    assert described["kind"] == top.kind
    for name, body in zip(names, bodies):
        assert f"| `{name}` |" in page
        request = {
            key: [base64.b64decode(x["b64"]) if isinstance(x, dict) else x for x in column]
            for key, column in body["inputs"].items()
        }
        answer = sent(top, name, **request)
        due = described["signatures"][name]["outputs"]
        assert set(answer) == set(due)
        for key, array in answer.items():
            assert [len(array), *due[key]["shape"][1:]] == list(array.shape) or None in due[key][
                "shape"
            ][1:]
