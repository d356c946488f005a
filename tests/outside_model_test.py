"""docs/adding-a-model.md as a user follows it: one file, the commands, other processes."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "docs/adding-a-model.md").read_text()
# As `python -m` does, with the folder first in the path.
IN_ONE_PROCESS = """
import json, runpy, sys
for sys.argv in json.loads(sys.argv[1]):
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
"""


def blocks(language):
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_the_file_that_the_battery_runs():
    shown = blocks("python")[0]
    assert shown in (ROOT / "tests/outside_model.py").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the file, in which one process has trained, another one done the rest."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "linear_ranker.py").write_text(blocks("python")[0])
    environment = {**os.environ, "TFREC_CACHE": str(folder / "cache"), "PYTHONPATH": path()}
    train, *others = (shlex.split(line)[2:] for line in blocks("bash")[0].splitlines())
    for number, commands in enumerate(([[*train, "--train", "epochs=2"]], others)):
        words = [sys.executable, "-c", IN_ONE_PROCESS, json.dumps(commands)]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        (folder / f"{number}.txt").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr
    return folder


def path():
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def test_it_is_trained_and_found_again_in_other_processes(folder):
    config = json.loads((folder / "runs/linear/config.json").read_text())
    assert config["model"] == "linear_ranker:LinearRanker"
    assert config["settings"]["dropout"] == 0.3
    text = (folder / "1.txt").read_text()
    assert len(re.findall(r"^ +[1-5] +\d+ ", text, re.M)) == 5
    assert (folder / "saved_models/linear/1/saved_model.pb").exists()


def test_its_module_is_asked_for_where_it_is_missing(folder, tmp_path, monkeypatch):
    import tfrec

    monkeypatch.chdir(tmp_path)
    run = tfrec.load(folder / "runs/linear")
    with pytest.raises(ValueError, match="--model=linear_ranker:LinearRanker cannot be imported"):
        run.recommend(users=["1"])
    served = tfrec.Served(folder / "saved_models/linear").recommend(histories=[["1", "50"]], k=3)
    assert served["rank"].tolist() == [1, 2, 3]
