"""Files and folders appear only when whole."""

import pathlib
import signal
import subprocess
import sys

import pytest

from tfrec import aside


def listing(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with aside.file(path) as partial:
        partial.write_text("new")
        assert partial.suffix == ".keras"
        assert path.read_text() == "old"
    assert listing(tmp_path) == {"model.keras": "new"}


def test_a_failure_keeps_the_file_and_names_it(tmp_path):
    path = tmp_path / "state.npz"
    path.write_text("old")
    with pytest.raises(OSError, match="No space") as found, aside.file(path) as partial:
        partial.write_text("half")
        raise OSError(28, "No space left on device")
    assert found.value.filename == str(path)
    assert listing(tmp_path) == {"state.npz": "old"}


def test_a_failure_without_a_number_keeps_its_text(tmp_path):
    with pytest.raises(OSError, match="^unable to lock$"), aside.file(tmp_path / "a"):
        raise OSError("unable to lock")


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_is_replaced_at_the_end_of_the_block(tmp_path, is_there, monkeypatch):
    path = tmp_path / "above/data"
    if is_there:
        path.mkdir(parents=True)
        (path / "old").write_text("1")
    with aside.folder(path) as partial:
        (partial / "new").write_text("2")
        assert (path / "old").exists() == is_there
    assert listing(tmp_path) == {"above/data/new": "2"}
    monkeypatch.chdir(path)
    with aside.folder(".") as partial:
        (partial / "newer").write_text("3")
    assert listing(tmp_path) == {"above/data/newer": "3"}
    assert [p.name for p in path.parent.iterdir()] == ["data"]


def test_what_a_killed_process_of_the_same_number_left_is_removed(tmp_path):
    stopped = aside.folder(tmp_path / "data")
    (stopped.__enter__() / "half").write_text("1")  # the block never ends
    with aside.folder(tmp_path / "data") as partial:
        (partial / "whole").write_text("2")
    assert listing(tmp_path) == {"data/whole": "2"}


KILLED = """
import os, pathlib, signal, sys
from tfrec import aside
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
path, rename = pathlib.Path(sys.argv[1]), pathlib.Path.rename
def killing(self, target):
    if target == path and sys.argv[2] == "rename":
        kill()
    return rename(self, target)
pathlib.Path.rename = killing
with aside.folder(path) as partial:
    (partial / "new").write_text("2")
    if sys.argv[2] == "block":
        kill()
"""


@pytest.mark.parametrize(("when", "expected"), [("block", "old"), ("rename", "new")])
def test_what_another_killed_process_left_is_swept_or_ended(tmp_path, when, expected):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/old").write_text("1")
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "data", when])
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    aside.sweep(tmp_path)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == [
        "data",
        f"data/{expected}",
    ]
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "data", "rename"])
    with aside.folder(tmp_path / "data") as partial:
        (partial / "whole").write_text("3")
    assert listing(tmp_path) == {"data/whole": "3"}


@pytest.mark.parametrize("when", ["block", "rename"])
def test_a_failure_keeps_the_folder(tmp_path, when, monkeypatch):
    path = tmp_path / "data"
    path.mkdir()
    (path / "old").write_text("1")
    rename = pathlib.Path.rename

    def refuse(self, target):
        if pathlib.Path(target) == path and (self / "new").exists():
            raise PermissionError(when)
        return rename(self, target)

    def work():
        with aside.folder(path) as partial:
            (partial / "new").write_text("2")
            if when == "block":
                raise PermissionError(when)

    monkeypatch.setattr(pathlib.Path, "rename", refuse)
    with pytest.raises(PermissionError, match=when):
        work()
    assert listing(tmp_path) == {"data/old": "1"}
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
