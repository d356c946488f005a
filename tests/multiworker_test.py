"""`--strategy=multiworker`: two processes on one machine train like a single one."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from bad_input_test import packed

from tfrec.training.runs import RunDir

WORDS = [
    "--model=autoencoder",
    *("--set", "hidden=8"),
    *("--set", "dropout=0"),
    *("--train", "epochs=2"),
    *("--train", "optimizer=sgd"),
    *("--train", "learning_rate=0.05"),
    *("--train", "batch_size=6"),
    *("--train", "eval_batch_size=5"),
]


def free_ports(n):
    """Unused ports."""
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def cluster(task, ports):
    """TF_CONFIG of worker number `task` of those at `ports`."""
    workers = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": workers, "task": {"type": "worker", "index": task}})


def start(words, task=None, ports=()):
    """Starts `tfrec.train` in a process, as worker number `task` of those at `ports`."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    if task is not None:
        env["TF_CONFIG"] = cluster(task, ports)
    return subprocess.Popen(
        [sys.executable, "-m", "tfrec.train", *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=pathlib.Path(__file__).parent.parent,
    )


def finish(processes, status=0):
    """Waits for the processes, which must exit with `status`; returns their outputs."""
    try:
        outputs = [p.communicate(timeout=180)[0] for p in processes]
    finally:
        for p in processes:
            p.kill()
    assert [p.returncode for p in processes] == [status] * len(processes), "\n".join(outputs)
    return outputs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run by two workers, without prepared data, and by one process."""
    folder = tmp_path_factory.mktemp("workers")
    raw = packed(folder / "ml-1m.zip")
    words = [*WORDS, "--dataset=ml-1m", f"--raw={raw}", f"--data_dir={folder / 'data'}"]
    ports = free_ports(2)
    two = [*words, "--strategy=multiworker", f"--run_dir={folder / 'two'}"]
    outputs = finish([start(two, task, ports) for task in range(2)])
    finish([start([*words, f"--run_dir={folder / 'one'}"])])
    return folder, outputs


def test_two_workers_train_like_one(runs):
    folder, _ = runs
    one, two = (RunDir(folder / name).load_model() for name in ("one", "two"))
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_two_workers_measure_like_one(runs):
    folder, _ = runs
    one, two = (RunDir(folder / name).metrics() for name in ("one", "two"))
    for part in ("validation", "test"):
        assert two[part] == pytest.approx(one[part], rel=1e-4)
    assert two["protocol"] == one["protocol"]


def test_only_the_chief_writes(runs):
    folder, _ = runs
    names = {p.name for p in (folder / "two").iterdir()}
    assert names == {
        "config.json",
        "metrics.json",
        "model.keras",
        "per_user.npz",
        "record.json",
        "history.csv",
        "validation.npz",
        "test.npz",
        "logs",
    }
    assert len(list((folder / "two/logs").glob("events*v2"))) == 2, "the curves and the end, once"


def test_the_chief_prepares_the_data_for_all(runs):
    folder, outputs = runs
    assert [text.count("preparing ml-1m") for text in outputs] == [1, 0]
    assert {p.name for p in folder.iterdir()} == {"data", "ml-1m.zip", "one", "two"}


def test_both_workers_see_the_same_numbers(runs):
    _, outputs = runs
    assert "WARNING" not in "".join(outputs)
    tables = [text[text.index("validation        test") :].splitlines()[1:4] for text in outputs]
    assert tables[0] == tables[1]


def test_all_workers_end_where_the_chief_refuses(runs):
    folder, _ = runs
    ports = free_ports(2)
    words = [*WORDS, f"--data_dir={folder / 'data'}", f"--run_dir={folder / 'two'}"]
    both = [start([*words, "--strategy=multiworker"], task, ports) for task in range(2)]
    outputs = finish(both, status=1)
    assert "already holds a run" in outputs[0]
    assert "error: " in outputs[1]


@pytest.mark.slow
def test_one_worker_killed_ends_the_other_and_both_go_on(runs):
    folder, _ = runs
    run = RunDir(folder / "killed")
    words = [*WORDS, "--train", "epochs=60", f"--data_dir={folder / 'data'}", "--resume"]
    two = [*words, "--strategy=multiworker", f"--run_dir={run.path}"]
    ports = free_ports(2)
    both = [start(two, task, ports) for task in range(2)]
    deadline = time.monotonic() + 180
    while not run.state.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    both[1].kill()
    both[1].communicate()
    killed = time.monotonic()
    out = both[0].communicate(timeout=120)[0]
    print(f"ended {time.monotonic() - killed:.0f} s later")
    assert both[0].returncode in (1, 75), out
    assert f"worker 1 (127.0.0.1:{ports[1]}) is gone: start all workers again, with --resume" in out
    ports = free_ports(2)
    outputs = finish([start(two, task, ports) for task in range(2)])
    assert all("resuming after epoch" in text for text in outputs)
    finish([start([*words, f"--run_dir={folder / 'alone'}"])])
    whole = RunDir(folder / "alone")
    for a, b in zip(*(x.load_model().get_weights() for x in (run, whole)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_workers_of_different_run_dirs_are_refused(runs):
    folder, _ = runs
    ports = free_ports(2)
    words = [*WORDS, f"--data_dir={folder / 'data'}", "--strategy=multiworker"]
    both = [start([*words, f"--run_dir={folder / f'own{n}'}"], n, ports) for n in range(2)]
    for text in finish(both, status=1):
        assert re.search(r"error: worker 1 \(\S+\): --run_dir=\S+ is not the directory of", text)
