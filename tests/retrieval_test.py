"""The index of TensorFlow Recommenders, in a process of its own."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from proof_test import INVALID_ARGUMENT, outcomes
from proof_test import program as program_fixture
from proof_test import pytestmark as needs_gcc
from random_weights import randomise

from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import signatures, tfrs_index

program = program_fixture
is_installed = importlib.util.find_spec("tensorflow_recommenders") is not None
needs_tfrs = pytest.mark.skipif(not is_installed, reason="the extra [tfrs] is not installed")

# Exports an MF of random weights, as `tfrec.export --index=tfrs` does, and one without factors.
EXPORT = """
import sys, json, numpy as np
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import export, tfrs_index
data_dir, base, weights = sys.argv[1:]
info = DatasetInfo.load(data_dir)
model = MODELS["mf"].create(info, MODELS["mf"].Config(latent=4))
model.set_weights([*np.load(weights).values()])
print(export.export(model, data_dir, base, 30, tfrs_index.make))
try:
    tfrs_index.make(MODELS["fm"].create(info), data_dir, 5, None)
except ValueError as error:
    print(error)
"""


def made(name, data_dir, **settings):
    cls = MODELS[name]
    model = cls.create(DatasetInfo.load(data_dir), cls.Config(**settings))
    return randomise(model, np.random.default_rng(4), 0.5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mf", {"latent": 4}),
        ("mf", {"latent": 4, "loss": "bpr", "implicit": True}),
        ("bertrating", {"title": "none", "embedding": 4, "tower": 6}),
    ],
)
def test_the_product_of_the_factors_is_the_score(board, name, settings):
    model = made(name, board()[0], **settings)
    users = tf.constant([3, -1, 0])
    p, q = model.query_vectors({"user": users}), model.candidate_vectors(tf.range(40))
    np.testing.assert_allclose(p @ tf.transpose(q), model.score({"user": users}), atol=1e-4)


def test_without_the_package_or_the_switch_the_error_says_what_to_do(monkeypatch):
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    cures = {None: r"pip install 'tfrec\[tfrs\]'", object(): "TF_USE_LEGACY_KERAS=1 in the env"}
    for found, cure in cures.items():
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, found=found: found)
        with pytest.raises(ValueError, match=cure):
            tfrs_index.make(None, None, 5, None)


@needs_tfrs
@needs_gcc
def test_an_index_finds_what_exact_scoring_finds(program, board, tmp_path):
    data_dir, _ = board(likes_only=True)
    model = made("mf", data_dir, latent=4)
    np.savez(tmp_path / "weights.npz", *model.get_weights())
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, data_dir, tmp_path / "base", tmp_path / "weights.npz"],
        capture_output=True, text=True, env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
    )  # fmt: skip
    assert not done.returncode, done.stderr
    version, message = done.stdout.splitlines()[-2:]
    assert "FM has no vectors of users and items" in message
    users = np.array(["u7", "stranger", "u0", "u31"])
    top = signatures.make(model, data_dir, 30, tmp_path / "titles.txt")
    due = top.ask("serving_default", {"user": users})
    asked = [("serving_default", {"user": array}) for array in (users, users[:, None])]
    got, refused = outcomes(program, pathlib.Path(version), asked)
    assert refused.code == INVALID_ARGUMENT
    np.testing.assert_array_equal(got["items"], due["items"].numpy().astype("S"))
    assert (got["items"][0] == b"").sum() == 10, "20 of 40 items are left"
    np.testing.assert_allclose(got["scores"], due["scores"], rtol=1e-4)
    about = json.loads((pathlib.Path(version) / "assets.extra/signatures.json").read_text())
    assert set(about["signatures"]) == set(top.endpoints())
