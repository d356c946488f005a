"""The commands as a user types them: from data to export, resuming, presets."""

import dataclasses
import json
import pathlib
import re
import runpy
import sys
import types

import numpy as np
import pytest
from conftest import checkerboard

from tfrec import presets
from tfrec.data.prepare import prepare
from tfrec.models.registry import MODELS


def run(capsys, command, *words, package="tfrec"):
    """Runs `python -m tfrec.COMMAND WORDS` in this process: status, out, err."""
    capsys.readouterr()
    status, message = 0, ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{package}.{command}", *words])
        try:
            runpy.run_module(f"{package}.{command}", run_name="__main__")
        except SystemExit as end:  # a text goes to stderr, with status 1
            status, message = (1, f"{end.code}\n") if isinstance(end.code, str) else (end.code, "")
    out, err = capsys.readouterr()
    return types.SimpleNamespace(status=status, out=out, err=err + message)


@pytest.fixture
def tfrec(capsys):
    """`tfrec(command, *words)`."""
    return lambda command, *words: run(capsys, command, *words)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Only the embedded data set is found; one cache for this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("TFREC_CACHE", str(folder))
        patch.delenv("TFREC_DATA", raising=False)
        patch.delenv("TFREC_DEBUG", raising=False)
        yield folder


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """Prepared data and two runs on it, of the embedded data set."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("road")
        data = str(folder / "data")
        for words in (
            ["prepare", "--split=time", f"--data_dir={data}", "--data", "test=0.2"],
            [*SMALL, f"--data_dir={data}", f"--run_dir={folder / 'run'}"],
            [*BIASES, f"--data_dir={data}", f"--run_dir={folder / 'b'}"],
        ):
            patch.setattr(sys, "argv", [f"tfrec.{words[0]}", *words[1:]])
            runpy.run_module(f"tfrec.{words[0]}", run_name="__main__")
        yield types.SimpleNamespace(folder=folder, data=data, run=str(folder / "run"))


SMALL = ["train", "--model=autoencoder", "--set", "hidden=8", "--train", "epochs=1", "--nodry_run"]
BIASES = ["train", "--model=biases", "--nodry_run"]


def listing(folder):
    """Everything below a folder: names and contents."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in pathlib.Path(folder).rglob("*")
    }


# ------------------------------------------------------------------ from data to export


def test_train_uses_prepared_data_unchanged(road):
    config = json.loads((road.folder / "run/config.json").read_text())
    assert config["data"]["split"] == "time"
    assert config["data"]["test"] == 0.2
    assert config["data_dir"] == road.data


def test_a_dry_run_changes_nothing_of_the_training(tfrec, road, tmp_path):
    words = [*SMALL[:-1], f"--data_dir={road.data}", f"--run_dir={tmp_path / 'run'}"]
    assert tfrec(*words).status == 0
    found = [json.loads((x / "run/metrics.json").read_text()) for x in (road.folder, tmp_path)]
    assert found[0]["test"] == found[1]["test"]
    assert found[0]["validation"] == found[1]["validation"]


def test_a_model_that_can_not_be_exported_is_not_trained(tfrec, road, tmp_path, monkeypatch):
    def score(self, features):
        return features["ratings"]

    monkeypatch.setattr(MODELS["autoencoder"], "score", score)
    words = [*SMALL[:-1], f"--data_dir={road.data}", f"--run_dir={tmp_path / 'run'}"]
    done = tfrec(*words)
    assert done.status == 1
    assert re.match("error: AutoEncoder cannot be exported, so nothing was trained", done.err)
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_train_writes_what_later_commands_need(road):
    assert {p.name for p in (road.folder / "run").iterdir()} == {
        "config.json", "metrics.json", "model.keras", "per_user.npz", "record.json", "logs",
        "validation.npz", "test.npz", "history.csv",
    }  # fmt: skip


def test_evaluate_repeats_the_test_of_the_run(tfrec, road):
    done = tfrec("evaluate", f"--run_dir={road.run}")
    metrics = json.loads((road.folder / "run/metrics.json").read_text())
    assert re.search(r"^rmse +(\S+)$", done.out, re.M)[1] == f"{metrics['test']['rmse']:.4f}"
    assert metrics["protocol"] in done.out
    assert done.status == 0


def test_evaluate_against_another_run(tfrec, road):
    done = tfrec("evaluate", f"--run_dir={road.run}", f"--against={road.folder / 'b'}")
    assert re.search(r"rmse [+-]0\.\d+ \[.*\] \(95 %\), p = ", done.out)
    unknown = tfrec("evaluate", f"--run_dir={road.run}", f"--against={road.folder}", "--metric=mae")
    assert unknown.status == 1
    assert "per_user.npz does not exist" in unknown.err
    assert (
        "did you mean 'rmse'"
        in tfrec(
            "evaluate", f"--run_dir={road.run}", f"--against={road.folder / 'b'}", "--metric=rsme"
        ).err
    )


