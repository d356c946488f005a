"""Clipping: the same step on one, two and four replicas; weights excluded from weight decay."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec.config import TrainConfig
from tfrec.models import base, clipping
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.training import loop, optimizers, strategies

INFO = DatasetInfo("toy", "toy", "user", n_users=4, n_items=6, n_ratings={"train": 16})
ITEMS = np.array([[0, 1, 2, 3], [3, 1, 5, -1], [2, 5, -1, -1], [1, 4, 0, 3]], np.int32)
VALUES = np.where(ITEMS >= 0, 1 + (ITEMS * 7 + np.arange(4)[:, None]) % 5, 0).astype(np.float32)
SMALL = {
    "autoencoder": {"hidden": (3,), "dropout": 0.0, "regularization": 0.0},
    "mf": {"latent": 2, "implicit": False},
    "bertrating": {"title": "none", "embedding": 2, "tower": 2},
    "deeprec": {"hidden": (3,), "dropout": 0.0, "aug_steps": 2, "regularization": 0.0},
    "recvae": {"hidden": 3, "depth": 1, "latent": 2, "dropout": 0.0, "encoder_steps": 1},
}
CLIPPED = {"optimizer": "sgd", "learning_rate": 1.0, "momentum": 0.0, "clip_norm": 0.1}
ALL = {**CLIPPED, "weight_decay": 0.05, "average": 0.5}


def rows(name):
    """All rows in one batch."""
    if MODELS[name].reads == "events":
        user, position = np.nonzero(ITEMS >= 0)
        user, position = user[:12], position[:12]  # whole parts for four replicas
        features = {"user": user.astype(np.int32), "item": ITEMS[user, position]}
        return tf.data.Dataset.from_tensors((features, {"value": VALUES[user, position]}))
    features = {"user": np.arange(4, dtype=np.int32), "items": ITEMS, "values": VALUES}
    targets = {"target_items": ITEMS, "target_values": VALUES}
    return tf.data.Dataset.from_tensors((features, targets))


def pass_over(name, strategy, **train):
    """One epoch: the log, the length of the step, and all variables."""
    keras.utils.set_random_seed(2)
    with strategy.scope():
        model = MODELS[name].create(INFO, MODELS[name].Config(**SMALL[name]))
    model.begin_epoch(0, rows(name))
    before = [w.numpy() for w in model.trainable_weights]
    trainer = loop.Trainer(model, strategy, TrainConfig(**train))
    data = rows(name).unbatch().batch(12 if MODELS[name].reads == "events" else 4)
    log = trainer.epoch(data.with_options(by_data()), 0)
    moved = [a.numpy() - b for a, b in zip(model.trainable_weights, before, strict=True)]
    variables = [*model.trainable_weights, *model.optimizer.variables]
    there = [v.numpy().ravel() for v in variables]
    return log, np.sqrt(sum((m**2).sum() for m in moved)), np.concatenate(there)


def by_data():
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options


@pytest.fixture(autouse=True)
def _no_noise(monkeypatch):
    """Replicas draw other random numbers than one device."""
    monkeypatch.setattr(keras.random, "normal", lambda shape, dtype, seed: tf.zeros(shape, dtype))


@pytest.mark.parametrize("name", SMALL)
def test_a_clipped_pass_ends_where_it_ends_on_one_replica(name, one, mirrored):
    (log, _, there), (log_two, _, there_two) = (pass_over(name, s, **ALL) for s in (one, mirrored))
    np.testing.assert_allclose(there_two, there, rtol=1e-4, atol=1e-5)
    assert log_two == pytest.approx(log, rel=1e-5), "the log is a mean over replicas, not a sum"


def test_row_updates_end_where_they_end_on_one_replica(one, mirrored):
    by_rows = {"optimizer": "adam", "epsilon": 1e-3, "embedding_updates": "rows", "average": 0.5}
    there, there_two = (pass_over("mf", s, clip_norm=0.1, **by_rows)[2] for s in (one, mirrored))
    np.testing.assert_allclose(there_two, there, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["autoencoder", "mf"])  # gradients of matrices, and of tables
def test_one_step_is_as_long_as_the_bound(one, mirrored, name):
    for strategy in (one, mirrored):
        assert pass_over(name, strategy, **CLIPPED)[1] == pytest.approx(0.1, rel=1e-4)


def test_four_replicas_too(one):
    """In a separate process: several strategies in one process interfere."""
    command = [sys.executable, __file__]
    env = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent.parent)}
    finished = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, text=True, timeout=120, check=True
    )
    length, there = json.loads(finished.stdout.splitlines()[-1])
    assert length == pytest.approx(0.1, rel=1e-4)
    np.testing.assert_allclose(there, pass_over("autoencoder", one, **ALL)[2], rtol=1e-4, atol=1e-5)


def test_a_gradient_below_the_bound_is_left_alone(one):
    wide = {**CLIPPED, "clip_norm": 1e6}
    plain = {**CLIPPED, "clip_norm": 0.0}
    ends = [pass_over("autoencoder", one, **train)[2] for train in (wide, plain)]
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_a_saved_model_brings_its_optimizer_along(name, tmp_path):
    model = MODELS["autoencoder"].create(INFO, MODELS["autoencoder"].Config(hidden=(3,)))
    model.compile(optimizers.make(TrainConfig(optimizer=name, clip_norm=0.5), model))
    model.fit(rows("autoencoder"), shuffle=False, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert type(again.optimizer) is type(model.optimizer)
    assert again.optimizer.global_clipnorm == 0.5
    for a, b in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_contract_of_models_registers_the_optimizers():
    assert base.clipping is clipping


# ------------------------------------------------------------------ weight decay

SPARED = {
    "autoencoder": ({"hidden": (3,)}, {"bias"}),
    "sparsefc": ({"hidden": (3,)}, {"b"}),
    "mf": ({"latent": 2}, {"user_bias", "item_bias"}),
    "fm": ({"latent": 2}, {"w0"}),
    "deepfm": ({"latent": 2, "task": "rating", "hidden": (3,)}, {"w0", "bias"}),
    "sasrec": ({"width": 4}, {"bias", "gamma", "beta"}),
    "bert4rec": ({"width": 4}, {"bias", "gamma", "beta"}),
    "hstu": ({"width": 4}, {"bias", "gamma", "beta", "distance"}),
    "svae": ({}, {"bias"}),
}


@pytest.mark.parametrize(
    ("name", "replicas"), [*((name, "one") for name in SPARED), ("hstu", "mirrored")]
)
def test_weight_decay_spares_biases_and_norms_and_nothing_else(name, replicas, request):
    settings, spared = SPARED[name]
    rows_by = "item" if name == "sparsefc" else "user"
    info = DatasetInfo("toy", "toy", rows_by, n_users=4, n_items=6, n_ratings={"train": 16})
    strategy = request.getfixturevalue(replicas)
    with strategy.scope():
        model = MODELS[name].create(info, MODELS[name].Config(**settings))
        config = TrainConfig(optimizer="sgd", learning_rate=0.5, momentum=0.0, weight_decay=0.1)
        optimizer = optimizers.make(config, model)
        optimizer.build(model.trainable_variables)
    weights = model.trainable_variables
    for weight in weights:
        weight.assign(np.ones(weight.shape))

    @tf.function
    def step():
        strategy.run(lambda: optimizer.apply([tf.zeros(w.shape) for w in weights], weights))

    step()
    left = {w.path: float(np.mean(w.numpy())) for w in weights}
    assert {w.name for w in weights if left[w.path] == 1} == spared
    assert {round(x, 6) for x in left.values()} == {1.0, 0.95}


if __name__ == "__main__":
    keras.random.normal = lambda shape, dtype, seed: tf.zeros(shape, dtype)
    four = strategies.make("mirrored", 4)
    ends = [pass_over("autoencoder", four, **train) for train in (CLIPPED, ALL)]
    print(json.dumps([float(ends[0][1]), ends[1][2].tolist()]))
