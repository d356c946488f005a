"""The reference of settings: all of them, with descriptions and ranges."""

import dataclasses

import pytest
from commands_test import run

from tfrec import config as config_lib
from tfrec import reference
from tfrec.config import DataConfig, TrainConfig
from tfrec.models.registry import MODELS
from tfrec.split_rules import RULES

CONFIGS = {"data": DataConfig(), "training": TrainConfig()}
CONFIGS |= {f"split={name}": rule() for name, rule in RULES.items()}
CONFIGS |= {name: cls.Config() for name, cls in MODELS.items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_setting_says_what_it_means(name):
    config = CONFIGS[name]
    entries = reference.describe(config)
    names = [f.name for f in dataclasses.fields(config) if "of_split" not in f.metadata]
    assert [e.name for e in entries] == names
    assert [e.name for e in entries if not e.help] == []


@pytest.mark.parametrize("name", CONFIGS)
def test_defaults_are_shown_as_flags_write_them(name):
    config = CONFIGS[name]
    words = [f"{e.name}={e.value}" for e in reference.describe(config)]
    assert config_lib.override(config, words) == config


def test_an_entry():
    entries = {e.name: e for e in reference.describe(MODELS["sasrec"].Config(heads=2))}
    text = "Number of attention heads; must divide `width`."
    assert entries["heads"] == ("heads", "int", "2", "at least 1", text)
    assert entries["width"][1:4] == ("int", "64", "at least 1")  # of the base, with a new default
    assert entries["loss"].must_be == "one of softmax, sampled, bce, gbce"
    assert entries["slide"].help.startswith("Share of the training rows longer than the window ")
    assert entries["slide"].help.endswith(" random window is used instead of the newest one.")
    data = {e.name: e for e in reference.describe(DataConfig())}
    assert data["min_rating"][1:4] == ("float | None", "none", "a finite number")


def test_a_dataclass_that_says_nothing_is_listed_too():
    @dataclasses.dataclass(frozen=True)
    class Config:
        size: int = 3

    assert reference.table(Config(), "--set:") == "--set:\n  size=3  (int)"


def test_the_command_lists_what_the_other_flags_say(capsys, tmp_path):
    words = ["--set", "hidden=8,4", "--train", "epochs=3", f"--run_dir={tmp_path / 'run'}"]
    done = run(capsys, "train", "--list_settings", "--model=deeprec", *words)
    assert (done.status, done.err) == (0, "")
    of_model, of_training, of_data, of_split = done.out.split("\n\n")
    assert of_model.startswith("--set, settings of deeprec:\n")
    assert "\n  hidden=8,4  (tuple[int, ...], at lea" in of_model
    assert "\n      Dropout rate on the code.\n" in of_model
    assert "\n  epochs=3  (int, at least 1)\n" in of_training
    assert "\n  clip_norm=1.0  (float, " in of_training  # the model's default
    assert "\n  split=random  (str, one of random, folds, time, " in of_data
    assert of_split.startswith(
        "--data, settings of split=random:\n  law=permutation  (str, one of "
    )
    assert "\n  test=0.1  (float, 0 or more a" in of_split
    assert "\n      Share of all ratings.\n" in of_split
    assert not (tmp_path / "run").exists()


def test_the_settings_of_an_ensemble_are_its_members(capsys):
    from tfrec import presets

    name, ensemble = next(iter(presets.ENSEMBLES.items()))
    done = run(capsys, "train", "--list_settings", f"--preset={name}")
    assert (done.status, done.out.count("--set, settings of ")) == (0, len(ensemble.members))
