"""A run knows its data, and refuses data that was prepared in its data_dir later."""

import json
import re
import runpy
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from commands_test import listing, run

from tfrec.schema import DatasetInfo
from tfrec.training.callbacks import EpochLine
from tfrec.training.runs import RunDir

PREPARE = ["prepare", "--dataset=tabular", "--data_dir=data", "--split=time"]
SMALL = ["train", "--model=autoencoder", "--set", "hidden=4", "--nodry_run", "--train"]
GROWN = ["prepare", "--dataset=tabular", "--raw=grown.csv"]


def ratings(n):
    """`n` ratings of 30 users and 20 items, each later than the last."""
    random = np.random.default_rng(0)
    pairs = random.permutation(600)[:n]
    frame = {"user": pairs // 20, "item": pairs % 20, "value": random.integers(1, 6, n)}
    return pd.DataFrame(frame | {"time": np.arange(n) + 1_000_000})


def command(*words):
    """Runs a command as from the shell; a failure raises SystemExit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"tfrec.{words[0]}", *words[1:]])
        runpy.run_module(f"tfrec.{words[0]}", run_name="__main__")


def stop_at_second(self, epoch, logs=None):
    if epoch == 1:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """The folder of finished runs a and b and of c, which was stopped after an epoch.

    Their prepared data is in `data`, and the same with one rating less in `less`.
    """
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFREC_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        ratings(500).to_csv("all.csv", index=False)
        ratings(500).drop(index=5).to_csv("less.csv", index=False)
        ratings(600).to_csv("grown.csv", index=False)
        command(*PREPARE, "--raw=all.csv")
        for name in "ab":
            command(
                *SMALL, "epochs=1", "--data_dir=data", f"--run_dir={name}", f"--seed={ord(name)}"
            )
        patch.setattr(EpochLine, "on_epoch_end", stop_at_second)
        with pytest.raises(SystemExit, match="stopped"):
            command(*SMALL, "epochs=3", "--data_dir=data", "--run_dir=c")
        patch.undo()
        patch.chdir(folder)
        command(*PREPARE[:2], "--data_dir=less", "--split=time", "--raw=less.csv")
        command(*GROWN, "--data_dir=later", "--split=time", "--data", "test=0.2")
        command(*GROWN, "--data_dir=random", "--split=random")
    return folder


@pytest.fixture
def tfrec(workspace, capsys, monkeypatch):
    """`tfrec(command, *words)` in the folder of the runs -> status, out, err."""
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("TFREC_CACHE", str(workspace / "cache"))
    return lambda *words: run(capsys, *words)


@pytest.fixture
def changed(workspace):
    """Swaps `data` for the one without the rating while a test runs."""
    (workspace / "data").rename(workspace / "kept")
    shutil.copytree(workspace / "less", workspace / "data")
    yield
    shutil.rmtree(workspace / "data")
    (workspace / "kept").rename(workspace / "data")


USES = {
    "evaluate": ["evaluate", "--run_dir=a"],
    "resume": [*SMALL, "epochs=3", "--data_dir=data", "--run_dir=c", "--resume"],
    "recommend": ["recommend", "--run_dir=a", "--user=1"],
    "export": ["export", "--run_dir=a", "--export_dir=served"],
    "warm_start": [*(*SMALL, "epochs=1", "--data_dir=later", "--run_dir=warm", "--warm_start=a")],
    "ensemble": ["ensemble", "--runs=a,b", "--run_dir=both"],
}


@pytest.mark.parametrize("use", USES)
def test_data_that_changed_under_a_run_is_refused(tfrec, workspace, changed, use):
    before = listing(workspace)
    done = tfrec(*USES[use])
    assert done.status == 1
    expected = (
        r"error: --run_dir=\S*[ac] was trained on other data than --data_dir=\S+/data holds now"
    )
    assert re.match(expected, done.err), done.err
    assert "prepare the former data there again, or train" in done.err
    assert done.err.count("\n") == 1
    after = listing(workspace)
    assert before.keys() == after.keys()
    assert before == after


def test_the_same_data_is_found_from_any_folder(tfrec, workspace, tmp_path, monkeypatch):
    assert json.loads((workspace / "a/config.json").read_text())["data_dir"] == str(
        workspace / "data"
    )
    monkeypatch.chdir(tmp_path)
    done = tfrec("evaluate", f"--run_dir={workspace / 'a'}")
    assert done.status == 0, done.err
    assert not list(tmp_path.iterdir())


def test_missing_data_is_not_prepared_again(tfrec, workspace):
    (workspace / "data").rename(workspace / "gone")
    done = tfrec("evaluate", "--run_dir=a")
    exists = (workspace / "data").exists()
    (workspace / "gone").rename(workspace / "data")
    assert "nothing is prepared in --data_dir" in done.err
    assert not exists


def test_a_warm_start_refuses_test_ratings_that_were_trained_on(tfrec, workspace):
    words = [*SMALL, "epochs=1", "--warm_start=a", "--run_dir=warm"]
    before = listing(workspace)
    done = tfrec(*words, "--data_dir=random")
    assert re.search(r"--warm_start=\S+a was trained on \d+ of the 60 test ratings", done.err)
    assert "--split=time" in done.err
    assert listing(workspace) == before
    later = tfrec(*words, "--data_dir=later")
    assert later.status == 0, later.err
    assert "warm start from" in later.out
    assert not re.search("validation ratings were training ratings", later.out)
    # What the start of an earlier run was trained on counts too.
    chained = [*SMALL, "epochs=1", "--warm_start=warm", "--run_dir=warm2", "--data_dir=random"]
    assert "test ratings here" in tfrec(*chained).err
    shutil.rmtree(workspace / "warm")


# ------------------------------------------------------------------ damaged files

GARBAGE = {"empty": b"", "cut": None, "junk": b"\x00\x93PK\x03\x04 no such thing", "json": b"[1]"}
READERS = {
    "config.json": ["evaluate", "--run_dir=copy"],
    "model.keras": ["recommend", "--run_dir=copy", "--user=1"],
    "metrics.json": ["ensemble", "--runs=copy,b", "--run_dir=both"],
    "validation.npz": ["ensemble", "--runs=copy,b", "--run_dir=both"],
    "test.npz": ["ensemble", "--runs=copy,b", "--run_dir=both"],
    "per_user.npz": ["evaluate", "--run_dir=copy", "--against=b"],
}


@pytest.mark.parametrize("damage", GARBAGE)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named_with_the_cure(tfrec, workspace, name, damage):
    shutil.copytree(workspace / "a", workspace / "copy")
    path = workspace / "copy" / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else GARBAGE[damage])
    done = tfrec(*READERS[name])
    shutil.rmtree(workspace / "copy")
    assert done.status == 1
    assert done.err.startswith(f"error: copy/{name} is damaged, or of another version of tfrec (")
    assert done.err.endswith("`python -m tfrec.train --overwrite --run_dir=copy`\n")
    assert done.err.count("\n") == 1


def test_unknown_settings_of_another_version_are_named(tfrec, workspace):
    shutil.copytree(workspace / "a", workspace / "copy")
    config = json.loads((workspace / "copy/config.json").read_text())
    for field in ({"colour": "red"}, {"train": config["train"] | {"colour": "red"}}):
        (workspace / "copy/config.json").write_text(json.dumps(config | field))
        done = tfrec("evaluate", "--run_dir=copy")
        assert re.match(r"error: copy/config.json is damaged, or of .*'colour'", done.err), done.err
    shutil.rmtree(workspace / "copy")


@pytest.mark.parametrize("damage", [*GARBAGE, "other"])
def test_a_damaged_state_is_not_resumed(tfrec, workspace, damage):
    shutil.copytree(workspace / "c", workspace / "copy")
    path = workspace / "copy/state.npz"
    if damage == "other":  # of a model with other variables
        np.savez(path, progress=np.array("{}"), **{"0000": np.zeros(3)})
    else:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else GARBAGE[damage])
    done = tfrec(*SMALL, "epochs=3", "--data_dir=data", "--run_dir=copy", "--resume")
    kept = path.exists()
    shutil.rmtree(workspace / "copy")
    assert re.match("error: copy/state.npz is damaged, or of another version", done.err), done.err
    assert "--overwrite" in done.err
    assert kept


def test_the_fingerprint_is_that_of_the_data(workspace):
    info = DatasetInfo.load(workspace / "data")
    assert RunDir(workspace / "a").config().fingerprint == info.fingerprint
    assert info.fingerprint != DatasetInfo.load(workspace / "less").fingerprint


# ------------------------------------------------------------------ stopped, killed, two at once


def stopped_by(number, at):
    """A callback's method that sends this process a signal in epoch `at`, from 0."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == at:
            signal.raise_signal(number)

    return on_epoch_end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_or_leaves_nothing(tfrec, workspace, tmp_path, monkeypatch, number):
    words = [*SMALL, "epochs=3", "--data_dir=data"]
    with monkeypatch.context() as patch:
        patch.setattr(EpochLine, "on_train_begin", lambda *_: signal.raise_signal(number))
        done = tfrec(*words, f"--run_dir={tmp_path / 'none'}")
        assert (done.status, done.err) == (1, "stopped\n")
        assert not list(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(EpochLine, "on_epoch_end", stopped_by(number, at=0))
        done = tfrec(*words, f"--run_dir={tmp_path / 'some'}")
        assert done.status == 75
        assert done.err == "stopped after epoch 1: the same command with --resume goes on there\n"
    refused = tfrec(*words, f"--run_dir={tmp_path / 'some'}")
    assert "continue it with --resume" in refused.err
    resumed = tfrec(*words, f"--run_dir={tmp_path / 'some'}", "--resume")
    assert "resuming after epoch 1" in resumed.out
    undisturbed = tfrec(*words, f"--run_dir={tmp_path / 'whole'}")
    line = r"^rmse .*$"
    assert re.search(line, resumed.out, re.M)[0] == re.search(line, undisturbed.out, re.M)[0]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "the command's own handler is gone"


def test_a_run_killed_in_its_first_epoch_is_no_obstacle(tfrec, workspace, tmp_path):
    config = (workspace / "a/config.json").read_text()
    (tmp_path / "run/logs").mkdir(parents=True)
    (tmp_path / "run/config.json").write_text(config)  # all that kill -9 leaves by then
    (tmp_path / ".run.lock").write_text("")
    done = tfrec(*SMALL, "epochs=1", "--data_dir=data", f"--run_dir={tmp_path / 'run'}")
    assert done.status == 0, done.err
    assert not (tmp_path / ".run.lock").exists()


def test_two_trainings_in_one_run_dir(tfrec, workspace, tmp_path):
    words = [*SMALL, "epochs=1", "--data_dir=data", f"--run_dir={tmp_path / 'run'}"]
    with RunDir(tmp_path / "run").locked():
        for more in ([], ["--overwrite"], ["--resume"]):
            done = tfrec(*words, *more)
            assert re.match(r"error: --run_dir=\S+: another process is training", done.err)
        assert not (tmp_path / "run").exists()
    assert tfrec(*words).status == 0
    with RunDir(workspace / "both").locked():
        done = tfrec("ensemble", "--runs=a,b", "--run_dir=both")
    assert "another process is training" in done.err


def test_plain_keras_loads_a_model_in_a_fresh_process(workspace):
    code = (
        "import sys, keras, tfrec.models\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "print(type(model).__name__, model.info.n_users)\n"
    )
    command = [sys.executable, "-c", code, str(workspace / "a/model.keras")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "AutoEncoder 30\n", done.stderr
