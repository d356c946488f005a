"""Raw ids and positions: coding, order, vocabulary files and the tables aligned with them."""

import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tfrec import schema
from tfrec.data import stored

_INTEGER = re.compile(r"-?[0-9]+")


class Coder:
    """Numbers raw ids from 0 in order of first appearance, one column chunk at a time."""

    def __init__(self, what: str):
        """Starts empty; `what` ("user" or "item") is used in errors."""
        self._what = what
        self._codes: dict[str, int] = {}
        self._rows = 0
        self._known: tuple[pd.Index | None, np.ndarray] = None, np.zeros(0, np.int32)

    def encode(self, column: pd.Series) -> np.ndarray:
        """Returns the codes of `column`, int32 `[len(column)]`; new ids get the next numbers.

        All ids of a categorical column get codes, whether they occur or not.

        Raises:
            ValueError: an id is missing, empty or contains a line break.
        """
        if isinstance(column.dtype, pd.CategoricalDtype):
            local, table = column.cat.codes.to_numpy(), self._of_categories(column.cat.categories)
        else:
            local, uniques = pd.factorize(column)
            table = self._of_ids(uniques)
        if len(local) and local.min() < 0:
            row = self._rows + int(np.argmin(local)) + 1
            raise ValueError(f"rating {row}: the {self._what} id is missing")
        self._rows += len(local)
        return table[local]

    def _of_categories(self, categories: pd.Index) -> np.ndarray:
        """Codes of a categorical's ids, computed once for all chunks that share them."""
        if self._known[0] is not categories:
            self._known = categories, self._of_ids(categories)
        return self._known[1]

    def _of_ids(self, found: Iterable[object]) -> np.ndarray:
        """Codes of ids, int32; new ones get the next numbers."""
        codes, ids = self._codes, [str(raw_id) for raw_id in found]
        for raw_id in ids:
            if raw_id not in codes:
                self._check(raw_id)
                codes[raw_id] = len(codes)
        return np.fromiter(map(codes.__getitem__, ids), np.int32, len(ids))

    def _check(self, raw_id: str) -> None:
        """A vocabulary file has one id a line, so an id is neither empty nor two lines."""
        if not raw_id or "\n" in raw_id or "\r" in raw_id:
            raise ValueError(
                f"{self._what} id {raw_id!r} is empty or has a line break; ids are one line of text"
            )

    @property
    def ids(self) -> list[str]:
        """The raw ids, `ids[code]`."""
        return list(self._codes)


def sort_ids(ids: Sequence[str]) -> np.ndarray:
    """Returns the order that sorts `ids`: as numbers if all are integers, else as text."""
    if all(_INTEGER.fullmatch(raw_id) for raw_id in ids):
        return np.array(sorted(range(len(ids)), key=lambda i: (int(ids[i]), ids[i])), np.int64)
    return np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)


def select(ids: Sequence[str], used: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Selects and sorts the ids in use.

    Args:
        ids: Raw ids by code.
        used: bool `[len(ids)]`, which codes to keep.

    Returns:
        The kept ids, sorted, and each code's position among them, int32 `[len(ids)]`,
        -1 for codes that are not kept.
    """
    kept = np.flatnonzero(used)
    kept = kept[sort_ids([ids[code] for code in kept])]
    positions = np.full(len(ids), -1, np.int32)
    positions[kept] = np.arange(len(kept), dtype=np.int32)
    return [ids[code] for code in kept], positions


def write(path: str | pathlib.Path, ids: Sequence[str]) -> None:
    """Writes one id a line, UTF-8; the line number, from 0, is the position."""
    with pathlib.Path(path).open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"{raw_id}\n" for raw_id in ids)


def read(path: str | pathlib.Path) -> list[str]:
    """Reads a vocabulary file.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged, or its number of lines differs from `info.json`.
    """
    path = pathlib.Path(path)
    due = _lines(path)
    with stored.reading(path):
        *ids, rest = path.read_bytes().decode("utf-8").split("\n")
        if rest or due not in (None, len(ids)):
            raise ValueError(f"{len(ids)} whole lines, {len(ids) if due is None else due} expected")
    return ids


def _lines(path: pathlib.Path) -> int | None:
    """The expected number of lines of a vocabulary file; None if there is no `info.json`."""
    info = stored.info_beside(path)
    if info is None:
        return None
    due = {schema.vocabulary_file(field.name): field.size - 1 for field in info.fields}
    return (due | {schema.USERS_FILE: info.n_users, schema.ITEMS_FILE: info.n_items}).get(path.name)


def read_table(path: str | pathlib.Path) -> pd.DataFrame:
    """Reads a table of users or items, such as `item_fields.csv`.

    Returns:
        All text, "" where unknown; aligned with the vocabulary.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged, or its number of rows differs from `info.json`.
    """
    path = pathlib.Path(path)
    info = stored.info_beside(path)
    with stored.reading(path):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        key = "user" if path.name == schema.USER_FIELDS_FILE else "item"
        due = len(table) if info is None else {"user": info.n_users, "item": info.n_items}[key]
        if table.columns[0] != key or len(table) != due:
            raise ValueError(f"{len(table)} rows by {table.columns[0]!r:.40}, not {due} by {key!r}")
    return table


def titles(data_dir: str | pathlib.Path) -> list[str]:
    """The items' titles in vocabulary order, "" where the data has none; raises as `read_table`."""
    fields = pathlib.Path(data_dir) / schema.ITEM_FIELDS_FILE
    table = read_table(fields) if fields.exists() else pd.DataFrame()
    if "title" in table:
        return table["title"].tolist()
    return [""] * len(read(pathlib.Path(data_dir) / schema.ITEMS_FILE))


def align(table: pd.DataFrame, key: str, ids: Sequence[str]) -> pd.DataFrame | None:
    """Returns the side table's rows in the order of `ids`, as text, or None without fields.

    Ids that are not in the table get empty texts; its rows for other ids are left out.

    Raises:
        ValueError: the table has two rows for one id.
    """
    if len(table.columns) < 2:
        return None
    keys = table[key].astype(str)
    if keys.duplicated().any():
        raise ValueError(
            f"{key} {keys[keys.duplicated()].iloc[0]!r} has more than one row in the {key} table; "
            "keep one row for each id"
        )
    fields = table.drop(columns=key).astype(object).set_axis(keys, axis=0)
    fields = fields.reindex(list(ids))
    fields = fields.where(fields.notna(), "").astype(str)
    return fields.rename_axis(key).reset_index()
