"""Settings: fields of frozen dataclasses, with ranges that their values are checked against."""

import dataclasses
import difflib
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

RANGES: dict[str, Callable[[float], bool]] = {
    "at least 1": lambda x: x >= 1,
    "at least 2": lambda x: x >= 2,
    "a finite number": math.isfinite,
    "0 or more": lambda x: 0 <= x < math.inf,
    "more than 0": lambda x: 0 < x < math.inf,
    "0 or more and less than 1": lambda x: 0 <= x < 1,
    "more than 0 and up to 1": lambda x: 0 < x <= 1,
    "from 0 to 1": lambda x: 0 <= x <= 1,
    "more than 0 and less than 1": lambda x: 0 < x < 1,
    "a whole number, or a share below 1": lambda x: 0 <= x < 1 or (x > 0 and float(x).is_integer()),
    "0 or more and less than 2^32": lambda x: 0 <= x < 2**32,
}


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers among which `tfrec.tune` searches for a setting's value.

    Args:
        low: The smallest one.
        high: The largest one.
        log: Whether to sample on a logarithmic scale; then `low` must be above 0.

    Raises:
        ValueError: the range is empty.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self} must go from a number to a greater one")
        if self.log and self.low <= 0:
            raise ValueError(f"{self}: a logarithmic range starts above 0")

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{',log' if self.log else ''}"

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be allowed for all of the range to be."""
        return self.low, self.high


class OneOf:
    """Values among which `tfrec.tune` searches for a setting's value.

    Args:
        *values: Two or more, each of the setting's type.

    Raises:
        ValueError: fewer than two.
    """

    def __init__(self, *values: Any):
        if len(values) < 2:
            raise ValueError(f"a search among {values} has no choice: give at least two values")
        self.values = values

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return "|".join(text_of(value) for value in self.values)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that the setting must allow: all."""
        return self.values


Search = Range | OneOf


class SettingError(ValueError):
    """A setting that is refused.

    Args:
        text: The setting, its value and the problem: "dropout=-3 must be 0 or more".
        where: What comes before it: the flag, or the owner of the setting.
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
    later: bool = False,
    search: Search | None = None,
) -> Any:
    """A field of a `Settings` class, with the limits of its values.

    A subclass that gives the field another default (`width: int = 50`) keeps the limits. The
    setting is described in the docstring of the class, below `Attributes:`.

    Args:
        default: Its default.
        must_be: A key of `RANGES`: the range of a number, or of each number of a tuple.
        choices: The known names of a text.
        may_be_empty: Whether a tuple may be empty; only needed if its default is not.
        later: Added after files of settings were written, which have it only if it is not its
            default.
        search: Values that `tfrec.tune` searches; None: it keeps its default.

    Raises:
        ValueError: no such range, or a search beyond it.
    """
    if must_be and must_be not in RANGES:
        raise ValueError(f"there is no range {must_be!r}; " + known_names(must_be, RANGES))
    limits = {
        "must_be": must_be,
        "choices": tuple(choices),
        "may_be_empty": may_be_empty,
        "later": later,
        "search": search,
    }
    if search is not None and must_be:
        ends = [x for end in search.ends for x in (end if isinstance(end, tuple) else (end,))]
        if not all(RANGES[must_be](number) for number in ends):
            raise ValueError(f"search={search} is not all {must_be}")
    return dataclasses.field(default=default, metadata=limits)


class Settings:
    """Base of the frozen dataclasses of settings, whose values are always valid.

    Values are checked against their fields' types and the limits of `setting`, and never
    changed. Attributes that are not fields:

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
        """Refuses inconsistent settings; each of them is within its own range.

        Raises:
            SettingError: a text that starts with a setting: "heads=3 does not divide width=50".
        """


def types_of(cls: type) -> dict[str, Any]:
    """The type of each field of a dataclass, by name."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def limits_of(cls: type, name: str) -> Mapping[str, Any]:
    """The arguments of `setting` for a field, except the default; empty if there are none.

    The nearest class whose field was made by `setting` counts.
    """
    for base in cls.__mro__:
        field = getattr(base, "__dataclass_fields__", {}).get(name)
        if field is not None and "must_be" in field.metadata:
            return field.metadata
    return {}


def _check(config: Settings, name: str, hint: Any) -> None:
    """Refuses a value of one field.

    Raises:
        SettingError: it is of another type, out of its range, or an unknown name.
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
    """Whether a value is of a field's type; True for types that are not known here."""
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


def text_of(value: Any) -> str:
    """A value as text, as in `name=value` of a flag."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def type_name(hint: Any) -> str:
    """A type as in source code."""
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def known_names(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the closest known one, then all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return hint + "known: " + ", ".join(known)
