"""Comparison of runs: intervals, significance tests, trained and reused runs."""

import numpy as np
import pytest
from html_page import Page

import tfrec
from tfrec.__main__ import command
from tfrec.metrics import comparison
from tfrec.training.runs import RunDir

SETTINGS = {"batch_size": 16}


@pytest.fixture(scope="module")
def compared(board, tmp_path_factory):
    """Three models on the checkerboard, and the folder of their runs."""
    folder = tmp_path_factory.mktemp("compared")
    data_dir, _ = board(likes_only=True)
    models = ["popularity", "ease", "weightedease"]
    return tfrec.compare(models, data_dir, run_dir=folder, verbose=False, **SETTINGS), folder


def test_the_best_is_first_with_intervals_and_holms_correction(compared):
    table, folder = compared
    frame = table.frame
    assert frame.index[-1] == "popularity"  # it cannot distinguish users of the checkerboard
    assert (frame["ndcg@100 low"] <= frame["ndcg@100"]).all()
    assert (frame["ndcg@100"] <= frame["ndcg@100 high"]).all()
    best = frame.index[0]
    values = {
        p.name.split("-")[0]: RunDir(p).load_per_user() for p in folder.iterdir() if p.is_dir()
    }
    tests = [comparison.compare(values[n], values[best], "ndcg@100") for n in frame.index[1:]]
    assert frame["to_best"].tolist() == [0, *(t.mean_difference for t in tests)]
    np.testing.assert_allclose(
        frame["p_value"].tolist()[1:], tfrec.metrics.holm([t.p_value for t in tests])
    )
    assert frame.loc["popularity", "p_value"] < 0.01
    text = str(table)
    assert table.protocol in text and "popularity" in text.splitlines()[-3]


def test_what_is_finished_is_not_trained_again(compared, board, capsys):
    table, folder = compared
    data_dir, _ = board(likes_only=True)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("model.keras")}
    ease = tfrec.load(next(folder.glob("ease-*")))
    again = tfrec.compare([ease, "popularity"], data_dir, run_dir=folder, **SETTINGS)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("model.keras")} == before
    assert again.frame["ndcg@100"].tolist() == table.frame["ndcg@100"][again.frame.index].tolist()


def test_runs_that_cannot_be_compared_are_refused(compared, board, tmp_path):
    _, folder = compared
    other, _ = board()
    ease = next(folder.glob("ease-*"))
    with pytest.raises(ValueError, match="at least two"):
        tfrec.compare([ease])
    with pytest.raises(ValueError, match="'popularity' is no run directory.*--data_dir"):
        tfrec.compare([ease, "popularity"])
    elsewhere = tfrec.fit("popularity", other, run_dir=tmp_path / "other", verbose=False)
    with pytest.raises(ValueError, match="different (users|targets|protocols)"):
        tfrec.compare([ease, elsewhere])


def test_runs_of_different_tasks_are_compared_by_their_lists(board, tmp_path):
    data_dir, _ = board()
    table = tfrec.compare(["biases", "ease"], data_dir, run_dir=tmp_path, verbose=False)
    assert table.metrics == ("ndcg@10", "hr@10")
    assert "hits are held-out items from 4" in table.protocol
    assert set(table.frame.index) == {"biases", "ease"}


def test_the_command_writes_the_table(compared, monkeypatch, tmp_path, capsys):
    _, folder = compared
    runs = ",".join(str(path) for path in sorted(folder.iterdir()) if path.is_dir())
    page, numbers = tmp_path / "table.html", tmp_path / "table.csv"
    words = [f"--runs={runs}", f"--html={page}", f"--csv={numbers}", "--metrics=hr@10"]
    monkeypatch.setattr("sys.argv", ["tfrec compare", *words])
    command("compare").run()
    assert callable(tfrec.compare)  # the function, or the command's module that has its name
    assert "hr@10" in capsys.readouterr().out
    shown = Page(page.read_text()).check().tables["Runs, the best first"].rows
    table, _ = compared
    assert set(shown) == set(table.frame.index) and "hr@10 low" in numbers.read_text()
