"""The page of a run: its sections and figures, for each task; what is refused."""

import json
import types

import numpy as np
import pytest
from commands_test import run as run_command
from conftest import checkerboard
from html_page import Page

import tfrec
from tfrec.api.reporting.measured import Measured
from tfrec.config import DataConfig
from tfrec.data.prepare import prepare
from tfrec.metrics import interval
from tfrec.training.runs import RunDir

QUIET = {"verbose": False, "check_export": False, "batch_size": 16}
EVERY = {"protocol", "metrics", "learning-curves", "slices-by-popularity", "new-users-and-items",
         "slices-by-history", "popularity-bias-and-coverage", "recommendations"}  # fmt: skip


@pytest.fixture(scope="module")
def runs(board, tmp_path_factory):
    """A run of each task on the checkerboard, and one that ranks the same data in another way."""
    folder = tmp_path_factory.mktemp("reported")
    likes, ratings = board(likes_only=True)[0], board()[0]
    clicks = str(folder / "clicks")
    config = DataConfig(dataset="checkerboard", split="folds", validation=0.1, label_above=3)
    prepare(checkerboard(False), config, clicks, progress=False)
    wanted = {
        "ranking": ("multdae", likes, {"epochs": 2}),
        "ease": ("ease", likes, {}),
        "rating": ("autoencoder", ratings, {"epochs": 2, "hidden": (8,)}),
        "ctr": ("fm", clicks, {"epochs": 2, "task": "ctr"}),
    }
    return {
        name: tfrec.fit(model, data, run_dir=folder / name, **QUIET, **settings)
        for name, (model, data, settings) in wanted.items()
    }


@pytest.fixture(scope="module")
def pages(runs, tmp_path_factory):
    """The runs' pages; that of the ranking run compares another run."""
    folder, found = tmp_path_factory.mktemp("pages"), {}
    for name in ("ranking", "rating", "ctr"):
        against = [runs["ease"]] if name == "ranking" else []
        runs[name].report(folder / f"{name}.html", against, n_users=2)
        found[name] = Page((folder / f"{name}.html").read_text(encoding="utf-8")).check()
    return found


@pytest.mark.parametrize(
    ("name", "more"),
    [("ranking", {"comparison"}), ("rating", {"calibration"}), ("ctr", {"calibration"})],
)
def test_every_section_is_there(pages, name, more):
    assert set(pages[name].sections) == EVERY | more
    assert pages[name].root.all("nav")[0].text.count(" ") >= len(EVERY)


@pytest.mark.parametrize("name", ["ranking", "rating", "ctr"])
def test_its_figures_are_those_that_the_run_measured(pages, runs, name):
    measured = json.loads((runs[name].path / "metrics.json").read_text())
    assert measured["protocol"] in pages[name].sections["protocol"].text
    tables = pages[name].tables
    shown = tables["Test, validation and floors"].rows
    more = tables["All other metrics"].rows if "All other metrics" in tables else {}
    assert {*shown, *more} == set(measured["test"])
    for metric, (test, validation, *floors) in {**shown, **more}.items():
        for text, column in (
            (test, measured["test"]),
            (validation, measured["validation"]),
            *zip(floors, measured["floors"].values(), strict=True),
        ):
            value, found = column.get(metric), text.split(" [")[0].replace(",", "")
            assert found == "-" if value is None else float(found) == pytest.approx(value, abs=5e-5)
    monitor = runs[name].config.task.monitor
    due = interval(RunDir(runs[name].path).load_per_user(), monitor)
    assert shown[monitor][0].endswith(f"[{due.low:.4f}, {due.high:.4f}]")


def test_slices_add_up_to_the_whole(pages, runs):
    table = pages["ranking"].tables["Test users by length of history"]
    rows = list(table.rows.values())
    users = np.array([int(row[0]) for row in rows])
    means = np.array([float(row[1].split(" [")[0]) for row in rows])
    assert users.sum() == 40
    whole = runs["ranking"].metrics["test"]["ndcg@100"]
    assert (users @ means) / 40 == pytest.approx(whole, abs=1e-3)
    head = [th.text for th in table.all("th", scope="col")]
    assert head[-2:] == ["ease: ndcg@100", "popularity: ndcg@100"]
    counts = [
        int(row[0])
        for row in pages["rating"].tables["Predictions by popularity of the item"].rows.values()
    ]
    assert sum(counts) == runs["rating"].metrics["test"]["n_ratings"] == 80


