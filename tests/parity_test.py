"""Every model that is trained by gradients: two workers end with the weights of one process."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from contract_test import GRADIENT, REGULARIZED, SGD, trained_in_order, trial, without_noise  # noqa: F401
from multiworker_test import cluster, free_ports

TESTS = pathlib.Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("train", [{}, REGULARIZED])
def test_two_workers_train_like_one(trial, train, tmp_path, monkeypatch):  # noqa: F811
    without_noise(monkeypatch)
    expected, paths = {}, {}
    for number, name in enumerate(GRADIENT):
        paths[name] = tmp_path / str(number)
        expected[name] = trained_in_order(trial(name, run_dir=paths[name], **SGD, **train))
    train_by_two(paths.values())
    wrong = {name for name in GRADIENT if not same(paths[name] / "weights.npz", expected[name])}
    assert not wrong


def train_by_two(paths):
    """Runs `parity_worker.py` in two processes that are one cluster."""
    searched = os.pathsep.join(filter(None, [str(TESTS.parent), os.environ.get("PYTHONPATH")]))
    words, ports, workers = [sys.executable, TESTS / "parity_worker.py", *paths], free_ports(2), []
    for task in range(2):
        env = {**os.environ, "TF_CONFIG": cluster(task, ports), "PYTHONPATH": searched}
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
