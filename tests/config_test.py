import dataclasses

import pytest

from tfrec import config as config_lib
from tfrec.config import DataConfig, TrainConfig
from tfrec.schema import DatasetInfo


def test_overrides_are_of_the_fields_type():
    changed = config_lib.override(
        TrainConfig(), ["epochs=3", "learning_rate=1e-4", "refit=true", "decay_epochs=2,4"]
    )
    assert (changed.epochs, changed.learning_rate) == (3, 1e-4)
    assert (changed.refit, changed.decay_epochs) == (True, (2, 4))
    assert TrainConfig().epochs == 50


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("epoch=3", "did you mean 'epochs'"),
        ("epochs=three", "--train 'epochs=three': 'three' is not of type int"),
        ("refit=maybe", "'maybe' is not true or false"),
        ("epochs", "not of the form name=value"),
    ],
)
def test_a_mistyped_override_is_an_error_that_helps(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_lib.override(TrainConfig(), [text], "--train")


def test_an_empty_tuple_can_be_given():
    assert config_lib.override(TrainConfig(decay_epochs=(1,)), ["decay_epochs="]).decay_epochs == ()


def test_configs_survive_json():
    config = TrainConfig(decay_epochs=(24, 36))
    assert config_lib.from_dict(TrainConfig, config_lib.to_dict(config)) == config
    with pytest.raises(ValueError, match="no setting 'epoch'"):
        config_lib.from_dict(TrainConfig, {"epoch": 1})


def test_data_flags_win_over_the_base():
    base = DataConfig(dataset="ml-1m", seed=5)
    config = config_lib.data_config(base, "", "time", ["test=0.02"])
    assert config == dataclasses.replace(base, split="time", test=0.02)


def test_info_survives_json():
    info = DatasetInfo("x", "p", "item", 3, 4, {"train": 5}, groups=("train", "test"))
    assert DatasetInfo.from_dict(info.to_dict()) == info
    assert (info.n_rows, info.n_columns) == (4, 3)


def test_nothing_prepared_names_the_flag_and_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--data_dir.*tfrec\.prepare"):
        DatasetInfo.load(tmp_path)
