"""Tuning: the space, trials that finish, fail, are pruned or killed, the winner's settings."""

import dataclasses
import json
import shutil

import pytest
from commands_test import run

import tfrec
from tfrec.api import fitting, search_space
from tfrec.api.study import AGAIN, STARTUP, WARM_UP, Study
from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.data import inputs
from tfrec.models.registry import MODELS

SPACE = {"width": OneOf((8,), (8, 4)), "depth": Range(1, 3), "rate": Range(1e-4, 1, log=True)}
START = {"width": (8,), "depth": 2, "rate": 0.012345}


@pytest.fixture
def study(tmp_path):
    """`study()` opens a study of SPACE in this test's folder."""
    return lambda **other: Study(
        tmp_path / "study", {"of": "toys"}, SPACE, START, higher_is_better=False, **other
    )


@pytest.fixture(scope="module")
def tuned(board, tmp_path_factory):
    """A study of EASE that each call continues, its folder, and the splits its trials read."""
    folder, data_dir = tmp_path_factory.mktemp("tuned"), board(likes_only=True)[0]
    search = {"regularization": Range(5, 100)}
    call = {"run_dir": folder / "study", "search": search, "verbose": False}

    def tune(trials, **other):
        return tfrec.tune("ease", data_dir, trials=trials, **call, **other)

    read = set()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("histories", "events"):
            original = getattr(inputs, name)

            def watched(data_dir, info, split, *rest, original=original, **others):
                read.add(split)
                return original(data_dir, info, split, *rest, **others)

            patch.setattr(inputs, name, watched)
        assert tune(2, test=False).run is None
    return tune, folder / "study", read


# ------------------------------------------------------------------ search space


def test_every_model_declares_ranges_around_its_defaults():
    for name, cls in MODELS.items():
        config = cls.Config()
        space = search_space.of_model(cls, config, cls.defaults)
        assert bool(space) == (name != "popularity"), name
        assert search_space.checked(cls, space) == space
        for setting_, search in space.items():
            if setting_ in {field.name for field in dataclasses.fields(config)}:
                assert getattr(config, setting_) in search, (name, setting_)
        steps = not (cls.closed_form or cls.defaults.optimizer == "lbfgs")
        assert ("learning_rate" in space) == steps, name


def test_a_range_is_checked_where_it_is_declared():
    with pytest.raises(ValueError, match=r"search=0..1 is not all 0 or more and less than 1"):
        setting(0.5, "0 or more and less than 1", search=Range(0, 1))
    with pytest.raises(ValueError, match="0..1,log: a logarithmic range starts above 0"):
        Range(0, 1, log=True)


