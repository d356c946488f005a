"""A reference of settings: name, default, type, range and meaning."""

import dataclasses
import inspect
import re
import textwrap
from typing import Any, NamedTuple

from tfrec.config import limits_of, text_of, type_name, types_of

WIDTH = 100


class Entry(NamedTuple):
    """One setting.

    Attributes:
        name: Its name.
        type: Its type, as in source code.
        value: Its default, as in a flag.
        must_be: Its range, or "one of" its known names; empty: no limits.
        help: Its description in the docstring.
    """

    name: str
    type: str
    value: str
    must_be: str
    help: str


def describe(config: Any) -> list[Entry]:
    """The settings of a dataclass instance, whose values are shown as the defaults.

    Args:
        config: Such as `SASRec.Config()`, `SASRec.defaults` or `DataConfig()`; only fields made
            by `tfrec.config.setting` have ranges. Settings of a split are described by its rule,
            `DataConfig().rule`.
    """
    cls = type(config)
    texts = help_of(cls)
    listed = {f.name for f in dataclasses.fields(cls) if "of_split" not in f.metadata}
    return [
        Entry(
            name, type_name(hint), text_of(getattr(config, name)), _limits(cls, name), texts[name]
        )
        for name, hint in types_of(cls).items()
        if name in listed
    ]


def table(config: Any, title: str) -> str:
    """The settings as text, for `--list_settings`."""
    lines = [title]
    for entry in describe(config):
        kind = ", ".join(filter(None, [entry.type, entry.must_be]))
        lines.append(_wrapped(f"{entry.name}={entry.value}  ({kind})", 2, 8))
        if entry.help:
            lines.append(_wrapped(entry.help, 6, 6))
    return "\n".join(lines)


def _wrapped(text: str, first: int, rest: int) -> str:
    indents = {"initial_indent": " " * first, "subsequent_indent": " " * rest}
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False, **indents)


def _limits(cls: type, name: str) -> str:
    limits = limits_of(cls, name)
    if limits.get("choices"):
        return "one of " + ", ".join(limits["choices"])
    return limits.get("must_be", "")


def help_of(cls: type) -> dict[str, str]:
    """Descriptions of fields in the `Attributes:` of a class and its bases.

    The nearest class counts; a field without a description has an empty text.
    """
    found = dict.fromkeys(types_of(cls), "")
    for base in reversed(cls.__mro__):
        _, _, part = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        for entry in re.split(r"\n(?=    \S)", part.partition("\n\n")[0]):
            name, _, text = entry.strip().partition(":")
            if name in found:
                found[name] = " ".join(text.split())
    return found
