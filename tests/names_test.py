"""Names without TensorFlow: those of the registries; mistyped ones are refused before it."""

import dataclasses
import re

import pytest
from commands_test import run, tfrec  # noqa: F401  (fixtures)

from tfrec import names
from tfrec.datasets.registry import DATASETS
from tfrec.models.registry import MODELS


def test_the_names_are_those_of_the_registries():
    assert names.models() == list(MODELS)
    assert names.data_sets() == list(DATASETS)
    for name, cls in MODELS.items():
        fields = {field.name for field in dataclasses.fields(cls.Config)}
        assert set(names.settings_of(name)) == fields, name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--model=sasrek"], "did you mean 'sasrec'"),
        (["train", "--preset=sasrec-papr"], "did you mean 'sasrec-paper'"),
        (["train", "--dataset=ml1m"], "did you mean 'ml-1m'"),
        (["train", "--model=sasrec", "--set", "wiidth=8"], "did you mean 'width'"),
        (["train", "--preset=sasrec-paper", "--set", "wiidth=8"], "did you mean 'width'"),
        (["train", "--train", "epoch=1"], "did you mean 'epochs'"),
        (["train", "--train", "epochs=0"], "epochs=0 must be at least 1"),
        (["train", "--data", "tets=0.2"], "did you mean 'test'"),
        (["train", "--split=randon"], "did you mean 'random'"),
        (["train", "--epochs=3"], "unknown flag --epochs; write --train epochs=3"),
        (["train", "--attention_dropout", "0.1"], "write --set attention_dropout=VALUE"),
        (["prepare", "--test=0.2"], "write --data test=0.2"),
        (["prepare", "--epochs=2"], "unknown flag --epochs; known: "),
        (["prepare", "--data_dir=d", "--dataset=ml1m"], "did you mean 'ml-1m'"),
        (["compare", "--models=easy"], "--models='easy' is unknown; did you mean 'ease'"),
        (["compare", "--models=ease", "--dataset=ml1m"], "did you mean 'ml-1m'"),
    ],
    ids=lambda x: "_".join(x) if isinstance(x, list) else "",
)
def test_a_mistyped_name_is_refused_before_tensorflow_is_imported(
    tfrec,  # noqa: F811
    monkeypatch,
    words,
    expected,
):
    monkeypatch.setattr("tfrec.cli.start_tensorflow", None)  # would fail
    done = tfrec(*words)
    assert (done.status, done.out) == (1, "")
    assert re.match("error: .*" + re.escape(expected), done.err), done.err


def test_help_lists_models_data_sets_and_settings(tfrec, monkeypatch):  # noqa: F811
    monkeypatch.setattr("tfrec.cli.start_tensorflow", None)
    text = " ".join(tfrec("train", "--help").out.partition("Known names:")[2].split())
    for known in (*MODELS, *DATASETS, "--train: epochs, batch_size", "--data: dataset"):
        assert known in text
    assert "Known names" not in tfrec("export", "--help").out


def test_a_rating_model_is_refused_before_data_without_ratings_is_read(
    tfrec,  # noqa: F811
    monkeypatch,
    tmp_path,
):
    monkeypatch.setattr("tfrec.datasets.registry.load", None)  # would fail
    done = tfrec("train", "--model=deeprec", "--dataset=santander", f"--run_dir={tmp_path / 'r'}")
    assert done.status == 1
    assert "DeepRec predicts ratings, but all of santander are 1" in done.err
