"""What is loaded when: most of tfrec goes without TensorFlow."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent

SCRIPT = """
import sys

import tfrec

heavy = {"tensorflow", "keras", "pandas", "numpy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)

found = tfrec.metrics.rating([3.5, 9], [4, 5], high=5)
assert found["mae"] == 0.25, found
found = tfrec.metrics.clicks([0.1, 0.7, 0.4], [0, 1, 1], users=[1, 1, 2])
assert found["auc"] == 1 and found["gauc_users"] == 1, found
assert tfrec.tasks.TASKS["rating"].monitor == "rmse"
assert not {"tensorflow", "keras", "pandas"} & set(sys.modules)

import pandas

frame = pandas.DataFrame({"user": [1, 2] * 4, "item": list("aabbccdd"), "time": range(8)})
parts = tfrec.splits.last(frame)
assert parts.train["item"].tolist() == list("aabb")
shown = pandas.DataFrame({"user": [1, 1, 2], "item": ["e", "d", "e"], "rank": [1, 2, 1]})
found = tfrec.metrics.ranking(shown, parts.test, ks=(2,), n_items=5)
assert found["mrr@2"] == 0.25 and found["coverage@2"] == 0.4, found
data = tfrec.Dataset.from_pandas(frame, time="time")
assert "interactions 8" in repr(data), repr(data)
assert not {"tensorflow", "keras"} & set(sys.modules)
"""


def test_frames_and_arrays_go_without_tensorflow():
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert not found.returncode, found.stderr


def test_preparing_goes_without_tensorflow(tmp_path):
    """In a worker, or alone: the import would take more memory than a partition does."""
    pytest.importorskip("google_crc32c")
    script = f"""
import sys
import pathlib
import pipelines.partitions
from pipelines import statistics_gen
from tfrec import prepare
sys.argv += ["--split=last", "--partitions=3", "--data_dir={tmp_path / "rows"}"]
prepare.COMMAND.run()
(file, *_) = pathlib.Path({str(tmp_path / "rows")!r}).glob("train-*")
assert statistics_gen._of_file(str(file))["train"].n
assert not {{"tensorflow", "keras"}} & set(sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert not found.returncode, found.stderr
    assert "100,836 ratings in 3 partitions" in found.stdout
    assert len(list((tmp_path / "rows").glob("train-*-of-00004.tfrecord"))) == 4
