"""Settings out of texts (`name=value` of a flag), Python values and JSON."""

import dataclasses
import numbers
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from tfrec.settings import SettingError, known_names, types_of

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def override(config: Config, assignments: Iterable[str], flag: str = "--set") -> Config:
    """Returns `config` with `name=value` texts applied, each value of the field's type.

    Args:
        config: A dataclass instance.
        assignments: Texts such as "dropout=0.8", "hidden=512,512,1024".
        flag: The flag they came from, for error messages.

    Raises:
        ValueError: unknown name, or a value not of the field's type or out of its range.
    """
    return with_values(config, parsed(type(config), assignments, flag), flag)


def parsed(cls: type, assignments: Iterable[str], flag: str = "--set") -> dict[str, Any]:
    """Values of a dataclass's fields by name, out of texts; as of `override`.

    Raises:
        ValueError: unknown name, or a value not of the field's type.
    """
    hints = types_of(cls)
    changes: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{flag} {text!r} is not of the form name=value")
        if name not in hints:
            raise ValueError(
                f"{flag} {text!r}: {cls.__qualname__} has no setting {name!r}; "
                + known_names(name, hints)
            )
        try:
            changes[name] = _parse(value, hints[name])
        except ValueError as error:
            raise ValueError(f"{flag} {text!r}: {error}") from None
    return changes


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
    return with_values(config, typed(type(config), values, what), what)


def typed(cls: type, values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Python values as the fields of a dataclass have them; as of `replaced`.

    Raises:
        ValueError: unknown name, or a value not of the field's type.
    """
    hints = types_of(cls)
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{what} has no setting {name!r}; " + known_names(name, hints))
        try:
            changes[name] = _typed(value, hints[name])
        except ValueError as error:
            raise ValueError(f"{name}={value!r} of {what} {error}") from None
    return changes


def with_values(config: Config, values: Mapping[str, Any], where: str) -> Config:
    """`dataclasses.replace`, whose errors name `where` the values are from."""
    try:
        return dataclasses.replace(config, **values)
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


def to_dict(config: Any) -> dict:
    """The dataclass as plain JSON types: tuples become lists.

    Settings that came later (see `tfrec.settings.setting`) are left out while they have their
    default, so that what was written before stays what it is.
    """
    later = {f.name: f.default for f in dataclasses.fields(config) if f.metadata.get("later")}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
        if name not in later or value != later[name]
    }


def from_dict(cls: type[Config], fields: dict) -> Config:
    """The inverse of `to_dict`; also reads what older versions wrote.

    Raises:
        ValueError: a field that `cls` does not have, or a value that it refuses.
    """
    hints = types_of(cls)
    fields = getattr(cls, "renewed", dict)(fields)  # plain dataclasses have no versions
    for name in fields:
        if name not in hints:
            raise ValueError(
                f"{cls.__qualname__} has no setting {name!r}; " + known_names(name, hints)
            )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    try:
        return cls(**values)
    except SettingError as error:
        raise SettingError(error.text, f"{cls.__qualname__}:") from None


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
