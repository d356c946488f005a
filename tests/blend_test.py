"""Blends: weights by hand, members that do not fit, and the road by preset."""

import dataclasses
import json
import re

import numpy as np
import pytest
from commands_test import cache, run, tfrec  # noqa: F401  (fixtures)

from tfrec import config as config_lib
from tfrec import presets
from tfrec.config import DataConfig, TrainConfig
from tfrec.schema import DatasetInfo
from tfrec.training import blend
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

USER, ITEM = [0, 0, 1, 1], [0, 1, 0, 2]
VALUE = {"validation": [4.0, 2.0, 3.0, 5.0], "test": [1.0, 5.0, 4.0, 3.0]}


@pytest.fixture
def member(tmp_path):
    """`member(name, validation, test)` -> the directory of a finished run with these guesses."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    info = DatasetInfo("toy", "toy split", "user", 2, 3, {"test": 4})
    (data_dir / "info.json").write_text(json.dumps(info.to_dict()))

    def make(name, validation, test, **other):
        run_dir = RunDir(tmp_path / name)
        run_dir.start(RunConfig("biases", {}, DataConfig(), str(data_dir), TrainConfig()))
        run_dir.write_json("metrics.json", {"seconds": 1.5, "peak_memory_mb": 7})
        for part, guesses in (("validation", validation), ("test", test)):
            columns = {"user": USER, "item": ITEM, "value": VALUE[part], "prediction": guesses}
            columns = {k: np.array(v) for k, v in (columns | other).items()}
            run_dir.save_predictions(part, columns)
        return str(run_dir.path)

    return make


def test_weights_of_the_least_squared_error_and_none_below_0():
    a, b = np.array([1.0, 2, 3, 5]), np.array([2.0, 1, 4, 3])
    np.testing.assert_allclose(blend.weights(np.stack([a, b], 1), 0.7 * a + 0.2 * b), [0.7, 0.2])
    alone = a @ (a - 0.1 * b) / (a @ a)
    np.testing.assert_allclose(blend.weights(np.stack([a, b], 1), a - 0.1 * b), [alone, 0])


def test_a_blend_by_hand(member, tmp_path):
    """Validation: the values are half of each; test: (.5, 4.5, 5.5, 3) against 1, 5, 4, 3."""
    members = [
        member("a", [8.0, 0, 2, 6], [1.0, 5, 5, 2]),
        member("b", [0.0, 4, 4, 4], [0.0, 4, 6, 4]),
    ]
    result = blend.blend(members, str(tmp_path / "both"))
    assert result["members"] == pytest.approx(dict(zip(members, (0.5, 0.5))))
    assert result["validation"]["rmse"] == pytest.approx(0, abs=1e-6)
    # 0.5 and 5.5 are clipped to 1 and 5
    assert result["test"]["rmse"] == pytest.approx(np.sqrt((0 + 0.25 + 1 + 0) / 4))
    assert (result["seconds"], result["peak_memory_mb"]) == (3.0, 7)
    assert json.loads((tmp_path / "both/metrics.json").read_text()) == result
    with np.load(tmp_path / "both/per_user.npz") as saved:
        np.testing.assert_allclose(saved["squared_error"], [0.25, 1])


def test_test_ratings_do_not_move_the_weights(member, tmp_path, monkeypatch):
    a = member("a", [4, 2.5, 3, 4], [1, 2, 3, 4])
    b = member("b", [3, 2, 3.5, 5], [4, 3, 2, 1])
    first = blend.blend([a, b], str(tmp_path / "first"))
    monkeypatch.setitem(VALUE, "test", [5.0, 1.0, 1.0, 1.0])
    again = [member("c", [4, 2.5, 3, 4], [1, 2, 3, 4]), member("d", [3, 2, 3.5, 5], [4, 3, 2, 1])]
    second = blend.blend(again, str(tmp_path / "second"))
    assert list(first["members"].values()) == list(second["members"].values())
    assert first["test"]["rmse"] != second["test"]["rmse"]


def test_members_that_do_not_fit(member, tmp_path):
    a, path = member("a", [4, 2, 3, 5], [1, 2, 3, 4]), str(tmp_path / "both")
    with pytest.raises(ValueError, match="takes two runs, or more"):
        blend.blend([a], path)
    other = member("other", [4, 2, 3, 5], [1, 2, 3, 4], item=[0, 2, 0, 2])
    with pytest.raises(ValueError, match="other was measured on other validation ratings than"):
        blend.blend([a, other], path)
    with pytest.raises(ValueError, match="already holds a run"):
        blend.blend([a, member("b", [4, 2, 3, 5], [1, 2, 3, 4])], a)
    RunDir(a).predictions["test"].unlink()
    with pytest.raises(FileNotFoundError, match="holds no predicted ratings of test"):
        blend.blend([a, str(tmp_path / "b")], path)
    (tmp_path / "b/metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        blend.blend([str(tmp_path / "b"), a], path)
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize("name", presets.BLENDS)
def test_members_of_a_preset_share_their_split(name):
    splits = set()
    for member in presets.BLENDS[name].members:
        data = config_lib.to_dict(presets.preset(member).data)
        splits.add(str({k: v for k, v in data.items() if k != "rows"}))
        assert presets.preset(member).train["refit"]
    assert len(splits) == 1


def test_a_preset_trains_and_blends(tfrec, monkeypatch, tmp_path):  # noqa: F811
    """Rows by user and rows by item, on the same ratings."""
    data = DataConfig(min_item_ratings=60)
    small = {"hidden": (4,)}, {"epochs": 1, "iterations": 3, "refit": True}
    item_rows = presets.Preset("autorec", dataclasses.replace(data, rows="item"), *small)
    quick = {"sweeps": 2}, {"batch_size": 1000}
    monkeypatch.setitem(presets.PRESETS, "biases-x", presets.Preset("biases", data, *quick))
    monkeypatch.setitem(presets.PRESETS, "autorec-x", item_rows)
    monkeypatch.setitem(presets.BLENDS, "best-x", presets.Blend(("biases-x", "autorec-x")))
    path = tmp_path / "best"
    refused = tfrec("train", "--preset=best-x", f"--run_dir={path}", "--train", "epochs=1")
    assert "--train with --preset=best-x, a blend of biases-x, autorec-x" in refused.err
    assert not path.exists()
    done = tfrec("train", "--preset=best-x", f"--run_dir={path}")
    assert done.status == 0, done.err
    assert re.search(rf"^\d\.\d+ of {path}/biases-x$", done.out, re.M)
    best, biases = (json.loads((p / "metrics.json").read_text()) for p in (path, path / "biases-x"))
    assert best["test"]["rmse"] < biases["test"]["rmse"]
    assert best["test"]["n_ratings"] == biases["test"]["n_ratings"]
    again = tfrec("blend", f"--runs={path}/biases-x,{path}/autorec-x", f"--run_dir={tmp_path}/b")
    assert json.loads((tmp_path / "b/metrics.json").read_text()) == best
    assert again.out.splitlines()[-1] in done.out
    against = tfrec("evaluate", f"--run_dir={path}", f"--against={path}/biases-x")
    assert re.search(r"rmse -0\.\d+ \[.*\] \(95 %\)", against.out)
    alone = tfrec("evaluate", f"--run_dir={path}")
    assert "holds a blend, which has no model of its own" in alone.err
    resumed = tfrec("train", "--preset=best-x", f"--run_dir={path}", "--resume")
    assert resumed.out.count("this run is finished") == 2 and resumed.status == 0
