"""What a run starts from without settings: defaults, the papers' presets, what follows the data."""

import dataclasses
import json

import pytest
from commands_test import run, tfrec  # noqa: F401  (fixtures)

from tfrec.config import DataConfig, TrainConfig
from tfrec.models.fm import FM
from tfrec.models.registry import MODELS
from tfrec.presets import PRESETS
from tfrec.schema import DatasetInfo
from tfrec.training.run_config import RunConfig


def test_the_papers_settings_are_a_preset(tfrec):  # noqa: F811
    ours = tfrec("train", "--model=sasrec", "--list_settings").out
    paper = tfrec("train", "--preset=sasrec-paper", "--dataset=ml-100k", "--list_settings").out
    for text in ("loss=sampled", "negatives=1000", "patience=5", "dataset=ml-latest-small"):
        assert f"  {text}  (" in ours
    for text in ("loss=bce", "negatives=1", "patience=0", "epochs=200", "dataset=ml-100k"):
        assert f"  {text}  (" in paper
    for text in ("beta_2=0.98", "epsilon=1e-08", "schedule=constant"):
        assert f"  {text}  (" in paper


def test_a_preset_of_settings_takes_prepared_data(tfrec, board, tmp_path):  # noqa: F811
    small = ["--set", "width=8", "--set", "window=8", "--train", "epochs=1", "--nodry_run"]
    where = [f"--data_dir={board(likes_only=True)[0]}", f"--run_dir={tmp_path / 'run'}"]
    done = tfrec("train", "--preset=sasrec-paper", *where, *small)
    assert done.status == 0, done.err
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["data"]["dataset"] == "checkerboard"
    assert (config["settings"]["loss"], config["settings"]["width"]) == ("bce", 8)


@pytest.mark.parametrize("name", MODELS)
def test_defaults_stop_early_and_other_papers_are_presets(name):
    cls = MODELS[name]
    assert cls.closed_form or cls.defaults.patience
    own = {"paper", "paper_settings"} & vars(cls).keys()
    if own and (cls.paper_settings or cls.defaults != cls.paper):
        preset = PRESETS[f"{name}-paper"]
        assert (preset.model, preset.data) == (name, None)
    ours = {field.name: field.default for field in dataclasses.fields(cls.Config)}
    assert all(ours[setting] != value for setting, value in cls.paper_settings.items())


def test_a_model_with_only_a_papers_settings_starts_from_them():
    class Mine(FM):
        paper = TrainConfig(epochs=7)

    class Yours(MODELS["sasrec"]):
        defaults = TrainConfig(epochs=8)

    assert Mine.defaults.epochs == 7
    assert (Yours.defaults.epochs, Yours.paper.epochs) == (8, 200)


@pytest.mark.parametrize(
    ("low", "high", "task"), [(0, 1, "ctr"), (0.5, 5, "rating"), (0, 5, "rating")]
)
def test_the_task_follows_the_data(low, high, task):
    info = DatasetInfo("toy", "toy", "user", 2, 3, {"train": 5}, rating_min=low, rating_max=high)
    model = FM.create(info, FM.Config(fields=("user", "item")))
    assert model.task == model.get_config()["config"]["task"] == task


@pytest.mark.parametrize(
    ("rows", "size"), [(1, 16), (1599, 16), (1600, 32), (6040, 64), (1e6, 128)]
)
def test_the_batch_follows_the_data(rows, size):
    info = DatasetInfo("toy", "toy", "user", 9, 9, {}, row_counts={"train": int(rows)})
    config = RunConfig("sasrec", {}, DataConfig(), "", MODELS["sasrec"].defaults)
    assert config.settled(info).train.batch_size == size
    assert config.settled(info).train == dataclasses.replace(config.train, batch_size=size)


def test_a_run_keeps_the_task_that_the_data_decided_and_resumes(tfrec, board, tmp_path):  # noqa: F811
    words = ["train", "--model=deepfm", f"--data_dir={board()[0]}", f"--run_dir={tmp_path / 'run'}"]
    words += ["--train", "epochs=1", "--train", "batch_size=0", "--nodry_run"]
    assert tfrec(*words).status == 0
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["settings"]["task"], config["train"]["batch_size"]) == ("rating", 16)
    assert "nothing to resume" in tfrec(*words, "--resume").out
    refused = tfrec(*words, "--resume", "--set", "task=ctr")
    assert "was started with other settings (settings" in refused.err
