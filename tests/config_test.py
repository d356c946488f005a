import ast
import dataclasses
import json
import pathlib
import re

import pytest

from tfrec import config as config_lib
from tfrec.config import DataConfig, Settings, TrainConfig, setting
from tfrec.models.registry import MODELS
from tfrec.models.sequence import Sequence
from tfrec.schema import DatasetInfo
from tfrec.training import optimizers
from tfrec.training.run_config import RunConfig


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
        ("epochs=3,batch_size=8", "each setting needs a --train of its own"),
        ("refit=maybe", "'maybe' is not true or false"),
        ("epochs", "not of the form name=value"),
    ],
)
def test_a_mistyped_override_is_an_error_that_helps(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_lib.override(TrainConfig(), [text], "--train")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("epochs=0", "--train epochs=0 must be at least 1"),
        ("batch_size=-1", "--train batch_size=-1 must be 0 or more"),
        ("eval_batch_size=0", "--train eval_batch_size=0 must be at least 1"),
        ("learning_rate=0", "--train learning_rate=0.0 must be more than 0"),
        ("learning_rate=nan", "--train learning_rate=nan must be more than 0"),
        ("learning_rate=inf", "--train learning_rate=inf must be more than 0"),
        ("momentum=1", "--train momentum=1.0 must be 0 or more and less than 1"),
        ("iterations=0", "--train iterations=0 must be at least 1"),
        ("patience=-1", "--train patience=-1 must be 0 or more"),
        ("decay_factor=0", "--train decay_factor=0.0 must be more than 0"),
        ("decay_epochs=3,0", "--train decay_epochs=3,0 must be at least 1"),
        ("clip_norm=-1", "--train clip_norm=-1.0 must be 0 or more"),
        ("weight_decay=-0.1", "--train weight_decay=-0.1 must be 0 or more"),
        ("seed=-1", r"--train seed=-1 must be 0 or more and less than 2\^32"),
    ],
)
def test_a_number_out_of_range_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_lib.override(TrainConfig(), [text], "--train")


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"test": -0.1}, "--data test=-0.1 must be 0 or more"),
        ({"validation": -1}, "--data validation=-1 must be 0 or more"),
        ({"split": "users", "fold_in_share": 1.0}, "--data fold_in_share=1.0 must be more than"),
        ({"min_user_ratings": -5}, "--data min_user_ratings=-5 must be 0 or more"),
        ({"max_user_ratings": -5}, "--data max_user_ratings=-5 must be 0 or more"),
        ({"min_item_ratings": -5}, "--data min_item_ratings=-5 must be 0 or more"),
        ({"min_rating": float("nan")}, "--data min_rating=nan must be a finite number"),
        ({"label_above": float("inf")}, "--data label_above=inf must be a finite number"),
        ({"shards": 0}, "--data shards=0 must be at least 1"),
    ],
)
def test_data_out_of_range_is_refused_in_python_too(setting, complaint):
    with pytest.raises(ValueError, match=complaint):
        DataConfig(**setting)


@pytest.mark.parametrize(
    ("model", "text", "complaint"),
    [
        ("deeprec", "dropout=1", "--set dropout=1.0 must be 0 or more and less than 1"),
        ("deeprec", "hidden=8,0", "--set hidden=8,0 must be at least 1"),
        ("deeprec", "hidden=", "--set hidden= must not be empty"),
        ("deeprec", "aug_steps=-1", "--set aug_steps=-1 must be 0 or more"),
        ("autoencoder", "input_dropout=-0.5", "--set input_dropout=-0.5 must be 0 or more"),
        ("autorec", "regularization=-1", "--set regularization=-1.0 must be 0 or more"),
        ("biases", "sweeps=0", "--set sweeps=0 must be at least 1"),
    ],
)
def test_a_models_settings_out_of_range_are_refused(model, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_lib.override(MODELS[model].Config(), [text], "--set")


def fields_of(model, kind):
    """Names and defaults of a model's settings whose default, or its first entry, is a `kind`."""
    for name, value in dataclasses.asdict(MODELS[model].Config()).items():
        first = value[0] if isinstance(value, tuple) and value else value
        if type(first) in kind:
            yield name, value


@pytest.mark.parametrize("model", MODELS)
def test_every_number_of_a_model_has_a_range(model):
    cls = MODELS[model].Config
    for name, value in fields_of(model, (int, float)):
        with pytest.raises(ValueError, match=f"--set {name}=-1"):
            config_lib.override(cls(), [f"{name}=-1"], "--set")
        with pytest.raises(ValueError, match=f"^--set {name}=-1 must be "):
            cls(**{name: (-1,) if isinstance(value, tuple) else -1})
        if isinstance(value, tuple) and not config_lib.limits_of(cls, name)["may_be_empty"]:
            with pytest.raises(ValueError, match=f"{name}= must not be empty"):
                cls(**{name: ()})


@pytest.mark.parametrize("model", MODELS)
def test_every_name_that_a_model_takes_is_one_of_the_known(model):
    for name, value in fields_of(model, (str,)):
        expected = rf"{name}={value}x( is unknown; .*known: .*\b{value}\b|: \w+ reads rows by item)"
        with pytest.raises(ValueError, match=f"^--set {expected}"):
            MODELS[model].Config(**{name: f"{value}x"})


@pytest.mark.parametrize("model", MODELS)
def test_a_models_settings_are_of_their_types(model):
    cls = MODELS[model].Config
    for field in dataclasses.fields(cls):
        with pytest.raises(ValueError, match=f"^--set {field.name}=.* is bytes, not "):
            cls(**{field.name: b"1"})


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"hidden": 3}, r"hidden=3 is int, not tuple\[int, \.\.\.\]"),
        ({"hidden": (3, 0.5)}, "hidden=.* is tuple, not tuple.int"),
        ({"latent": 3.0}, "latent=3.0 is float, not int"),
        ({"latent": True}, "latent=True is bool, not int"),
        ({"dropout": "0.5"}, "dropout='0.5' is str, not float"),
        ({"dropout": float("nan")}, "dropout=nan must be 0 or more and less than 1"),
    ],
)
def test_values_of_other_types_are_refused(settings, complaint):
    with pytest.raises(config_lib.SettingError, match=complaint):
        MODELS["multvae"].Config(**settings)


