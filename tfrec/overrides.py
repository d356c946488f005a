"""Parses settings from texts (`name=value` of a flag), Python values and JSON."""

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
    """Values of a dataclass's fields by name, parsed from texts as in `override`.

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
            several = any(f",{other}=" in value for other in hints)
            cure = f"; each setting needs a {flag} of its own" if several else ""
            raise ValueError(f"{flag} {text!r}: {error}{cure}") from None
    return changes


def replaced(config: Config, values: Mapping[str, Any], what: str) -> Config:
    """Returns `config` with values by name, checked like the texts of `override`.

    Lists become tuples, whole numbers floats, and a single value a tuple of one, where needed.

    Args:
        config: A dataclass instance.
        values: New values by name.
        what: The owner of the settings, for error messages.

    Raises:
        ValueError: unknown name, or a value not of the field's type or out of its range.
    """
    return with_values(config, typed(type(config), values, what), what)


def typed(cls: type, values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Converts Python values to the types of a dataclass's fields, as in `replaced`.

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
    """`dataclasses.replace`, with errors that start with `where`."""
    try:
        return dataclasses.replace(config, **values)
    except SettingError as error:
        raise SettingError(error.text, where) from None


def _typed(value: Any, hint: Any) -> Any:
    """Converts a Python value to type `hint`.

    Raises:
        ValueError: it is of another type.
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

    Settings that were added later (see `tfrec.settings.setting`) are left out if they have their
    default, so that files and fingerprints of earlier versions stay the same.
    """
    later = {f.name: f.default for f in dataclasses.fields(config) if f.metadata.get("later")}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
        if name not in later or value != later[name]
    }


def from_dict(cls: type[Config], fields: dict) -> Config:
    """The inverse of `to_dict`; fields that are left out have their defaults.

    Raises:
        ValueError: a field that `cls` does not have, or a value that it refuses.
    """
    hints = types_of(cls)
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
    """Parses the text of a flag as a value of type `hint`."""
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
