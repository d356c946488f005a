"""Any table of events: CSV, TSV or Parquet, compressed or not, with its columns in --columns.

`--columns=user=customer_id,item=sku,value=stars,time=bought_at,title=product`. Only user and item
are required: without a value every event is 1, without a time none is known. Other columns, such
as `price=unit_price:number`, become fields for models that read side information, and so do those
of side tables (see `side_tables`). Separator and header are inferred unless `separator=` and
`header=` are given. pyarrow reads in bounded memory.
"""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence

import pandas

from tfrec.datasets import (
    event_tables,
    files,
    roles,
    side_tables,
    tabular_parquet,
    tabular_text,
    text_format,
)
from tfrec.datasets.event_tables import Events
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.datasets.roles import Columns, NamedField
from tfrec.datasets.side_tables import SideTable, Source

_TEXT = re.compile(r"\.(csv|tsv|txt|dat|tab|data)(\.gz)?$", re.IGNORECASE)
_PARQUET = re.compile(r"\.(parquet|pq)$", re.IGNORECASE)
_NOT_ROWS = re.compile(r"(^|/)(\.|_|readme|license)", re.IGNORECASE)


def read(
    name: str,
    parts: Mapping[int, files.Files],
    fold: str | None,
    given: str = "",
    missing: str = "error",
    users: Source | None = None,
    items: Source | None = None,
) -> RawDataset:
    """Opens tables of events.

    Args:
        name: Name of the data set.
        parts: One file, or several with the same columns, read in order of names, by part: 0
            training, 1 test, 2 validation, or just 0 if they are not split.
        fold: None, or any text to read the parts.
        given: The value of --columns; if empty, columns are `user`, `item` and, where they
            exist, `value`, `time`, `title`.
        missing: "error", or "drop": rows without user or item are left out.
        users: A table of users.
        items: A table of items.

    Raises:
        FileNotFoundError: there is no table.
        ValueError: a part or a column is missing, or a bad line.
    """
    columns, drop = roles.parse(given), missing == "drop"
    if fold is not None and len(parts) == 1 and "part" not in columns.roles:
        raise ValueError(
            f"--data split=folds: {name} comes without folds; use --split=random, give the files "
            "with --train_raw and --test_raw, or the column that holds the part with --columns "
            "...,part=COLUMN"
        )
    rows = {code: _table_files(found) for code, found in parts.items()}
    marks = {
        code: files.fingerprint(found) for code, found in rows.items()
    }  # fails early on damaged files
    sides = read_sides(columns, drop, users=users, items=items)
    wanted, fields = of_events(columns, sides)
    tables = {
        code: [
            dataclasses.replace(_table(file, wanted, columns.settings), drop=drop) for file in found
        ]
        for code, found in rows.items()
    }
    events = Events(tables, fields, drop, by_part=fold is not None)
    read_as = _read_as(tables[0][0])
    return event_tables.dataset(name, events, sides, joined_mark(marks, sides), read_as)


def read_sides(
    columns: Columns, drop: bool, *, users: Source | None, items: Source | None
) -> list[SideTable]:
    """The side tables that are given; arguments and errors as of `side_tables.read`.

    Raises:
        ValueError: also if a field of both tables has the same name.
    """
    given = {"item": items, "user": users}
    found = [
        side_tables.read(source, of, columns, drop)
        for of, source in given.items()
        if source is not None
    ]
    if len(found) == 2 and (both := found[0].kinds.keys() & found[1].kinds.keys()):
        name = min(both)
        raise ValueError(
            f"both --items and --users have a column {name!r}: rename one, or give it another name "
            f"with --columns ...,user_{name}={name}:category:user"
        )
    return found


def of_events(
    columns: Columns, sides: Sequence[SideTable]
) -> tuple[dict[str, str], tuple[NamedField, ...]]:
    """The columns to read of the events: their names of our columns, and the fields.

    Raises:
        ValueError: a field has the name of one of a side table.
    """
    taken = {name for side in sides for name in side.taken}
    there = {name for side in sides for name in side.kinds} - taken
    own = [field for field in columns.fields if field.name not in taken]
    for field in own:
        if field.name in there:
            raise ValueError(
                f"--columns {field.name}={field.column}: a side table has a column of that name; "
                "choose another name"
            )
    wanted = {n: c for n, c in columns.roles.items() if n not in taken}
    fields = [dataclasses.replace(field, of=field.of or "item") for field in own]
    if "title" in wanted and "title" in there:
        del wanted["title"]
    return wanted | {field.name: field.column for field in own}, tuple(fields)


def joined_mark(marks: Mapping[int, str], sides: Sequence[SideTable]) -> str:
    """One fingerprint of the events' parts and the side tables."""
    if len(marks) == 1 and not sides:
        return marks[0]
    words = [f"{code} {mark}" for code, mark in marks.items()]
    for side in sides:
        rows = pandas.util.hash_pandas_object(side.frame, index=False).to_numpy()
        digest = hashlib.sha256(rows.tobytes()).hexdigest()
        words.append(f"{side.of} {side.kinds} {digest}")
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _read_as(table: tabular_text.TextTable | tabular_parquet.ParquetTable) -> dict[str, str]:
    """The file's names of our columns."""
    if isinstance(table, tabular_text.TextTable):
        return {name: table.names[i] for name, i in table.positions.items()}
    return dict(table.columns)


def _table_files(found: files.Files) -> list[files.TextFile]:
    names = [n for n in found.names if not _NOT_ROWS.search(n)]
    if len(found.names) > 1:
        for kind in (_PARQUET, _TEXT):
            if any(kind.search(n) for n in names):
                names = [n for n in names if kind.search(n)]
                break
        else:
            names = []
    if not names:
        cure = "pass a .csv, .tsv, .txt, .dat (or .gz) or .parquet file, or a folder, with --raw"
        raise found.missing("table", cure)
    return [found.file(n) for n in names]


def _table(
    file: files.TextFile, wanted: dict[str, str], settings: dict[str, str]
) -> tabular_text.TextTable | tabular_parquet.ParquetTable:
    if _PARQUET.search(file.name):
        return tabular_parquet.open_table(file, wanted)
    return text_format.infer(
        file, wanted, settings.get("separator", ""), settings.get("header", "")
    )
