"""A pandas frame of events as a raw data set, with optional frames of user and item fields."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping

import pandas
import pyarrow

from tfrec.config import known_names
from tfrec.datasets import event_tables, side_tables, tabular
from tfrec.datasets.event_tables import Events
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.datasets.roles import Columns
from tfrec.datasets.side_tables import Source
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

    def count(self) -> int:
        return len(self.frame)


def read(
    frame: pandas.DataFrame | Mapping[int, pandas.DataFrame],
    columns: Columns,
    users: Source | None = None,
    items: Source | None = None,
    name: str = "frame",
    missing: str = "error",
    by_part: bool = False,
) -> RawDataset:
    """Opens a frame, or frames of given parts.

    Args:
        frame: A row an event; ids of any type become strings, times are seconds since 1970,
            datetimes or ISO texts. By part: 0 training, 1 test, 2 validation.
        columns: The frame's names of "user", "item" and of other columns to read.
        users: A table of users, with the id in the column given by `columns` (or "user"); all
            other columns become fields.
        items: The same for items; a column "title" is shown with recommendations.
        name: Name of the data set, part of its protocol.
        missing: "error", or "drop": rows without user or item are left out.
        by_part: Whether the parts are read.

    Raises:
        ValueError: a column is missing, a value is missing or of the wrong type, an id has two
            rows in `users` or `items`, or the frame is empty.
    """
    parts = {0: frame} if isinstance(frame, pandas.DataFrame) else frame
    drop = missing == "drop"
    sides = tabular.read_sides(columns, drop, users=users, items=items)
    wanted, fields = tabular.of_events(columns, sides)
    tables = {c: [FrameTable(_wanted(part, wanted), part, drop=drop)] for c, part in parts.items()}
    events = Events(tables, fields, drop, by_part)
    used, words = list(wanted.values()), [str(field) for field in fields]
    marks = {code: _fingerprint(part[used], *words) for code, part in parts.items()}
    mark = tabular.joined_mark(marks, sides)
    return event_tables.dataset(name, events, sides, mark, wanted)


def chunks(
    frame: pandas.DataFrame, columns: Mapping[str, str | None]
) -> Iterator[pandas.DataFrame]:
    """Yields the events of a frame, as `RawDataset.chunks` does.

    Args:
        frame: As of `read`.
        columns: The frame's names of "user", "item" and, where there is one, "time".

    Raises:
        ValueError: as `read`.
    """
    wanted = {ours: column for ours, column in columns.items() if column is not None}
    return Events({0: [FrameTable(_wanted(frame, wanted), frame)]}).chunks()


def _wanted(frame: pandas.DataFrame, columns: Mapping[str, str]) -> dict[str, str]:
    """The columns to read by our names, checked to exist."""
    for ours, column in columns.items():
        if column not in frame.columns:
            names = [str(name) for name in frame.columns]
            raise ValueError(
                f"the frame has no column {column!r} for {ours}: "
                f"{known_names(column, names)[:300]}; say which it is with {ours}=COLUMN"
            )
    if frame.empty:
        raise ValueError("the frame is empty: it has no rows")
    return dict(columns)


def _fingerprint(frame: pandas.DataFrame, *words: str) -> str:
    """SHA-256 over the frame's columns and values, and words."""
    digest = hashlib.sha256()
    is_object = pandas.api.types.is_object_dtype
    plain = frame.apply(lambda c: c.map(side_tables.text) if is_object(c) else c)
    digest.update("\x1f".join(map(str, [*frame.columns, *words])).encode())
    digest.update(pandas.util.hash_pandas_object(plain, index=False).to_numpy().tobytes())
    return digest.hexdigest()
