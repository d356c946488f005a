"""Tables of events, text, Parquet or frames, as one raw data set."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy
import pandas
import pyarrow
import pyarrow.compute
import tqdm

from tfrec.config import known_names
from tfrec.datasets import columns, side_tables
from tfrec.datasets.raw_dataset import RawDataset, rating_number
from tfrec.datasets.roles import NamedField
from tfrec.datasets.side_tables import SideTable

PARTS = {
    **dict.fromkeys(("train", "training"), 0),
    "test": 1,
    **dict.fromkeys(("validation", "valid", "val", "dev"), 2),
}
_MOST_STEPS = 100  # distinct values, at most, from which the step between ratings is inferred


@dataclasses.dataclass(frozen=True)
class Events:
    """Tables of events, and what to read of them.

    Attributes:
        tables: By part, 0 training, 1 test, 2 validation, read one after the other; only 0 where
            they are not split, or a column gives the part. They have `found`, `frames`, `locate`
            and `count`, like `tabular_text.TextTable`.
        fields: Further columns to read; each name is one of the tables' `found`.
        drop: Leave out rows without user or item.
        by_part: Whether the parts are read.
    """

    tables: Mapping[int, Sequence[Any]]
    fields: tuple[NamedField, ...] = ()
    drop: bool = False
    by_part: bool = False

    def frames(self) -> Iterator[tuple[int, pyarrow.Table, int]]:
        """Yields (part, rows, rows left out) of all tables in order."""
        for code, tables in self.tables.items():
            for table in tables:
                for rows in table.frames():
                    kept = self._kept(rows)
                    yield code, rows if kept is None else rows.filter(kept), _missing(kept)

    def _kept(self, rows: pyarrow.Table) -> pyarrow.Array | None:
        """Mask of the rows that have both ids; None if all are kept."""
        if not self.drop:
            return None
        equal = pyarrow.compute.not_equal
        kept = pyarrow.compute.and_(equal(rows["user"], ""), equal(rows["item"], ""))
        return None if pyarrow.compute.all(kept).as_py() else kept

    def locate(self, number: int) -> str:
        """File and line of a row that is kept, given its number from 0."""
        left = number
        for table in (table for tables in self.tables.values() for table in tables):
            before = 0
            for rows in table.frames() if self.drop else ():
                kept = self._kept(rows)
                at = numpy.arange(len(rows)) if kept is None else numpy.flatnonzero(kept)
                if left < len(at):
                    return table.locate(before + int(at[left]))
                left, before = left - len(at), before + len(rows)
            if not self.drop:
                if found := table.locate(left):
                    return found
                left -= table.count()
        return rating_number(number)  # the files have changed meanwhile

    def chunks(self) -> Iterator[pandas.DataFrame]:
        """Yields the events, as `RawDataset.chunks` does."""
        return columns.gather(self._chunks())

    def _chunks(self) -> Iterator[pandas.DataFrame]:
        own, n = [f for f in self.fields if f.of == "event"], 0
        for code, rows, _ in self.frames():
            ours = [n for n in ("user", "item", "value", "time") if n in rows.column_names]
            frame = rows.select(ours).to_pandas()
            if "value" not in frame:
                frame["value"] = numpy.ones(len(frame), numpy.float32)
            if "time" not in frame:
                frame["time"] = numpy.zeros(len(frame), numpy.int64)
            frame = frame[["user", "item", "value", "time"]]
            for field in own:
                frame[field.name] = self._entries(field, rows, n)
            if self.by_part:
                frame["test"] = self._parts(rows, n) if "part" in rows.column_names else code
                frame["test"] = frame["test"].astype(numpy.int8)
            n += len(frame)
            yield frame

    def _entries(self, field: NamedField, rows: pyarrow.Table, before: int) -> Any:
        """An event's own field: text, or float32 numbers."""
        texts = rows[field.name].to_pandas()
        if field.kind != "number":
            return texts
        numbers = pandas.to_numeric(texts.replace("", None), errors="coerce")
        numbers = numbers.to_numpy(numpy.float32)
        wrong = numpy.flatnonzero(numpy.isnan(numbers) & (texts != "").to_numpy())
        if len(wrong):
            raise ValueError(
                f"{self.locate(before + int(wrong[0]))}, column {field.column}: "
                f"{texts[wrong[0]]!r} is not a number; correct it, or read it as a category with "
                f"--columns ...,{field.name}={field.column}:category:event"
            )
        return numbers

    def _parts(self, rows: pyarrow.Table, before: int) -> numpy.ndarray:
        texts = rows["part"].to_pandas().str.strip().str.casefold()
        codes = texts.map(PARTS)
        if codes.isna().any():
            row = int(numpy.argmax(codes.isna()))
            raise ValueError(
                f"{self.locate(before + row)}: {texts[row]!r} is not a part; "
                f"{known_names(texts[row], PARTS)}; correct it, or name another column with "
                "--columns ...,part=COLUMN"
            )
        return codes.to_numpy()