def test_values_are_kept_as_they_are_given():
    config = MODELS["multvae"].Config(dropout=0, hidden=[4])
    assert (type(config.dropout), config.hidden) == (int, [4])


@pytest.mark.parametrize("model", ["sasrec", "bert4rec", "hstu", "bertrating"])
def test_heads_must_divide_the_width(model):
    cls = MODELS[model].Config
    cls(width=51, heads=3)
    with pytest.raises(ValueError, match="--set heads=3 does not divide width=50; choose heads"):
        cls(width=50, heads=3)
    with pytest.raises(ValueError, match="^its heads=3 does not divide width=50"):
        config_lib.replaced(cls(width=51, heads=3), {"width": 50}, "its")


def test_a_new_default_keeps_the_range():
    @dataclasses.dataclass(frozen=True)
    class Narrow(Sequence.Config):
        width: int = 8
        slide: float = setting(0.5, "more than 0")

    assert (Narrow().width, Narrow().slide) == (8, 0.5)
    for settings in ({"width": 0}, {"slide": 0.0}, {"window": 1}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Narrow(**settings)
    with pytest.raises(ValueError, match="width=0"):
        dataclasses.replace(Narrow(), width=0)


def test_a_mistyped_range_is_an_error():
    with pytest.raises(ValueError, match="no range 'at lest 1'; did you mean 'at least 1'"):
        setting(1, "at lest 1")


def test_settings_are_checked_together_by_what_a_class_says_of_them():
    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        least: int = 0
        most: int = 5

        def check(self):
            if self.least > self.most:
                raise config_lib.SettingError(f"least={self.least} is above most={self.most}")

    for flag, make in (
        ("--set", lambda: Config(least=6)),
        ("--own", lambda: config_lib.override(Config(), ["least=6"], "--own")),
        ("Net", lambda: config_lib.replaced(Config(), {"least": 6}, "Net")),
        (r"\S+Config:", lambda: config_lib.from_dict(Config, {"least": 6})),
    ):
        with pytest.raises(config_lib.SettingError, match=f"^{flag} least=6 is above most=5$"):
            make()


def test_a_plain_dataclass_may_hold_anything():
    @dataclasses.dataclass(frozen=True)
    class Config:
        dropout: float = 0.5
        anything: object = None

    assert config_lib.override(Config(), ["dropout=-3"]).dropout == -3
    assert config_lib.replaced(Config(), {"dropout": 7}, "x").dropout == 7
    assert config_lib.from_dict(Config, {"dropout": -3}) == Config(-3)


def test_values_of_a_file_are_checked():
    settings = config_lib.to_dict(MODELS["multvae"].Config()) | {"dropout": 1.5}
    old = RunConfig("multvae", settings, DataConfig(), "", TrainConfig())
    with pytest.raises(ValueError, match=r"^MultVAE.Config: dropout=1.5 must be 0 or more and"):
        print(old.model_config)
    with pytest.raises(ValueError, match="^TrainConfig: epochs=0 must be at least 1"):
        config_lib.from_dict(TrainConfig, {"epochs": 0})


def test_settings_modules_do_not_depend_on_models():
    here = pathlib.Path(config_lib.__file__).parent
    files = ("config", "settings", "overrides")
    tree = ast.parse("\n".join((here / f"{name}.py").read_text() for name in files))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = {
        word
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
        for word in re.findall(r"\w+", node.value)
    }
    assert "average" in texts  # a setting of training, in an error
    known = {field.name for cls in (DataConfig, TrainConfig) for field in dataclasses.fields(cls)}
    of_models = {field.name for m in MODELS.values() for field in dataclasses.fields(m.Config)}
    assert not texts & (of_models - known)


def test_the_optimizers_that_can_be_named_are_those_there_are():
    assert {*config_lib.OPTIMIZERS} == {*optimizers.OPTIMIZERS, "lbfgs"}
    with pytest.raises(ValueError, match="--train optimizer=adan is unknown; did you mean 'adam'"):
        TrainConfig(optimizer="adan")
    with pytest.raises(ValueError, match="--train average=0.9: lbfgs has no noisy steps"):
        TrainConfig(optimizer="lbfgs", average=0.9)


def test_an_empty_tuple_can_be_given():
    assert config_lib.override(TrainConfig(decay_epochs=(1,)), ["decay_epochs="]).decay_epochs == ()
    linear = MODELS["multvae"].Config()  # its default is not empty
    assert config_lib.override(linear, ["hidden="]).hidden == ()
    assert config_lib.replaced(linear, {"hidden": []}, "MultVAE").hidden == ()


def test_configs_survive_json():
    config = TrainConfig(decay_epochs=(24, 36))
    assert config_lib.from_dict(TrainConfig, config_lib.to_dict(config)) == config
    with pytest.raises(ValueError, match="no setting 'epoch'"):
        config_lib.from_dict(TrainConfig, {"epoch": 1})


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"min_rating": 0.0},
        {"drop_rating": 0.0},
        {"label_above": 0.0},
        {"drop_rating": 0.0, "label_above": 0.0},
        {"min_rating": 0.0, "label_above": 0.0},
        {"min_rating": 0.0, "drop_rating": 0.0, "label_above": 0.0},
        {"min_rating": 2.0, "drop_rating": 3.0, "label_above": 4.0},
    ],
    ids=str,
)
def test_filters_by_value_survive_json(filters):
    config = DataConfig(**filters)
    text = json.dumps(config_lib.to_dict(config))
    assert config_lib.from_dict(DataConfig, json.loads(text)) == config


