"""A pandas frame as a raw data set, with frames of user and item fields beside it."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping

import numpy
import pandas
import pyarrow

from tfrec.config import known_names
from tfrec.datasets import tabular
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.datasets.tabular_typed import TypedTable

_ROWS = 1 << 18  # a batch


@dataclasses.dataclass(frozen=True)
class FrameTable(TypedTable):
    """A frame of events.

    Attributes:
        frame: A row an event.
    """

    frame: pandas.DataFrame

    where = "the frame"
    cure = "{name}=COLUMN"

    def batches(self) -> Iterator[pyarrow.Table]:
        names = list(self.columns.values())
        for start in range(0, max(1, len(self.frame)), _ROWS):
            part = self.frame[names].iloc[start : start + _ROWS]
            yield pyarrow.Table.from_pandas(part, preserve_index=False)

    def count(self):
        return len(self.frame)


def read(
    frame: pandas.DataFrame,
    columns: Mapping[str, str | None],
    users: pandas.DataFrame | None = None,
    items: pandas.DataFrame | None = None,
    name: str = "frame",
) -> RawDataset:
    """Opens a frame.

    Args:
        frame: A row an event; ids of any type become strings, times are seconds since 1970,
            datetimes or ISO texts.
        columns: The frame's names of "user", "item" and, where there are some, "value" and
            "time"; None where there is none.
        users: Fields of users: the id in the column that `columns` names (or "user"), all other
            columns become fields.
        items: The same of items; a column "title" names them in answers.
        name: Name of the data set, part of its protocol.

    Raises:
        ValueError: a column is not there, a value is missing or of the wrong kind, an id has two
            rows in `users` or `items`, or the frame is empty.
    """
    wanted = _wanted(frame, columns)
    given = {key: t for key, t in (("user", users), ("item", items)) if t is not None}
    fields = {key: _fields(table, key, wanted[key]) for key, table in given.items()}
    kinds = {
        str(column): _kind(table[column])
        for key, table in given.items()
        for column in table.columns
        if column not in (key, wanted[key])
    }
    parts = (frame[list(wanted.values())], *given.values())
    opened = tabular.of_tables(name, [FrameTable(wanted, frame)], _fingerprint(*parts))
    return dataclasses.replace(
        opened,
        users=fields.get("user", opened.users),
        items=fields.get("item", opened.items),
        kinds=kinds,
    )


def chunks(
    frame: pandas.DataFrame, columns: Mapping[str, str | None]
) -> Iterator[pandas.DataFrame]:
    """Yields the events of a frame, as `RawDataset.chunks` does; arguments as of `read`.

    Raises:
        ValueError: as `read`.
    """
    return tabular.chunks([FrameTable(_wanted(frame, columns), frame)])


def _wanted(frame: pandas.DataFrame, columns: Mapping[str, str | None]) -> dict[str, str]:
    """The columns to read by our names, all of them there."""
    wanted = {ours: column for ours, column in columns.items() if column is not None}
    for ours, column in wanted.items():
        _refuse_missing(frame, column, ours)
    if frame.empty:
        raise ValueError("the frame is empty: it has no rows")
    return wanted


def _refuse_missing(frame: pandas.DataFrame, column: str, ours: str) -> None:
    if column not in frame.columns:
        names = [str(name) for name in frame.columns]
        raise ValueError(
            f"the frame has no column {column!r} for {ours}: {known_names(column, names)[:300]}; "
            f"say which it is with {ours}=COLUMN"
        )


def _fields(table: pandas.DataFrame, key: str, column: str) -> pandas.DataFrame:
    """The table as text, "" where unknown, its id column first and called `key`."""
    column = column if column in table.columns else key
    _refuse_missing(table, column, key)
    ids = [batch[key].to_pandas() for batch in FrameTable({key: column}, table).frames()]
    others = [name for name in table.columns if name not in (column, key)]
    texts = {str(name): [_text(value) for value in table[name]] for name in others}
    return pandas.DataFrame({key: pandas.concat(ids, ignore_index=True), **texts}, dtype="str")


def _text(value: object) -> str:
    """One entry; the members of a list are joined by "|"."""
    if isinstance(value, (list, tuple, set, frozenset, numpy.ndarray)):
        return "|".join(sorted(map(str, value)))
    return "" if pandas.isna(value) else str(value)


def _kind(column: pandas.Series) -> str:
    """What kind of field a column is, see `schema.Field`."""
    if column.name == "title":
        return "text"
    is_number = pandas.api.types.is_numeric_dtype(column)
    if is_number and not pandas.api.types.is_bool_dtype(column):
        return "number"
    return "set" if any("|" in _text(value) for value in column) else "category"


def _fingerprint(*frames: pandas.DataFrame) -> str:
    """SHA-256 over the frames' columns and values."""
    digest = hashlib.sha256()
    is_object = pandas.api.types.is_object_dtype
    for frame in frames:
        plain = frame.apply(lambda column: column.map(_text) if is_object(column) else column)
        digest.update("\x1f".join(map(str, frame.columns)).encode())
        digest.update(pandas.util.hash_pandas_object(plain, index=False).to_numpy().tobytes())
    return digest.hexdigest()
