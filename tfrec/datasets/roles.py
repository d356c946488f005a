"""The roles of a table's columns, as given by `--columns` or by keywords in Python."""

import dataclasses
import difflib
from collections.abc import Mapping

from tfrec.config import known_names

ROLES = ("user", "item", "value", "time", "title", "part")
KINDS = ("category", "set", "number", "bucket", "prefix", "text")
OWNERS = ("item", "user", "event")
SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
SETTINGS = {"separator": tuple(SEPARATORS), "header": ("yes", "no")}
RESERVED = ("user", "item", "value", "time", "part", "test", "weekday", "hour", "day")
_OF_EVENTS = ("category", "number")
_ALIKE = 0.7  # similarity to a role from which a name without a kind counts as mistyped


@dataclasses.dataclass(frozen=True)
class NamedField:
    """A further column that models may read.

    Attributes:
        name: Name of the field.
        column: The table's name of it, or its position from 1.
        kind: As of `schema.Field`, or "prefix"; inferred if empty.
        of: What it describes: "item", "user" or "event"; if empty, the kind of the side table
            that has it, else the item.
    """

    name: str
    column: str
    kind: str = ""
    of: str = ""


@dataclasses.dataclass(frozen=True)
class Columns:
    """Roles of columns, further fields, and settings of the reader.

    Attributes:
        roles: The table's names of "user", "item" and other `ROLES`; empty: the columns have
            those names.
        fields: Further columns.
        settings: Settings of the reader, by name.
    """

    roles: dict[str, str] = dataclasses.field(default_factory=dict)
    fields: tuple[NamedField, ...] = ()
    settings: dict[str, str] = dataclasses.field(default_factory=dict)


def parse(text: str) -> Columns:
    """Parses --columns, such as `user=customer_id,item=sku,price=unit_price:number`.

    Raises:
        ValueError: not of the form name=column, an unknown name or kind, a duplicate, or user or
            item is missing.
    """
    given: dict[str, str] = {}
    for part in (part for part in text.split(",") if part.strip()):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not value:
            raise ValueError(
                f"--columns={text}: {part!r} is not of the form name=column, such as "
                "--columns=user=customer_id,item=sku,value=stars,time=bought_at"
            )
        if name in given:
            raise ValueError(f"--columns={text}: {name!r} is given twice; give it once")
        given[name] = value
    return from_mapping(given, f"--columns={text}:")


def from_mapping(given: Mapping[str, str], where: str) -> Columns:
    """Roles, fields and settings of the reader, distinguished by their names.

    Args:
        given: Columns by name; those of fields may end in `:KIND` or `:KIND:OWNER`.
        where: The beginning of an error.

    Raises:
        ValueError: as `parse`.
    """
    roles, fields, settings = {}, [], {}
    for name, value in given.items():
        if name in ROLES:
            roles[name] = value
        elif name in SETTINGS:
            if value not in SETTINGS[name]:
                known = known_names(value, SETTINGS[name])
                raise ValueError(f"--columns {name}={value}: {known}")
            settings[name] = value
        else:
            fields.append(_field(name, value, where))
    for name in ("user", "item"):
        if (roles or fields) and name not in roles:
            raise ValueError(f"{where} {name}=COLUMN is missing")
    used = [*roles.items(), *((field.name, field.column) for field in fields)]
    for i, (name, column) in enumerate(used):
        if column in dict(used[:i]).values():
            raise ValueError(f"{where} {name}={column}: that column is given twice; give it once")
    return Columns(roles, tuple(fields), settings)


def _field(name: str, value: str, where: str) -> NamedField:
    column, *rest = value.split(":")
    kind, of = [*rest, "", ""][:2]
    if not rest and difflib.get_close_matches(name, [*ROLES, *SETTINGS], 1, _ALIKE):
        known = known_names(name, [*ROLES, *SETTINGS])
        raise ValueError(
            f"{where} {name!r} is unknown; {known}; a column of your own needs its kind: "
            f"{name}={value}:category"
        )
    if not (name.isascii() and name.isidentifier()) or name in RESERVED:
        raise ValueError(
            f"{where} {name!r} cannot be the name of a field: choose another, of letters, digits "
            f"and _, such as {name.strip('_') or 'my'}_field={value}"
        )
    for word, what, choices in ((kind, "kind", KINDS), (of, "owner", OWNERS)):
        if word and word not in choices:
            names = known_names(word, choices)
            raise ValueError(f"{where} {name}={value}: no {what} {word!r}; {names}")
    if len(rest) > 2 or not column:
        raise ValueError(f"{where} {name}={value} is not of the form {name}=COLUMN:KIND:OWNER")
    if of == "event" and kind and kind not in _OF_EVENTS:
        raise ValueError(
            f"{where} {name}={value}: a field of events is a category or a number, not a {kind}"
        )
    return NamedField(name, column, kind, of)