def test_ranges_as_texts():
    cls = MODELS["deeprec"]
    words = ["dropout=0.1..0.5", "learning_rate=1e-4..1e-2,log", "hidden=64|128,32"]
    found = search_space.parsed(cls, words)
    assert found["dropout"] == Range(0.1, 0.5)
    assert found["learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert found["hidden"].values == ((64,), (128, 32))
    for text, error in {
        "dropuot=0..1": "did you mean 'dropout'",
        "dropout=0..2": "dropout=2.0 must be 0 or more and less than 1",
        "hidden=1..2": "give its values as hidden=",
        "dropout=0.3": "to fix a value, --set or --train",
    }.items():
        with pytest.raises(ValueError, match=error):
            search_space.parsed(cls, [text])


# ------------------------------------------------------------------ trials


def test_trial_0_is_the_start_and_a_study_proposes_the_same_again(study, tmp_path):
    proposed = []
    for _ in range(2):
        shutil.rmtree(tmp_path / "study", ignore_errors=True)
        values = []
        for of_process in (2, 3):
            made = study()  # like a process that continues the study
            while True:
                with made.next(of_process) as trial:
                    if trial is None:
                        break
                    values.append(trial.values)
                    made.finish(trial, {}, float(trial.number))
        proposed.append(values)
    first, second = proposed
    assert first == second
    assert first[0] == START
    assert first[1] != first[2]
    for values in first[1:]:
        assert all(values[name] in SPACE[name] for name in SPACE)
        assert values["rate"] == float(f"{values['rate']:.3g}") and isinstance(values["depth"], int)


def test_processes_share_the_trials_of_a_study(study):
    one, other = study(), study()
    with one.next(2) as first, other.next(2) as second:
        assert (first.number, second.number) == (0, 1)
        with one.next(2) as third:
            assert third is None
        assert one.running() == other.running() == [0, 1]
        one.finish(first, {}, 2.0)
        other.finish(second, {"error": "no"}, None)
    assert one.running() == []
    assert one.frame()["state"].tolist() == ["complete", "failed"]
    assert one.best().number == 0


def test_a_killed_trial_is_restarted_a_limited_number_of_times(study):
    made = study()
    for _ in range(AGAIN + 1):
        with made.next(1) as trial:
            assert trial.is_start and trial.values == START and trial.folder.name == "0000"
    with made.next(1) as trial:
        assert trial is None
    assert made.frame()["error"].tolist() == ["its process was killed"]


def test_a_trial_worse_than_the_median_is_pruned_the_start_never(study):
    made = study()
    for number in range(STARTUP + 2):
        with made.next(STARTUP + 2) as trial:
            watch = made.watch(trial, "rmse")
            bad = number in (0, STARTUP + 1)
            epochs = []
            try:
                for epoch in range(WARM_UP + 2):
                    epochs.append(epoch)
                    watch.on_epoch_end(epoch, {"val_rmse": 1.0 + bad + epoch / 100})
                made.finish(trial, {}, 1.0 + bad)
            except made.optuna.TrialPruned:
                made.finish(trial, {}, None)
    assert made.frame()["state"].tolist() == ["complete"] * (STARTUP + 1) + ["pruned"]
    assert len(epochs) == WARM_UP  # the first epoch that may be pruned
    assert made.frame()["value"].iloc[-1] == 2.0  # its best epoch


def test_another_study_is_refused(study, tmp_path):
    study()
    with pytest.raises(ValueError, match="another study .of is 'toys', requested is 'trains'."):
        Study(tmp_path / "study", {"of": "trains"}, SPACE, START, higher_is_better=False)


# ------------------------------------------------------------------ the whole study


def test_trials_go_without_test_and_the_winner_reads_it(tuned):
    tune, folder, read = tuned
    assert read == {"train", "validation"}
    before = {path: path.stat().st_mtime_ns for path in (folder / "trials").rglob("*.json")}
    found = tune(3)  # one more
    assert before and {path: path.stat().st_mtime_ns for path in before} == before
    frame = found.frame
    assert frame["regularization"].iloc[0] == "500.0" and len(frame) == 3  # not in the range
    assert frame["start"].tolist() == [True, False, False]
    assert found.monitor == "ndcg@100" and f"(the start: {frame['value'].iloc[0]:.4f})" in str(
        found
    )
    assert frame["value"].max() == frame.loc[found.number, "value"] >= frame["value"].iloc[0]
    assert not list((folder / "trials").rglob("*.keras"))
    assert found.run.metrics["test"]["ndcg@100"] > 0
    assert found.run.metrics["validation"]["ndcg@100"] == frame.loc[found.number, "value"]
    stamp = (found.run.path / "metrics.json").stat().st_mtime_ns
    assert (tune(3).run.path / "metrics.json").stat().st_mtime_ns == stamp  # read once


def test_a_trial_that_fails_is_recorded_and_others_continue(board, tmp_path, monkeypatch, capsys):
    errors = [MemoryError(), ValueError("training loss is nan in epoch 1"), KeyError("a bug")]

    def fail(*args, **options):
        raise errors.pop(0)

    monkeypatch.setattr(fitting, "carry_out", fail)
    data_dir = board(likes_only=True)[0]
    with pytest.raises(
        ValueError, match="no trial was completed .MemoryError; training loss is nan"
    ):
        tfrec.tune("ease", data_dir, trials=2, run_dir=tmp_path)
    assert "trial 1  failed: training loss is nan in epoch 1  " in capsys.readouterr().out
    with pytest.raises(KeyError, match="a bug"):
        tfrec.tune("ease", data_dir, trials=3, run_dir=tmp_path)


def test_a_killed_trial_is_resumed_in_its_run(board, tmp_path, monkeypatch):
    calls = []

    def stop(config, path, options):
        calls.append((path.name, options.resume))
        path.mkdir(exist_ok=True)
        (path / "config.json").touch()
        (path / "state.npz").touch()  # an epoch has ended
        raise KeyboardInterrupt if len(calls) == 1 else ValueError("the next time")

    monkeypatch.setattr(fitting, "carry_out", stop)
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error):
            tfrec.tune("ease", board(likes_only=True)[0], trials=1, run_dir=tmp_path)
    assert calls == [("0000", False), ("0000", True)]