def test_data_flags_win_over_the_base():
    base = DataConfig(dataset="ml-1m", seed=5)
    config = config_lib.data_config(base, "", "time", ["test=0.02"])
    assert config == dataclasses.replace(base, split="time", test=0.02)


def test_another_split_starts_from_its_own_defaults():
    base = DataConfig(split="users", test=750, fold_in="time", seed=5, min_rating=4)
    assert config_lib.data_config(base, "", "last", []) == DataConfig(
        split="last", seed=5, min_rating=4
    )
    by_item = config_lib.data_config(base, "", "time", ["test=0.2"], rows="item")
    assert (by_item.rule.test, by_item.rows) == (0.2, "item")
    assert config_lib.data_config(base, "", "users", ["validation=9"]).test == 750
    with pytest.raises(ValueError, match="--data rows=item cannot go with split=last"):
        config_lib.data_config(base, "", "last", [], rows="item")


def test_the_data_settings_are_written_as_they_always_were():
    """What is prepared is found again by these bytes."""
    config = DataConfig(dataset="ml-1m", split="users", test=750.0, validation=0.1, min_rating=4.0)
    text = json.dumps(config_lib.to_dict(config), sort_keys=True)
    assert text == (
        '{"columns": "", "core": false, "dataset": "ml-1m", "drop_rating": null, "duplicates": '
        '"error", "fold": "u1", "fold_in": "random", "fold_in_share": 0.8, "label_above": null, '
        '"max_user_ratings": 0, "min_category": 1, "min_item_ratings": 0, "min_rating": 4.0, '
        '"min_user_ratings": 0, "rows": "user", "seed": 0, "shards": 4, "since": "", "split": '
        '"users", "test": 750.0, "test_since": "", "title_vectors": "", "until": "", '
        '"validation": 0.1}'
    )


def test_info_survives_json():
    info = DatasetInfo("x", "p", "item", 3, 4, {"train": 5}, groups=("train", "test"))
    assert DatasetInfo.from_dict(info.to_dict()) == info
    assert (info.n_rows, info.n_columns) == (4, 3)


def test_nothing_prepared_names_the_flag_and_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--data_dir.*tfrec\.prepare"):
        DatasetInfo.load(tmp_path)
