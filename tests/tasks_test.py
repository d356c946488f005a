"""Tasks as objects: those of tfrec, and a fourth one that is a file of its own."""

import contextlib
import dataclasses
import io
import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
from html_page import Page
from outside_task import SIDE, SideTaker

import tfrec
from pipelines import measure, slices
from tfrec import tasks
from tfrec.models import MODELS
from tfrec.models.events import EventModel
from tfrec.schema import DatasetInfo
from tfrec.serving import export, export_metadata, signatures
from tfrec.training import summaries

ROOT = pathlib.Path(__file__).parent.parent
RATED = DatasetInfo("t", "t", "user", 2, 3, {"train": 5}, rating_min=1, rating_max=5)
LABELLED = dataclasses.replace(RATED, rating_min=0, rating_max=1)


# ------------------------------------------------------------------ those of tfrec


def test_a_name_and_an_object_are_the_same():
    assert tasks.get("ctr") is tasks.get(tasks.TASKS["ctr"])
    assert all(task.name == name for name, task in tasks.TASKS.items())
    with pytest.raises(ValueError, match="no task 'ratings'; did you mean 'rating'.* Task object"):
        tasks.get("ratings")


@pytest.mark.parametrize("task", tasks.TASKS.values(), ids=list(tasks.TASKS))
def test_what_is_shown_and_tabled_can_be_measured(task):
    measured = {name.partition("@")[0] for name in (*task.table, *task.figures())}
    counts = {"n_ratings", "n_rows", "n_events", "positives", "calibration"}
    of_lists = {"hr", "ndcg", "coverage"} if task.name == "rating" else set()
    assert measured - counts - of_lists <= set(task.report.directions)
    assert task.monitor in task.figures()
    assert task.figures("map@7") == tuple(dict.fromkeys((*task.shown, "map@7")))


def test_ratings_are_cut_clicks_are_probabilities_rankings_stay():
    scores = tf.constant([-2.0, 3.0, 9.0])
    found = {n: t.predictions(scores, RATED).numpy() for n, t in tasks.TASKS.items()}
    np.testing.assert_array_equal(found["rating"], [1, 3, 5])
    np.testing.assert_array_equal(found["ranking"], scores)
    np.testing.assert_allclose(found["ctr"], 1 / (1 + np.exp([2, -3, -9.0])), rtol=1e-6)


def test_only_rankings_are_cut_elsewhere():
    reports = {name: task.new_report(RATED, (3, 7)) for name, task in tasks.TASKS.items()}
    assert (reports["ranking"].ks, reports["ranking"].depth) == ((3, 7), 7)
    assert reports["rating"].ks == (5, 10)
    assert [n for n, t in tasks.TASKS.items() if t.ranks] == ["ranking"]
    assert [n for n, t in tasks.TASKS.items() if t.keeps_predictions] == ["rating"]


@pytest.mark.parametrize(
    ("task", "info", "is_setting", "message"),
    [
        ("rating", LABELLED, True, "M with task=rating: .* labels 0 and 1; train with --set task="),
        (
            "rating",
            dataclasses.replace(RATED, rating_min=5),
            False,
            "all of t are 5: .*--model=ials",
        ),
        ("ctr", RATED, True, "label_above=3, or train with --set task=rating$"),
        ("ctr", RATED, False, "M with task=ctr needs labels .*label_above=3$"),
    ],
)
def test_data_that_do_not_fit_are_refused(task, info, is_setting, message):
    with pytest.raises(ValueError, match=message):
        tasks.get(task).check(info, "M", is_setting)


def test_data_that_fit_are_not():
    tasks.get("rating").check(LABELLED, "M", False)
    tasks.get("rating").check(RATED, "M", True)
    tasks.get("ctr").check(LABELLED, "M", True)
    tasks.get("ranking").check(dataclasses.replace(RATED, rating_min=5), "M", False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"monitor": "agreements"}, "unknown metric 'agreements'; did you mean 'agreement'"),
        ({"item_signatures": ("rank",)}, "no signature 'rank'; known: regress$"),
        ({"event_signatures": ("rank",)}, "no signature 'rank'; known: regress, classify$"),
    ],
)
def test_invalid_tasks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SIDE, **change)


def test_a_task_may_depend_on_settings():
    mf = MODELS["mf"]
    info = dataclasses.replace(RATED, n_ratings={"train": 5})
    assert mf.create(info, mf.Config(loss="bpr")).task_object is tasks.TASKS["ranking"]
    assert mf.create(info, mf.Config()).task_object is tasks.TASKS["rating"]


# ------------------------------------------------------------------ a fourth