def test_evaluate_refuses_validation_that_was_trained_on(tfrec, road, tmp_path):
    run_dir = f"--run_dir={tmp_path / 'run'}"
    tfrec(*SMALL, "--train", "refit=true", f"--data_dir={road.data}", run_dir)
    done = tfrec("evaluate", run_dir, "--part=validation")
    assert "on train + validation" in done.err


def recommended(text):
    """Item ids of a printed table."""
    return re.findall(r"^ *\d+ +(\d+) +-?\d", text, re.M)


def test_recommend_leaves_out_what_a_known_user_rated(tfrec, road):
    done = tfrec("recommend", f"--run_dir={road.run}", "--user=1", "--k=20")
    note = re.match(r"user 1: (\d+) rated items, left out below", done.out)
    everything = tfrec("recommend", f"--run_dir={road.run}", "--user=1", "--k=100000").out
    items = (pathlib.Path(road.data) / "items.txt").read_text().split()
    assert len(recommended(everything)) == len(items) - int(note[1])
    assert recommended(everything)[:20] == recommended(done.out)
    assert len(set(recommended(everything))) == len(recommended(everything))


def test_recommend_for_a_history_names_the_unknown_items(tfrec, road):
    done = tfrec("recommend", f"--run_dir={road.run}", "--items=1:5, 50:3,x:2,y", "--k=5")
    assert done.out.startswith("unknown items, ignored: x, y\n")
    assert len(recommended(done.out)) == 5
    known = tfrec("recommend", f"--run_dir={road.run}", "--items=1:5,50:3", "--k=5", "--explain")
    assert recommended(known.out) == recommended(done.out)
    reasons = re.findall(r"^ +because of (.*) \((\d+)%\)$", known.out, re.M)
    assert reasons and all("(1995)" in titles for titles, _ in reasons)
    assert not {"1", "50"} & set(recommended(done.out))
    assert re.search(r"  \S.* \(\d{4}\) +\w+", done.out), "titles and genres"


def test_an_item_without_a_rating_has_the_highest(tfrec, road):
    answers = [
        tfrec("recommend", f"--run_dir={road.run}", f"--items={items}", "--k=5").out
        for items in ("1,50:3", "1:5,50:3", "1:1,50:3")
    ]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--items=x:5,y:3"], "--items: none of x, y is in .*items.txt"),
        (["--items=1:5.5"], "--items: 5.5 for item 1 is no rating of ml-.*: they go from 0.5 to 5"),
        (["--items=1:5,50:0"], "--items: 0 for item 50 is no rating of ml-latest-small"),
        (["--items=1:five"], "--items: '1:five' is not of the form item:rating"),
        (["--items=1:nan"], "--items: '1:nan' is not of the form item:rating"),
        (["--items=1:5,"], "--items: '' is not of the form item:rating"),
        (["--items=1:5,1:3"], "--items: item 1 is given twice"),
        (["--user=stranger"], "no user 'stranger' in .*users.txt, which knows .*--items"),
        (["--user=1", "--items=1:5"], "give one of --user"),
        (["--user=1", "--k=0"], "flag --k=0: "),
        (["--similar=1", "--explain"], "--explain goes with --user or --items"),
    ],
)
def test_a_request_that_can_not_be_answered(tfrec, road, words, expected):
    done = tfrec("recommend", f"--run_dir={road.run}", *words)
    assert done.status == 1
    assert re.match("error: .*" + expected, done.err), done.err
    assert done.err.count("\n") == 1


def test_export_counts_versions_and_prints_a_request(tfrec, road, monkeypatch):
    monkeypatch.setattr("tfrec.serving.export.check", lambda aside: None)  # see serving_test
    base = road.folder / "served"
    for version in (1, 2):
        done = tfrec("export", f"--run_dir={road.run}", f"--export_dir={base}")
        assert f"exported: {base / str(version)}\n" in done.out
        assert f"--model_base_path={base}\n" in done.out
    assert sorted(p.name for p in base.iterdir()) == ["1", "2"]
    body = json.loads(re.search(r"curl -d '(.*)' http", done.out)[1])
    assert np.shape(body["inputs"]["items"]) == np.shape(body["inputs"]["values"]) == (1, 3)
    assert "  recommend_example: inputs string [batch] -> items string [batch, 20], " in done.out
    page = base / "2/README.md"
    assert str(page) in done.out
    assert page.read_text().startswith("# AutoEncoder on ml-latest-small\n")


