"""The record of a run, and the log of readings of test sets."""

import dataclasses
import json

import pytest

import tfrec
from tfrec.config import DataConfig, TrainConfig
from tfrec.metrics import interval
from tfrec.training import evaluation, experiment, readings, record, runs
from tfrec.training.run_config import RunConfig, versions


@pytest.fixture(scope="module")
def config(board):
    data_dir, data = board(likes_only=True)
    train = TrainConfig(epochs=1, batch_size=40, cuts=(5, 10), monitor="ndcg@5")
    settings = dataclasses.asdict(tfrec.models.registry.MODELS["ease"].Config())
    return RunConfig("ease", settings, data, data_dir, train, versions=versions())


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("TFREC_STATE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def run(config, one, state, tmp_path_factory):
    run_dir = runs.RunDir(tmp_path_factory.mktemp("run") / "run")
    trial = experiment.Experiment(config, run_dir, one, verbose=False)
    run_dir.start(trial.config)
    trial.run(test=False)
    assert not readings.path().exists()  # test was not read yet
    assert run_dir.record()["intervals"] == {}
    again = experiment.Experiment(config, run_dir, one, verbose=False)
    again.run(resume=True)
    return run_dir


def logged():
    return [json.loads(line) for line in readings.path().read_text().splitlines()]


def test_a_record_holds_what_the_run_measured(run):
    found, result = run.record(), run.metrics()
    assert found["metrics"] == {x: result[x] for x in ("validation", "test", "floors")}
    assert found["protocol"] == result["protocol"]
    assert found["data"] == run.config().fingerprint == run.info().fingerprint
    assert found["seeds"] == {"split": 0, "model": 0}
    assert found["tfrec"] == tfrec.__version__
    assert {"python", "tensorflow", "keras", "numpy"} <= set(found["versions"])
    assert found["machine"]["cores"] >= 1 and found["cpu_seconds"] > 0
    due = interval(run.load_per_user(), "ndcg@5")
    assert found["intervals"]["test"]["ndcg@5"] == pytest.approx([due.low, due.high])
    assert str(run.path) not in json.dumps(found) and run.config().data_dir not in json.dumps(found)


def test_readings_are_appended_and_outlive_the_run(run):
    (first,) = logged()
    assert first["why"] == "train" and first["config_hash"] == run.record()["config_hash"]
    evaluation.evaluate_run(str(run.path), "validation")
    assert len(logged()) == 1
    evaluation.evaluate_run(str(run.path), "test")
    assert logged()[0] == first and logged()[1]["why"] == "evaluate"
    other = dataclasses.replace(run.config(), settings={"regularization": 3.0})
    readings.append(other, "as before", "train")
    assert readings.settings_that_read(first["data"]) == 2
    assert readings.settings_that_read("another") == 0


def test_a_log_that_cannot_be_written_stops_nothing(run, monkeypatch, capsys):
    monkeypatch.setenv("TFREC_STATE", str(run.path / "config.json" / "no folder"))
    readings.append(run.config(), "", "train")
    assert "is not logged" in capsys.readouterr().err


def test_the_hash_is_of_what_results_depend_on(config):
    due = record.config_hash(config)
    same = dataclasses.replace(config.train, save_minutes=3.0)
    others = [
        dataclasses.replace(config, data_dir="elsewhere", versions={}, train=same, preset="x"),
        dataclasses.replace(config, train=dataclasses.replace(config.train, seed=1)),
        dataclasses.replace(config, data=DataConfig(seed=1)),
        dataclasses.replace(config, settings={"regularization": 3.0}),
    ]
    assert [record.config_hash(x) == due for x in others] == [True, False, False, False]
