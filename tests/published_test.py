"""Presets that reproduce a bound within a minute; run with `-m slow` and TFREC_DATA."""

import json
import os
import pathlib

import pytest
from commands_test import run

DATA = pathlib.Path(
    os.environ.get("TFREC_DATA") or pathlib.Path(__file__).parents[2] / "shared/data"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "zip_name", "part", "metric", "low", "high"),
    [
        ("autorec-ml100k-u1", "ml-100k.zip", "test", "rmse", 0.90, 0.915),
        ("autorec-ml100k-random90", "ml-100k.zip", "test", "rmse", 0.87, 0.892),
        ("ease-ml1m-users", "ml-1m.zip", "test", "ndcg@100", 0.42, 0.44),
    ],
)
def test_preset_reaches_its_number(
    capsys, monkeypatch, tmp_path, preset, zip_name, part, metric, low, high
):
    if not (DATA / zip_name).exists():
        pytest.skip(f"no {zip_name} in TFREC_DATA")
    monkeypatch.setenv("TFREC_DATA", str(DATA))
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
    done = run(capsys, "train", f"--preset={preset}", f"--run_dir={tmp_path / 'run'}")
    assert done.status == 0, done.err
    assert low < json.loads((tmp_path / "run/metrics.json").read_text())[part][metric] <= high