def test_list_presets_shows_every_number_with_its_source(tfrec):
    done = tfrec("train", "--list_presets")
    assert done.status == 0
    for name, preset in (presets.PRESETS | presets.ENSEMBLES).items():
        assert name in done.out
        assert all(f"{x:g}"[1:] in done.out for x in preset.published.values())


# ------------------------------------------------------------------ resume and run directories


def test_resume_of_a_finished_run_changes_nothing(tfrec, road):
    before = listing(road.run)
    done = tfrec(*SMALL, f"--data_dir={road.data}", f"--run_dir={road.run}", "--resume")
    assert done.status == 0
    assert "this run is finished" in done.out
    assert listing(road.run) == before


def test_resume_with_other_settings_is_refused(tfrec, road):
    before = listing(road.run)
    for words, expected in (
        (["--set", "dropout=0.25"], r"\(settings.dropout is 0.5, requested is 0.25\)"),
        (["--seed=3"], r"\(train.seed is 0, requested is 3\)"),
        (["--train", "epochs=2"], r"\(train.epochs is 1, requested is 2\)"),
    ):
        done = tfrec(*SMALL, *words, f"--data_dir={road.data}", f"--run_dir={road.run}", "--resume")
        assert done.status == 1
        assert re.search("was started with other settings " + expected, done.err), done.err
    assert listing(road.run) == before


def test_overwrite_removes_the_run_and_nothing_else(tfrec, road, tmp_path):
    words = ["train", "--model=popularity", f"--data_dir={road.data}", f"--run_dir={tmp_path}"]
    words.append("--nodry_run")
    (tmp_path / "notes.txt").write_text("mine")
    tfrec(*words)
    (tmp_path / "logs/old").write_text("")
    done = tfrec(*words, "--overwrite")
    assert done.status == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "logs/old").exists()


def test_an_unprepared_data_set_is_prepared_once_with_a_message(tfrec, cache, tmp_path):
    words = ["train", "--model=popularity", "--data", "seed=5", "--nodry_run"]
    first = tfrec(*words, f"--run_dir={tmp_path / '1'}")
    second = tfrec(*words, f"--run_dir={tmp_path / '2'}")
    assert first.out.startswith(f"preparing ml-latest-small (random split) into {cache}/prepared/")
    assert second.out.startswith("data:  ml-latest-small")
    metrics = [json.loads((tmp_path / r / "metrics.json").read_text())["test"] for r in "12"]
    assert metrics[0] == metrics[1]


# ------------------------------------------------------------------ presets


def over_days(raw, data):
    """The ratings spread over the days that a split by days or months needs."""
    days = np.array([data.since or "2015-01-01", data.until or "2015-06-01"], "datetime64[s]")
    first, last = days.astype(np.int64)
    (frame,) = raw.chunks()
    share = frame["time"] / (frame["time"].max() + 1)
    frame = frame.assign(time=(first + share * (last - first)).astype(np.int64))
    return dataclasses.replace(raw, chunks=lambda: iter([frame]))


@pytest.mark.parametrize("name", [name for name, p in presets.PRESETS.items() if p.data])
def test_a_preset_is_an_experiment_that_can_be_run(name, tmp_path):
    preset = presets.PRESETS[name]
    cls = MODELS[preset.model]
    assert name.startswith((f"{preset.model}-", f"u{preset.model}-", "best-"))
    settings = dataclasses.replace(cls.Config(), **{**cls.paper_settings, **preset.settings})
    dataclasses.replace(cls.paper, **preset.train)
    assert cls.rows(settings) == preset.data.rows
    raw = over_days(checkerboard(likes_only=False), preset.data)
    assert preset.data.rule.name == preset.data.split
    few = {"test": 5, "validation": 5} if preset.data.split == "users" else {}
    info = prepare(raw, dataclasses.replace(preset.data, **few), tmp_path / "d", progress=False)
    if "gender" in preset.settings.get("fields", ()):  # the checkerboard has ids alone
        settings = dataclasses.replace(settings, fields=("user", "item"), samples=2)
    assert cls.create(info, settings).built
    assert info.n_ratings["test"] or preset.data.validation == 1


def test_flags_override_a_preset(tfrec, tmp_path):
    done = tfrec(
        "train", "--preset=autoencoder-latestsmall-time98", "--set", "hidden=4", "--train",
        "epochs=1", f"--run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.status == 0, done.err
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["settings"]["hidden"] == [4]
    assert config["settings"]["activation"] == "relu"
    assert config["data"]["split"] == "time"
    assert config["preset"] == "autoencoder-latestsmall-time98"
