"""Side tables of items and users: files or frames, joined by id."""

import dataclasses
import io
import pathlib
import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy
import pandas

from tfrec.config import known_names
from tfrec.datasets import files, text_format
from tfrec.datasets.roles import RESERVED, Columns, NamedField

Source: TypeAlias = str | pathlib.Path | pandas.DataFrame
NUMBER = r"^[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"  # not 02139, which is a code
_PARQUET = re.compile(r"\.(parquet|pq)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class SideTable:
    """Fields of items or of users.

    Attributes:
        of: "item" or "user".
        frame: All text, "" where unknown; its first column is the id, whose name is `of`.
        kinds: Kind by column, as of `RawDataset.kinds`.
        taken: Roles and fields of --columns that this table has.
        dropped: Number of rows left out because they have no id.
    """

    of: str
    frame: pandas.DataFrame
    kinds: dict[str, str]
    taken: frozenset[str] = frozenset()
    dropped: int = 0


def read(source: Source, of: str, columns: Columns, drop: bool = False) -> SideTable:
    """Reads a table of items or users; all its columns become fields.

    Args:
        source: A CSV, TSV or Parquet file, compressed or not, or a frame. The ids are in the
            column with the name that they have in the events, or `of`, or `id`.
        of: "item" or "user".
        columns: Names and kinds of its columns, as far as they are given; `title` is a text.
        drop: Leave out rows without an id.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it has no column of ids, a row without an id, or an id has two rows.
    """
    where, table, typed = load(source, of)
    key = _key(table, where, of, columns)
    ids = table[key].map(id_text)
    empty = (ids == "").to_numpy()
    if empty.any() and not drop:
        raise ValueError(
            f"{where}, row {int(numpy.argmax(empty)) + 1}, column {key}: the {of} id is missing; "
            f"{int(empty.sum())} rows have none: leave them out with --data missing=drop "
            "(missing='drop' in Python)"
        )
    table, ids = table[~empty], ids[~empty]
    if ids.duplicated().any():
        raise ValueError(
            f"{where}: {of} {ids[ids.duplicated()].iloc[0]!r} has more than one row; keep one row "
            "an id"
        )
    wanted = _wanted(table, of, columns)
    frame, kinds = {of: ids}, {}
    for column in (column for column in table.columns if column != key):
        field = wanted.get(str(column)) or NamedField(_name(str(column), [of, *frame]), str(column))
        frame[field.name] = table[column].map(text)
        kind = "text" if field.name == "title" else field.kind
        kinds[field.name] = kind or _kind(table[column], frame[field.name], typed)
    found = pandas.DataFrame(frame, dtype="str").reset_index(drop=True)
    taken = frozenset(field.name for field in wanted.values())
    return SideTable(of, found, kinds, taken, int(empty.sum()))


def text(value: object) -> str:
    """An entry as text; the members of a list are joined by "|"."""
    if isinstance(value, (list, tuple, set, frozenset, numpy.ndarray)):
        return "|".join(sorted(map(str, value)))
    return "" if pandas.isna(value) else str(value)


def id_text(value: object) -> str:
    """An id as text; in a column with missing entries whole numbers are floats."""
    if isinstance(value, (float, numpy.floating)) and float(value).is_integer():
        return str(int(value))
    return text(value).strip()


def _kind(column: pandas.Series, texts: pandas.Series, typed: bool) -> str:
    """Infers "number", "set" (members joined by "|") or "category", from type or texts."""
    known = texts[texts != ""]
    if typed:
        types = pandas.api.types
        is_number = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
    else:
        is_number = len(known) > 0 and known.str.match(NUMBER).all()
    if is_number:
        return "number"
    return "set" if known.str.contains("|", regex=False).any() else "category"


def load(source: Source, of: str) -> tuple[str, pandas.DataFrame, bool]:
    """The table's name in errors, the table, and whether its columns are typed.

    Args:
        source: As of `read`.
        of: "item" or "user", for errors.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or not one table.
    """
    if isinstance(source, pandas.DataFrame):
        return f"the frame of {of}s", source, True
    path = pathlib.Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"--{of}s={source} does not exist; pass a CSV, TSV or Parquet file")
    found = files.from_path(path)
    if len(found.names) != 1:
        raise ValueError(f"--{of}s={source} holds {len(found.names)} files; pass one of them")
    file = found.file(found.names[0])
    if _PARQUET.search(file.name):
        with files.naming(file.where):
            return file.where, pandas.read_parquet(io.BytesIO(file.read())), True
    return file.where, text_format.whole(file), False


def _key(table: pandas.DataFrame, where: str, of: str, columns: Columns) -> str:
    names = [str(name) for name in table.columns]
    wanted = [columns.roles.get(of, of), of, "id"]
    for name in wanted:
        same = [n for n in names if n.casefold() == name.casefold()]
        if len(same) == 1:
            return same[0]
    known = known_names(wanted[0], names)[:300]
    raise ValueError(
        f"{where} has no column {wanted[0]!r} of {of} ids: {known}; give it the name that it has "
        f"in the events, or {of!r}"
    )


def _wanted(table: pandas.DataFrame, of: str, columns: Columns) -> dict[str, NamedField]:
    """The fields of --columns that are in this table, by column."""
    given = [f for f in columns.fields if f.of in ("", of)]
    if of == "item" and "title" in columns.roles:
        given.append(NamedField("title", columns.roles["title"], "text", "item"))
    return {field.column: field for field in given if field.column in table.columns}


def _name(column: str, others: Sequence[str]) -> str:
    """A field's name for a column: letters, digits and _, different from the others."""
    name = re.sub(r"[^0-9A-Za-z_]+", "_", column).strip("_") or "field"
    if name.casefold() == "title":
        name = "title"
    if name[0].isdigit() or name in RESERVED:
        name = f"{others[0]}_{name}"
    numbers = (f"{name}_{n}" for n in range(2, len(others) + 3))
    return name if name not in others else next(n for n in numbers if n not in others)