def dataset(
    name: str,
    events: Events,
    sides: Sequence[SideTable],
    fingerprint: str,
    read_as: Mapping[str, str],
) -> RawDataset:
    """Makes a data set of tables of events and side tables, in one pass over the events.

    Args:
        name: Name of the data set.
        events: The tables of interactions.
        sides: Tables of items and users.
        fingerprint: SHA-256 over all their contents.
        read_as: The events' names of our columns, for messages.
    """
    there = {name for found in events.tables.values() for table in found for name in table.found}
    if "title" in there - {name for side in sides for name in side.kinds}:
        title = NamedField("title", read_as.get("title", "title"), "text", "item")
        events = dataclasses.replace(events, fields=(*events.fields, title))
    about = _Measured(events)
    fields = tuple(dataclasses.replace(f, kind=about.kind(f)) for f in events.fields)
    events = dataclasses.replace(events, fields=fields)
    tables = {of: _joined(of, about, fields, sides) for of in ("user", "item")}
    kinds = {f.name: f.kind for f in fields}
    for side in sides:
        kinds |= side.kinds
    dropped = about.dropped + sum(side.dropped for side in sides)
    return RawDataset(
        name=name,
        chunks=events.chunks,
        users=tables["user"],
        items=tables["item"],
        fingerprint=fingerprint,
        rating_min=about.lowest,
        rating_max=about.highest,
        rating_step=about.step,
        has_times=all("time" in t.found for found in events.tables.values() for t in found),
        kinds={"title": "text"} | kinds,
        brings_validation=events.by_part and 2 in about.parts,
        locate=events.locate,
        read_as=dict(read_as),
        dropped={"missing_id": dropped} if dropped else {},
    )


class _Measured:
    """Results of one pass: range and step of the values, first entries of users and items."""

    def __init__(self, events: Events):
        self.lowest, self.highest, self.dropped = numpy.inf, -numpy.inf, 0
        self.entries: dict[str, dict[str, str]] = {
            f.name: {} for f in events.fields if f.of != "event"
        }
        self.parts: set[int] = set()
        self._values: set[float] = set()
        self._numbers = {f.name: True for f in events.fields}
        self._sets = {f.name: False for f in events.fields}
        bar = tqdm.tqdm(desc="scanning values", unit=" rows", unit_scale=True, disable=None)
        with bar:
            for code, rows, dropped in events.frames():
                bar.update(len(rows))
                self.dropped += dropped
                self._take(code, rows, events.fields)
        if not numpy.isfinite(self.lowest):
            raise ValueError("the data set has no rows with both user and item")

    @property
    def step(self) -> float:
        """The least distance between two values, 0 if there are too many distinct ones."""
        known = 1 < len(self._values) <= _MOST_STEPS
        return float(min(numpy.diff(sorted(self._values)))) if known else 0.0

    def kind(self, field: NamedField) -> str:
        """The field's kind, inferred if it is not given."""
        if field.kind:
            return field.kind
        if self._numbers[field.name]:
            return "number"
        return "set" if self._sets[field.name] and field.of != "event" else "category"

    def _take(self, code: int, rows: pyarrow.Table, fields: Sequence[NamedField]) -> None:
        if not len(rows):
            return
        value = rows["value"].to_numpy() if "value" in rows.column_names else numpy.ones(1)
        self.lowest = min(self.lowest, float(value.min()))
        self.highest = max(self.highest, float(value.max()))
        if len(self._values) <= _MOST_STEPS:
            self._values.update(numpy.unique(value)[: _MOST_STEPS + 1].tolist())
        if "part" in rows.column_names:
            found = rows["part"].unique().to_pylist()
            self.parts |= {PARTS.get(text.strip().casefold(), -1) for text in found}
        else:
            self.parts.add(code)
        for field in (field for field in fields if field.name in rows.column_names):
            self._take_field(rows, field)

    def _take_field(self, rows: pyarrow.Table, field: NamedField) -> None:
        texts = pyarrow.compute.utf8_trim_whitespace(rows[field.name])
        known = pyarrow.compute.not_equal(texts, "")
        distinct = texts.filter(known).unique()
        matches = pyarrow.compute.match_substring_regex(distinct, side_tables.NUMBER)
        self._numbers[field.name] &= pyarrow.compute.all(matches).as_py() is not False
        in_sets = pyarrow.compute.match_substring(distinct, "|")
        self._sets[field.name] |= pyarrow.compute.any(in_sets).as_py() is True
        if field.of == "event":
            return
        owner = rows[field.of].filter(known)
        entries = pandas.DataFrame(
            {"id": owner.to_pandas(), "text": rows[field.name].filter(known)}
        )
        first = self.entries[field.name]
        for raw_id, text in entries.drop_duplicates("id").itertuples(index=False, name=None):
            first.setdefault(raw_id, text)


def _missing(kept: pyarrow.Array | None) -> int:
    return 0 if kept is None else len(kept) - pyarrow.compute.sum(kept).as_py()


def _joined(
    of: str, about: _Measured, fields: Sequence[NamedField], sides: Sequence[SideTable]
) -> pandas.DataFrame:
    """The table of users or items: fields of the side table, then those of the events."""
    own = {f.name: about.entries[f.name] for f in fields if f.of == of and about.entries[f.name]}
    found = pandas.DataFrame(own, dtype=object)
    for side in (side for side in sides if side.of == of):
        found = side.frame.set_index(of).join(found, how="outer")
    found = found.where(found.notna(), "").rename_axis(of)
    return found.reset_index().astype("str") if len(found.columns) else _nothing(of)


def _nothing(of: str) -> pandas.DataFrame:
    return pandas.DataFrame({of: []}, dtype="str")
