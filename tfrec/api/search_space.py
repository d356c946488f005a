"""The search space of tuning: settings of the model and of training, with ranges."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tfrec import config as configs
from tfrec.config import OneOf, Range, Search, TrainConfig, known_names, limits_of, types_of
from tfrec.models.base import Recommender
from tfrec.training import methods

Space = dict[str, Search]
_RANGE = re.compile(r"([^.,]\S*?)\.\.([^,]+)(,log)?")
_UNUSED = ("batch_size", "learning_rate", "weight_decay")  # without an optimizer


def of_model(cls: type[Recommender], own: Any, train: TrainConfig) -> Space:
    """The space that a model declares: `search` of its settings, of training settings, and its own.

    Args:
        cls: The model's class.
        own: The `Config` that trials start from.
        train: The training settings that trials start from.

    Returns:
        Ranges by name, the model's settings first.
    """
    unused = _UNUSED if methods.method(cls, own, train).whole else ()
    found: dict[str, Search | None] = {}
    for config in (cls.Config, TrainConfig):
        for name in types_of(config):
            search = cls.search.get(name, limits_of(config, name).get("search"))
            if name not in found and (config is cls.Config or name not in unused):
                found[name] = search
    return {name: search for name, search in found.items() if search is not None}


def checked(cls: type[Recommender], space: Mapping[str, Search]) -> Space:
    """Checks ranges that a caller gave.

    Raises:
        ValueError: an unknown setting, or values that it cannot have.
    """
    hints = _hints(cls)
    for name, search in space.items():
        if name not in hints:
            raise ValueError(
                f"search of {name}: neither {cls.__name__} nor training has such a setting; "
                + known_names(name, hints)
            )
        if isinstance(search, Range) and hints[name] not in (int, float):
            raise ValueError(
                f"search of {name}={search}: it is {configs.type_name(hints[name])}, no number; "
                f"give its values as {name}=A|B|C"
            )
        config = cls.Config if name in types_of(cls.Config) else TrainConfig
        for value in search.ends:
            configs.replaced(config(), {name: value}, "search of")
    return dict(space)


def parsed(cls: type[Recommender], assignments: Iterable[str]) -> Space:
    """Parses ranges.

    Args:
        cls: The model's class.
        assignments: Texts such as "dropout=0.1..0.5", "learning_rate=1e-4..1e-2,log" and
            "hidden=64|128,32".

    Raises:
        ValueError: text of another form, an unknown name, or values that it cannot have.
    """
    found: Space = {}
    for text in assignments:
        name, _, values = text.partition("=")
        try:
            found[name] = _search(cls, name, values)
        except ValueError as error:
            raise ValueError(f"--search {text!r}: {error}") from None
    return checked(cls, found)


def _search(cls: type[Recommender], name: str, text: str) -> Search:
    if match := _RANGE.fullmatch(text):
        low, high, log = match.groups()
        return Range(float(low), float(high), log=bool(log))
    if "|" not in text:
        raise ValueError(
            "write LOW..HIGH, LOW..HIGH,log or A|B|C; to fix a value, --set or --train"
        )
    config = cls.Config if name in types_of(cls.Config) else TrainConfig
    values = [configs.parsed(config, [f"{name}={v}"], "--search")[name] for v in text.split("|")]
    return OneOf(*values)


def _hints(cls: type[Recommender]) -> dict[str, Any]:
    return types_of(TrainConfig) | types_of(cls.Config)


def defaults(space: Space, own: Any, train: TrainConfig) -> dict[str, Any]:
    """The values of the searched settings that trials start from."""
    values = dataclasses.asdict(train) | dataclasses.asdict(own)
    return {name: values[name] for name in space}


def listing(space: Space, start: Mapping[str, Any]) -> str:
    """The space as text, a line for each setting.

    Args:
        space: Ranges by name.
        start: The values that trials start from.
    """
    width = max(map(len, space), default=0)
    return "\n".join(
        f"  {name:{width}}  {search}  (default: {configs.text_of(start[name])})"
        for name, search in space.items()
    )