@pytest.fixture(scope="module")
def side(board, tmp_path_factory):
    """A run of the outside model on the checkerboard, and what was printed."""
    data_dir, _ = board()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        path = tmp_path_factory.mktemp("side") / "run"
        run = tfrec.fit(SideTaker, data_dir, run_dir=path, epochs=3, check_export=False)
    return run, printed.getvalue()


def test_the_best_epoch_is_chosen_by_its_own_metric(side):
    run, printed = side
    assert run.metrics["test"] == {"agreement": 1.0, "n_users": 40}
    assert "val agreement 1.0000" in printed and "rmse" not in printed
    assert run.metrics["protocol"].endswith("sides of the middle, mean over users")
    assert repr(run).splitlines()[0].endswith(": agreement 1.0000")
    assert run.evaluate() == run.metrics["test"]
    assert not list(run.path.glob("test.npz"))


def test_its_table_has_all_that_is_measured_unless_it_says_what(side):
    result, task = side[0].metrics, side[0].model.task_object
    assert task is SIDE and side[0].model.task == "side"
    names = [line.split()[0] for line in summaries.table(result, SIDE).splitlines()[1:3]]
    assert names == ["agreement", "n_users"]
    short = dataclasses.replace(SIDE, table=("n_users",))
    assert "agreement" not in summaries.table(result, short)


def test_two_runs_are_compared_by_its_monitor(side):
    path = str(side[0].path)
    assert "agreement +0.00000" in summaries.compare_runs(path, path)


def test_its_report_shows_its_metrics(side, tmp_path):
    side[0].report(tmp_path / "page.html", n_users=1)
    page = Page((tmp_path / "page.html").read_text()).check()
    rows = page.tables["Test, validation and floors"].rows
    assert rows["agreement"][0] == "1.0000 [1.0000, 1.0000]" and rows["n_users"][0] == "40"
    assert "slices-by-history" in page.sections and "calibration" not in page.sections
    assert "Recommended to user" in page.sections["recommendations"].text


def test_its_exports_have_its_description_and_signatures(side, tmp_path):
    run, _ = side
    top = signatures.make(run.model, run.data_dir, 5, tmp_path / "titles.txt")
    assert "regress" in top.signatures
    history = {"items": [[f"i{n}" for n in range(20)]], "values": [[5.0, 1.0] * 10]}
    (rated,) = top.ask("rate", history | {"candidates": [["i30", "i31"]]})["scores"].numpy()
    assert 0.5 < rated[0] <= 1 and -1 <= rated[1] < -0.5
    (tmp_path / "assets").mkdir()
    export.write_extras(top, tmp_path / "assets", tmp_path / "shop/1", {})
    readme = (tmp_path / "assets/README.md").read_text()
    assert "Predictions are sides of the middle of 1 to 5, from -1 to 1." in readme
    described = json.loads((tmp_path / "assets/assets.extra/signatures.json").read_text())
    assert described["task"] == "side"


class Undecided(EventModel):
    """Scores of 0, of events; its task is no setting."""

    @classmethod
    def task_for(cls, config):
        return config

    def call(self, features, training=False):
        zeros = tf.zeros_like(features["user"], tf.float32)
        return zeros, zeros


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "the prediction for `item`. .* `user`, the lists"),
        ({"event_signatures": ("regress",)}, "the prediction for the event. .* `user`, `item`$"),
    ],
)
def test_signatures_of_items_and_of_events(board, change, message, tmp_path):
    data_dir, _ = board()
    model = Undecided.create(DatasetInfo.load(data_dir), dataclasses.replace(SIDE, **change))
    titles = tmp_path / "titles.txt"
    top = signatures.make(model, data_dir, 5, titles, with_ratings=False)
    assert re.search(message, export_metadata.meaning(top, "regress"))
    none = dataclasses.replace(SIDE, item_signatures=())
    model = Undecided.create(DatasetInfo.load(data_dir), none)
    assert (
        "regress" not in signatures.make(model, data_dir, 5, titles, with_ratings=False).signatures
    )


def test_the_pipeline_measures_it(side):
    run, _ = side
    cut = slices.of(run.data_dir, run.model.info, None)
    found = measure.measure(run.model, run.data_dir, cut, np.zeros(0, np.int64))
    assert found.result == run.metrics["test"]
    assert "agreement" in found.values[measure.WHOLE].per_user()


def test_it_refuses_what_does_not_fit(board):
    data_dir, _ = board("user", True)
    info = dataclasses.replace(DatasetInfo.load(data_dir), rating_min=5.0)
    with pytest.raises(ValueError, match="SideTaker needs ratings that differ"):
        SideTaker.create(info)


def test_the_page_shows_the_file():
    page = (ROOT / "docs/adding-a-task.md").read_text()
    shown = page.split("```python\n")[1].split("```")[0]
    assert (ROOT / "tests/outside_task.py").read_text().endswith(shown)
