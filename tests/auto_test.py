"""`--model=auto`: a bounded choice by validation, and a run like any other."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from commands_test import run

import tfrec
from tfrec.config import DataConfig, TrainConfig
from tfrec.models.ials import IALS
from tfrec.schema import DatasetInfo
from tfrec.training import candidates, experiment, runs
from tfrec.training.candidates import CANDIDATES
from tfrec.training.run_config import RunConfig

QUIET = {"check_export": False, "verbose": False}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One candidate, in closed form."""
    monkeypatch.setitem(CANDIDATES, "interactions", ("popularity",))


@pytest.fixture
def measured(monkeypatch):
    """`(model, part)` of all evaluations in the test."""
    found, measure = [], experiment.Experiment.measure
    monkeypatch.setattr(
        experiment.Experiment,
        "measure",
        lambda self, part: found.append((self.config.model, part)) or measure(self, part),
    )
    return found


@pytest.fixture(scope="module")
def purchases(tmp_path_factory):
    """A file of purchases without values: users buy within one half of the items."""
    draw = np.random.default_rng(0)
    user, item = np.nonzero(draw.random((40, 24)) < 0.5)
    kept = user % 2 == item % 2
    table = pd.DataFrame({"user": user[kept], "item": item[kept]})
    path = tmp_path_factory.mktemp("purchases") / "orders.csv"
    table.to_csv(path, index=False)
    return path, table


@pytest.fixture(scope="module")
def split(purchases, tmp_path_factory):
    """The purchases, prepared."""
    data = tfrec.Dataset.from_pandas(purchases[1])
    return data.split(data_dir=tmp_path_factory.mktemp("split") / "data")


def left(folder):
    """The contents of a folder, including hidden files."""
    return sorted(path.name for path in folder.iterdir())


def test_the_best_on_validation_is_the_run_and_alone_reads_test(
    split, tmp_path, monkeypatch, measured, capsys
):
    monkeypatch.setitem(CANDIDATES, "interactions", ("popularity", "ials", "ease"))
    monkeypatch.setattr(IALS, "memory", classmethod(lambda *args: 10**15))
    alone = tfrec.fit("ease", split, run_dir=tmp_path / "run", **QUIET)
    files, metrics = left(alone.path), alone.metrics
    del measured[:]
    auto = tfrec.fit("auto", split, run_dir=alone.path, overwrite=True, check_export=False)
    assert auto.config.model == "ease"
    assert measured == [("popularity", "validation"), ("ease", "validation"), ("ease", "test")]
    for part in ("protocol", "validation", "test", "floors"):
        assert auto.metrics[part] == metrics[part]
    assert left(auto.path) == sorted([*files, "candidates.json"])
    assert left(tmp_path) == ["run"]

    found = json.loads((auto.path / "candidates.json").read_text())
    popularity, ials, ease = found["candidates"]
    assert found["chosen"] == "ease" and ease["validation"] == metrics["validation"]
    assert popularity["validation"]["ndcg@100"] < ease["validation"]["ndcg@100"]
    assert ials["failed"].endswith("trains anyway") and not ials["validation"]
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"popularity +0\.\d{4} ", lines[-4])
    assert lines[-3].startswith("ials          --model=ials takes about 1000000.0 GB on these 24")
    assert lines[-1].startswith("chosen: ease, validation ndcg@100 0.")

    monkeypatch.setitem(CANDIDATES, "interactions", ("ials",))
    with pytest.raises(ValueError, match="no candidate could be trained: ials: --model=ials takes"):
        tfrec.fit("auto", split, run_dir=tmp_path / "none", **QUIET)
    assert left(tmp_path) == ["run"]


class Killed(BaseException):
    """The process ends."""


