"""A run resumed from any point ends like an uninterrupted one: weights, metrics, history."""

import dataclasses
import json
import signal
import socket
import time

import numpy as np
import pytest
import tensorflow as tf
from training_test import same

from tfrec import config as config_lib
from tfrec import interrupts
from tfrec.models.registry import MODELS
from tfrec.training import methods, summaries, workers
from tfrec.training.evaluation import Evaluator
from tfrec.training.experiment import Experiment
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

SMALL = {
    "autoencoder": ({"hidden": (8,)}, {"average": 0.9}),
    "mf": (
        {"latent": 4, "damping": 20.0},
        {"batch_size": 200, "schedule": "cosine", "warmup_steps": 3, "steps_per_call": 4},
    ),
    "sasrec": ({"width": 8, "heads": 1, "blocks": 1, "dropout": 0.5}, {}),
    "bayesianfm": ({"latent": 2, "samples": 4, "burn_in": 3}, {"save_steps": 2}),
}


@pytest.fixture(autouse=True)
def _heard():
    """SIGINT is handled, even where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run_of(board, one, run_name):
    """`run_of(name, path)` -> an Experiment of 2 epochs and a refit; with `path` one to resume."""

    def make(name, path=None, **train):
        cls = MODELS[name]
        own, more = SMALL[name]
        settings = dataclasses.replace(cls.Config(), **own)
        data_dir, data = board("user", cls.task_for(settings) == "ranking")
        numbers = {"epochs": 2, "batch_size": 10, "patience": 0, "refit": True, **more, **train}
        train = dataclasses.replace(cls.defaults, **numbers)
        config = RunConfig(name, config_lib.to_dict(settings), data, data_dir, train)
        run_dir = RunDir(path or run_name())
        run_dir.start(config, resume=path is not None)
        return Experiment(config, run_dir, one, verbose=False)

    return make


def stopped_at(monkeypatch, steps):
    """SIGTERM arrives after each of these steps, counted over whole runs."""
    step, taken = methods.Watch.step, []

    def stopping(self, *args):
        taken.append(1)
        if len(taken) in steps:
            signal.raise_signal(signal.SIGTERM)
        step(self, *args)

    monkeypatch.setattr(methods.Watch, "step", stopping)
    return taken


def outcome(t):
    """Results that must not depend on interruptions."""
    result = {
        k: v
        for k, v in t.run_dir.metrics().items()
        if k not in ("seconds", "cpu_seconds", "peak_memory_mb")
    }
    times = ["seconds", "cpu_seconds", "examples_per_second", "input_wait"]
    history = t.run_dir.history().drop(columns=times, errors="ignore")
    return json.dumps(result), history.to_csv()


@pytest.mark.parametrize(
    "name", [n if n == "mf" else pytest.param(n, marks=pytest.mark.slow) for n in SMALL]
)
def test_a_stopped_run_goes_on_at_the_same_step(run_of, monkeypatch, name):
    whole = run_of(name)
    with monkeypatch.context() as patch:
        taken = stopped_at(patch, ())
        whole.run()
        steps = len(taken)
    t, path, stops = run_of(name), None, []
    stopped_at(monkeypatch, {2, steps - 1})  # in the first epoch, and in the refit's last one
    while path is None or not t.run_dir.finished:
        if len(stops) == 1:  # during validation, once
            t._validate = lambda: signal.raise_signal(signal.SIGINT)
        try:
            t.run(resume=path is not None)
        except interrupts.Interrupted as stopped:
            path = t.run_dir.path
            stops.append(str(stopped))
            t = run_of(name, path)
    assert len(stops) == 3
    after = 5 if "steps_per_call" in SMALL[name][1] else 2  # the first call takes one step only
    assert stops[0] == f"in epoch 1 after step {after}"
    assert same(t.run_dir.load_model().get_weights(), whole.run_dir.load_model().get_weights())
    assert outcome(t) == outcome(whole)
    assert not t.run_dir.states


def test_a_refit_of_rankings_keeps_the_model_before_it(run_of):
    """Ensembles choose its weight with it."""
    t = run_of("sasrec")
    validated = t.run()["validation"]
    before = t.run_dir.load_model(validated=True)
    assert not same(before.get_weights(), t.run_dir.load_model().get_weights())
    t.model, t.evaluator = before, Evaluator(before)
    found, _ = t.measure("validation")
    assert found == pytest.approx({name: validated[name] for name in found})


def test_a_second_interrupt_ends_at_once():
    with interrupts.postponed() as requests:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert requests.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def poisoned(t, steps):
    """One batch of each epoch, by its number, has values that are not finite."""
    make = t.batches

    def batches(split, epoch=0):
        found = make(split, epoch)
        if split != "train":
            return found

        def poison(n, batch):
            features, targets = batch
            bad = tf.reduce_any(tf.equal(n, tf.constant(steps, tf.int64)))
            values = tf.where(bad, float("nan"), targets["target_values"])
            return features, {**targets, "target_values": values}

        return found.enumerate().map(poison)

    t.batches = batches
    return t


def test_a_number_that_is_not_finite_stops_the_run_or_is_left_out(run_of):
    t = poisoned(run_of("autoencoder", save_steps=1, average=0.0), [2])
    cure = "training loss is nan in epoch 1: lower .*--resume with --train on_nan=skip"
    with pytest.raises(ValueError, match=cure):
        t.run()
    assert t.run_dir.saved_progress()["progress"]["step"] == 2, "the last good state"
    again = poisoned(run_of("autoencoder", t.run_dir.path, on_nan="skip", average=0.0), [2])
    again.run(resume=True)
    assert again.run_dir.history()["skipped_steps"].tolist() == [1, 1]
    assert np.isfinite(again.run_dir.history()["loss"]).all()


def test_an_exploding_loss_stops_the_run_and_a_grown_one_is_reported(run_of):
    with pytest.raises(ValueError, match=r"training loss is .*, and was .* after the first step"):
        run_of("autoencoder", optimizer="sgd", learning_rate=1e4, momentum=0.0, average=0.0).run()
    (line,) = summaries.loss_grew({"loss": {"first_step": 2.0, "last_epoch": 900.0}})
    assert line.startswith("THE LOSS GREW: 2 after the first step, 900 in the last epoch: lower")
    assert not summaries.loss_grew({"loss": {"first_step": 2.0, "last_epoch": 100.0}})


def test_states_are_kept_by_number_and_the_one_before_a_damaged_one_is_named(run_of):
    t = run_of("autoencoder", refit=False, save_steps=1, save_keep=3)
    t.fit(resume=False)
    assert [p.name for p in t.run_dir.states] == ["state.npz", "state-1.npz", "state-2.npz"]
    t.run_dir.state.write_bytes(b"PK")
    cure = "remove it, and --resume continues from state-1.npz, or train again with .*--overwrite"
    with pytest.raises(ValueError, match=f"state.npz is damaged.*{cure}"):
        run_of("autoencoder", t.run_dir.path, refit=False).run(resume=True)
    t.run_dir.state.unlink()
    again = run_of("autoencoder", t.run_dir.path, refit=False)
    again.fit(resume=True)
    assert same(again.model.get_weights(), t.model.get_weights())
    for path in t.run_dir.states:
        path.unlink()
    with pytest.raises(ValueError, match="state.npz is missing, and history.csv has 2 epochs"):
        run_of("autoencoder", t.run_dir.path, refit=False).run(resume=True)


def test_missing_workers_are_reported_once(monkeypatch, capsys):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        cluster = {"chief": [f"127.0.0.1:{port}"], "worker": ["127.0.0.1:1", f"127.0.0.1:{port}"]}
        config = {"cluster": cluster, "task": {"type": "worker", "index": 1}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        monkeypatch.setattr(workers, "PATIENCE", 0.05)
        with workers.naming_missing():
            time.sleep(0.5)
    assert capsys.readouterr().err == "waiting for worker 0 (127.0.0.1:1)\n"