def test_the_winners_settings_are_taken_by_train(tuned, capsys, tmp_path):
    path = tuned[1] / "best.json"
    chosen = json.loads(path.read_text())["settings"]["regularization"]
    done = run(capsys, "train", f"--settings={path}", "--train", "seed=3", "--list_settings")
    assert done.status == 0, done.err
    assert "settings of ease:" in done.out
    assert f"  regularization={chosen}  (" in done.out and "  seed=3  (" in done.out
    other = run(capsys, "train", f"--settings={path}", "--model=deeprec")
    assert (other.status, other.out) == (1, "")
    assert "best.json has settings of ease, not of deeprec" in other.err
    own = tmp_path / "mine.json"
    own.write_text('{"model": "ease", "settings": {"regularisation": 3}}')
    mistyped = run(capsys, "train", f"--settings={own}", "--list_settings")
    assert "mine.json has no setting 'regularisation'; did you mean" in mistyped.err


def test_the_command(tuned, capsys, board):
    words = ["--model=ease", f"--data_dir={board(likes_only=True)[0]}", "--trials=2", "--notest"]
    words.append(f"--run_dir={tuned[1]}")
    done = run(capsys, "tune", *words, "--search=regularization=5..100")
    assert done.status == 0, done.err
    assert "\n  regularization  5..100  (default: 500.0)\nbest: trial " in done.out
    assert f"--model=ease --settings={tuned[1] / 'best.json'}" in done.out
    shown = run(capsys, "tune", "--list_space", "--model=ease")
    assert shown.out == "  regularization  10..5000,log  (default: 500.0)\n"
    nothing = run(capsys, "tune", "--list_space", "--model=popularity")
    assert "no setting is left to search for" in nothing.err
    other = run(capsys, "tune", *words)
    assert "has trials of another study (search.regularization is" in other.err


def test_trials_need_a_validation_part(board, tmp_path):
    blind = tmp_path / "blind"
    shutil.copytree(board(likes_only=True)[0], blind)
    info = json.loads((blind / "info.json").read_text())
    info["n_ratings"]["validation"] = 0
    (blind / "info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="this split has none: split with validation=0.1"):
        tfrec.tune("ease", blind, run_dir=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_settings_of_training_may_be_searched_for_too():
    cls = MODELS["mf"]
    space = search_space.of_model(cls, cls.Config(), cls.defaults)
    assert space["batch_size"].values == (512, 1024, 2048, 4096) and "weight_decay" not in space
    assert search_space.checked(cls, {"average": Range(0.9, 0.999)})
    assert (
        TrainConfig().weight_decay
        in search_space.of_model(
            MODELS["multvae"], MODELS["multvae"].Config(), MODELS["multvae"].defaults
        )["weight_decay"]
    )
