"""The ML-20M preset on a small set of the same layout: the real one was not at hand."""

import json

import numpy as np
import pytest
from commands_test import run

from tfrec.schema import DatasetInfo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`ratings.csv` and `movies.csv` as in ml-20m.zip: 120 users, two tastes, half stars."""
    folder = tmp_path_factory.mktemp("raw") / "ml-20m"
    folder.mkdir()
    random = np.random.default_rng(0)
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(1, 121):
        for item in random.choice(60, 24, replace=False):
            likes = (item + user) % 2 == 0
            value = random.choice([4.0, 4.5, 5.0] if likes else [0.5, 2.0, 3.5])
            lines.append(f"{user},{item * 7 + 1},{value},{1_100_000_000 + int(item)}")
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    movies = [f'{item * 7 + 1},"Film {item}, The (1999)",Drama|War' for item in range(60)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    return folder


def test_preset_runs_from_raw_files_to_its_metrics(capsys, monkeypatch, tmp_path, folder):
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
    fewer = ["--data", "test=20", "--data", "validation=20"]
    small = ["--train", "epochs=4", "--train", "batch_size=20", "--train", "learning_rate=0.02"]
    done = run(
        capsys, "train", "--preset=multvae-ml20m-users", f"--raw={folder}", *fewer, *small,
        "--set", "hidden=16", "--set", "latent=8",
        f"--data_dir={tmp_path / 'data'}", f"--run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.status == 0, done.err
    info = DatasetInfo.load(tmp_path / "data")
    assert info.row_counts["train"] == 80
    assert info.dropped["min_rating"] > 1000  # 3.5 and lower: the dislikes
    test = json.loads((tmp_path / "run/metrics.json").read_text())["test"]
    # a user likes 30 of 60 items and sees about 10 of them: chance is about .08 at 10
    assert {"recall_min@20", "recall_min@50", "ndcg@100"} <= test.keys()
    assert test["ndcg@100"] > 0.35