def test_a_killed_choice_can_be_replaced_or_resumed(split, tmp_path, monkeypatch, measured, capsys):
    def fit(**settings):
        del measured[:]
        return tfrec.fit("auto", split, run_dir=tmp_path / "auto", **QUIET | settings)

    def killed(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(experiment.Experiment, "_tested", killed)
        fit()
    assert left(tmp_path) == [".auto.candidates"]
    with pytest.raises(ValueError, match="started with other settings.*--resume"):
        fit(resume=True, seed=3)
    fit(resume=True)
    assert measured == [("popularity", "test")]  # nothing was trained or validated again
    with pytest.raises(ValueError, match="already holds a run.*--overwrite"):
        fit()
    fit(resume=True, verbose=True)
    assert "nothing to resume" in capsys.readouterr().out

    # Killed while the run is renamed.
    there, candidate = (runs.RunDir(tmp_path / x) for x in ("auto", ".auto.candidates/popularity"))
    candidate.take(there)
    moved, move = [], runs.shutil.move

    def half(path, to):
        moved.append(path.name)
        killed() if len(moved) == 3 else move(path, to)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(runs.shutil, "move", half)
        there.take(candidate)
    assert moved[0] == "config.json" and not there.trained
    fit(resume=True)
    assert [part for _, part in measured] == ["validation", "test"]
    assert left(tmp_path) == ["auto"]


def test_purchases_are_for_auto_and_not_for_deeprec(purchases, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
    words = [f"--raw={purchases[0]}", f"--run_dir={tmp_path / 'run'}", "--nodry_run"]
    for columns in ([], ["--columns=user=user,item=item"]):
        done = run(capsys, "train", *words, *columns, "--model=deeprec")
        assert done.status == 1
        assert "DeepRec predicts ratings, but all of tabular are 1" in done.err
        assert "--model=ials, ease or multdae, or --model=auto" in done.err
        assert not (tmp_path / "cache").exists()
    done = run(capsys, "train", *words)
    assert done.status == 0, done.err
    said = "no --model is given, and the data has no ratings: --model=auto"
    assert said in done.out.splitlines()
    assert "chosen: popularity, " in done.out
    assert tfrec.load(tmp_path / "run").config.model == "popularity"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "dropout=0.1"], "--set is for one model, --model=auto tries several"),
        (["--warm_start=runs/a"], "--warm_start is for one model"),
        (["--list_settings"], "--list_settings is for one model"),
        (["--train", "epoch=1"], "did you mean 'epochs'"),
    ],
)
def test_flags_of_one_model_are_refused_before_tensorflow(monkeypatch, capsys, words, expected):
    monkeypatch.setattr("tfrec.cli.start_tensorflow", None)  # would fail
    done = run(capsys, "train", "--model=auto", *words)
    assert done.status == 1 and expected in done.err


INFO = DatasetInfo("x", "x", "user", 9, 9, {"train": 9, "validation": 1})


def test_data_without_a_choice_is_refused(split, tmp_path):
    for settings, expected in (
        ({"warm_start": "a"}, "warm_start is of one model"),
        ({"dropout": 0.1}, "training has no setting 'dropout'"),
    ):
        with pytest.raises(ValueError, match=expected):
            tfrec.fit("auto", split, run_dir=tmp_path / "run", **settings)
    config = RunConfig("auto", {}, DataConfig(), "data", TrainConfig())
    for changed, expected in (
        ({"rows": "item"}, "data has rows by item: prepare with --data rows=user"),
        ({"n_ratings": {"train": 9}}, "data holds out nothing for it: prepare with --data valid"),
    ):
        with pytest.raises(ValueError, match=expected):
            candidates.configs_of(config, dataclasses.replace(INFO, **changed), {})


@pytest.mark.parametrize(
    ("low", "high", "config", "kind", "rated"),
    [
        (0.5, 5, {}, "ratings", True),
        (-1, 1, {}, "ratings", True),
        (1, 1, {}, "interactions", False),
        (0, 1, {"split": "last"}, "labels", False),
        (1, 9, {"duplicates": "count"}, "interactions", False),
        (1, 5, {"min_rating": 4.0}, "interactions", True),
        (1, 5, {"min_rating": 1.0}, "ratings", True),
        (1, 5, {"split": "users"}, "interactions", True),
        (1, 5, {"split": "last"}, "next items", True),
    ],
)
def test_the_candidates_follow_the_data(low, high, config, kind, rated):
    info = dataclasses.replace(INFO, rating_min=low, rating_max=high, config=config)
    assert candidates.kind_of(info) == kind
    assert candidates.has_ratings(info) == rated