def test_models_are_side_by_side_with_titles_and_history(pages, runs):
    page = pages["ranking"]
    lists = [t for name, t in page.tables.items() if name.startswith("Recommended to user")]
    assert len(lists) == 2
    for table in lists:
        assert [th.text for th in table.all("th", scope="col")] == [
            "rank",
            "multdae",
            "ease",
            "popularity",
        ]
        assert all("Film " in cell for row in table.rows.values() for cell in row)
    text = page.sections["recommendations"].text
    assert text.count("History, the newest first: Film ") == text.count("Held out: Film ") == 2
    exposure = page.tables["What is recommended"].rows
    assert set(exposure) == {"multdae", "ease", "popularity"}
    assert exposure["ease"][1] == "100.0 %" and float(exposure["ease"][2]) < 0.5


def test_calibration_counts_every_prediction(pages, runs):
    for name, labels in (("rating", {"1", "5"}), ("ctr", {"0", "1"})):
        by_value = pages[name].tables["By actual value"].rows
        assert set(by_value) == labels
        by_prediction = pages[name].tables["By prediction"].rows
        assert sum(int(row[0]) for row in by_prediction.values()) == 80
        assert sum(int(row[0]) for row in by_value.values()) == 80
    errors = [
        (int(row[0]), float(row[3]))
        for row in pages["rating"].tables["By actual value"].rows.values()
    ]
    due = runs["rating"].metrics["test"]["rmse"]
    assert sum(n * rmse**2 for n, rmse in errors) / 80 == pytest.approx(due**2, abs=2e-2)


def test_the_command_writes_into_the_run_and_shows_the_users_asked_for(runs, capsys):
    path = runs["ease"].path
    done = run_command(capsys, "report", str(path), "--users=u7,u3")
    assert (done.status, done.err) == (0, "") and f"page: {path}/report.html" in done.out
    page = Page((path / "report.html").read_text(encoding="utf-8")).check()
    assert [h.text for h in page.sections["recommendations"].all("h3")] == ["User u7", "User u3"]
    assert path / "report.html" in RunDir(path).files()  # removed when the run is replaced


def test_what_cannot_be_reported_is_refused(runs, capsys, tmp_path, monkeypatch):
    path, page = runs["ease"].path, f"--html={tmp_path / 'page.html'}"
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    for name in ("config.json", "history.csv"):
        (stopped / name).write_bytes((path / name).read_bytes())
    untested = tmp_path / "untested"
    untested.mkdir()
    (untested / "config.json").write_bytes((path / "config.json").read_bytes())
    (untested / "metrics.json").write_text(json.dumps(runs["ease"].metrics | {"test": {}}))
    for words, due in (
        ([], ["--run_dir"]),
        ([str(tmp_path / "none")], ["config.json", "python -m tfrec.train --run_dir="]),
        ([str(stopped)], ["was stopped before its end", "1 of", "--resume"]),
        ([str(untested)], ["no test values", "--resume"]),
        ([str(path), f"--against={stopped}"], [f"--against={stopped}", "--resume"]),
        ([str(path), f"--against={runs['ctr'].path}"], ["different data"]),
        ([str(path), "--users=u7,stranger"], ["--users=stranger", "unknown", "u0"]),
        ([str(path), "u7"], ["'u7' is not a flag"]),
    ):
        done = run_command(capsys, "report", *words, page)
        assert done.status == 1 and all(part in done.err for part in due), done.err
    done = run_command(capsys, "report", str(path), f"--html={tmp_path}/no/page.html")
    assert "--html" in done.err and "no folder" in done.err
    assert not (tmp_path / "page.html").exists()


def test_a_run_on_other_users_cannot_be_compared(runs, tmp_path):
    ease = runs["ease"]
    (tmp_path / "users.txt").write_text("".join(f"x{user}\n" for user in ease.users))
    other = types.SimpleNamespace(
        path="other", info=ease.info, items=ease.items, data_dir=tmp_path, config=ease.config
    )
    with pytest.raises(ValueError, match="--against=other was trained on other users.*--data_dir="):
        Measured(ease, [other])
