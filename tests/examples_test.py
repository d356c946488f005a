"""examples/ as a reader runs them, on a part of the embedded data set that takes seconds."""

import importlib.resources
import io
import pathlib
import re
import runpy
import zipfile

import pandas as pd
import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
SLOW = {"ratings", "next_item", "ctr", "serving"}  # more than ten seconds
PRINTS = {
    "ratings": r"test RMSE       0\.\d{4}",
    "top_n": r"lists for \d+ users are in recommendations.parquet",
    "next_item": r"(?m)^sasrec +\d\.\d+",
    "ctr": r"(?m)^auc +0\.\d{4}$",
    "own_data": r"(?m)^0 +0 +1 +tea-\d+",
    "serving": r"(?m)^2 +0 +3 +\d+",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """ml-latest-small with its 80 most active users and 200 most rated items."""
    embedded = importlib.resources.files("tfrec.datasets") / "embedded/ml-latest-small.zip"
    with zipfile.ZipFile(io.BytesIO(embedded.read_bytes())) as archive:
        names = ("ratings.csv", "movies.csv")
        ratings, movies = (pd.read_csv(archive.open(f"ml-latest-small/{x}")) for x in names)
    items = {1, 3114, 593, 4886, 78499, *ratings["movieId"].value_counts().index[:200]}
    users = {1, 2, *ratings["userId"].value_counts().index[:80]}
    ratings = ratings[ratings["movieId"].isin(items) & ratings["userId"].isin(users)]
    folder = tmp_path_factory.mktemp("small")
    with zipfile.ZipFile(folder / "ml-latest-small.zip", "w") as archive:
        for name, frame in (("ratings", ratings), ("movies", movies)):
            archive.writestr(f"ml-latest-small/{name}.csv", frame.to_csv(index=False))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.stem, marks=[pytest.mark.slow] * (path.stem in SLOW))
        for path in sorted(EXAMPLES.glob("*.py"))
    ],
)
def test_an_example_runs(name, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFREC_DATA", str(small))
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert re.search(PRINTS[name], capsys.readouterr().out)


def test_examples_are_short_and_literate():
    for path in EXAMPLES.glob("*.py"):
        lines = path.read_text().splitlines()
        assert len(lines) < 60 and lines.count("# %%") <= 1, path
        assert sum(line.startswith("# %%") for line in lines) >= 4, path
