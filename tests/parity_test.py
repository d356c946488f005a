"""Every model that is trained by gradients: two workers end with the weights of one process."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract_test import GRADIENT, REGULARIZED, trainer_fit, trial, unshuffled  # noqa: F401
from multiworker_test import free_ports

TESTS = pathlib.Path(__file__).parent
SGD = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.005, "batch_size": 20}


@pytest.mark.slow
@pytest.mark.parametrize("train", [{}, REGULARIZED])
def test_two_workers_train_like_one(trial, train, tmp_path, monkeypatch):  # noqa: F811
    # Workers draw other random numbers than one process: none here, as in `parity_worker.py`.
    monkeypatch.setattr(keras.random, "normal", lambda shape, dtype, seed: tf.zeros(shape, dtype))
    monkeypatch.setattr(keras.random, "uniform", lambda shape, dtype, seed: tf.zeros(shape, dtype))
    expected, paths = {}, {}
    for number, name in enumerate(GRADIENT):
        paths[name] = tmp_path / str(number)
        one = trial(name, run_dir=paths[name], **SGD, **train)
        rows = unshuffled(one, 20)
        trainer_fit(one, lambda epoch, rows=rows: rows)
        expected[name] = one.model.get_weights()
    train_by_two(paths.values())
    wrong = {name for name in GRADIENT if not same(paths[name] / "weights.npz", expected[name])}
    assert not wrong


def train_by_two(paths):
    """Runs `parity_worker.py` in two processes that are one cluster."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    searched = os.pathsep.join(filter(None, [str(TESTS.parent), os.environ.get("PYTHONPATH")]))
    workers = []
    for task in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": task}})
        words = [sys.executable, TESTS / "parity_worker.py", *paths]
        env = {**os.environ, "TF_CONFIG": config, "PYTHONPATH": searched}
        workers.append(subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL))
    try:
        assert [worker.wait(timeout=3000) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()


def same(path, expected):
    with np.load(path) as found:
        weights = [found[f"arr_{n}"] for n in range(len(found.files))]
    return len(weights) == len(expected) and all(
        np.allclose(a, b, rtol=2e-3, atol=2e-5) for a, b in zip(weights, expected, strict=True)
    )
