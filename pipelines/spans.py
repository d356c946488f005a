"""Spans on disk: a data set's events as columnar chunks, its side tables and its description.

events-00000.parquet ...  chunks of about a million events, in file order: `user` and `item` are
                          codes, line numbers of the files below; `value`, `time`, further columns
user_ids.txt item_ids.txt raw ids by code; likewise `field_<name>.txt` for categories
users.parquet items.parquet  the side tables, all text
span.json                 name, scale, kinds, number of events, fingerprint of the raw files
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from tfrec.data import vocabulary
from tfrec.data.ratings import CODED
from tfrec.datasets.raw_dataset import RawDataset

from . import artifacts

SPAN = "span.json"
_IDS = {"user": "user_ids.txt", "item": "item_ids.txt"}
_TABLES = {"user": "users.parquet", "item": "items.parquet"}
_ABOUT = ("name", "fingerprint", "rating_min", "rating_max", "rating_step", "has_times")
_KEYS = dict.fromkeys((*_ABOUT, "has_ids"), object) | {"kinds": dict, "coded": dict, "n": int}


@dataclasses.dataclass(frozen=True)
class Span:
    """One span, as written by `write`.

    Attributes:
        directory: Its directory.
        about: The contents of `span.json`.
    """

    directory: pathlib.Path
    about: dict[str, Any]

    @classmethod
    def load(cls, directory: str | pathlib.Path) -> "Span":
        """Reads `span.json`.

        Raises:
            ValueError: it is damaged.
        """
        directory = pathlib.Path(directory)
        return cls(directory, artifacts.read_json(directory / SPAN, _KEYS, optional=["error"]))

    @property
    def error(self) -> str:
        """Why the raw files could not be read; "" if they could."""
        return self.about.get("error", "")

    @property
    def files(self) -> list[pathlib.Path]:
        """The chunks in file order."""
        return sorted(self.directory.glob("events-*.parquet"))

    @property
    def coded(self) -> dict[str, str]:
        """The columns of codes, with the files of their texts."""
        return self.about["coded"]

    def texts(self, column: str) -> list[str]:
        """The texts of a column of codes, by code; empty if the span lacks the column."""
        if column not in self.coded:
            return []
        file = self.directory / self.coded[column]
        with artifacts.reading(file):
            return vocabulary.read(file)

    def table(self, of: str) -> pd.DataFrame:
        """The side table of users or items."""
        return read_chunk(self.directory / _TABLES[of])

    def chunks(self) -> Iterator[pd.DataFrame]:
        """The events, as from a data set's reader; ids are categoricals."""
        types = {name: pd.CategoricalDtype(self.texts(name)) for name in self.coded}
        for file in self.files:
            frame = read_chunk(file)
            for name, dtype in types.items():
                self.check_codes(name, frame, len(dtype.categories))
                frame[name] = pd.Categorical.from_codes(frame[name], dtype=dtype)
            yield frame

    def check_codes(self, column: str, frame: pd.DataFrame, n_texts: int) -> None:
        """Raises ValueError if a chunk has codes whose texts are missing."""
        with artifacts.reading(self.directory / self.coded[column]):
            if frame[column].max() >= n_texts:
                raise EOFError(f"{n_texts} texts for codes up to {frame[column].max()}")


def read_chunk(file: str | pathlib.Path) -> pd.DataFrame:
    """One chunk or side table, with codes as stored."""
    with artifacts.reading(pathlib.Path(file)):
        return pyarrow.parquet.read_table(file, memory_map=True).to_pandas()


def write(raw: RawDataset, directory: pathlib.Path) -> None:
    """Writes a raw data set as a span.

    Nothing is refused here: values that are missing or of another type are stored, and the
    validator reports them. If the reader itself fails, its error is stored.

    Args:
        raw: As from `tfrec.datasets.registry.load`.
        directory: An empty directory.
    """
    coders = {name: vocabulary.Coder(name) for name in ("user", "item")}
    coders |= {name: vocabulary.Coder(name) for name, kind in raw.kinds.items() if kind in CODED}
    coded: dict[str, str] = {}
    n, error = 0, ""
    try:
        for number, chunk in enumerate(raw.chunks()):
            coded |= {name: _IDS.get(name, f"field_{name}.txt") for name in coders if name in chunk}
            columns = {name: _column(chunk[name], coders.get(name)) for name in chunk.columns}
            file = directory / f"events-{number:05d}.parquet"
            pyarrow.parquet.write_table(pa.table(columns), file, compression="zstd")
            n += len(chunk)
    except ValueError as problem:
        error = str(problem)
    for name, file in coded.items():
        vocabulary.write(directory / file, coders[name].ids)
    for of, table in (("user", raw.users), ("item", raw.items)):
        pyarrow.parquet.write_table(pa.table(_texts(table)), directory / _TABLES[of])
    about = {name: getattr(raw, name) for name in _ABOUT}
    about |= {"kinds": raw.kinds, "has_ids": raw.has_ids, "n": n, "coded": coded}
    about |= {"error": error} if error else {}
    (directory / SPAN).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")


def _column(column: pd.Series, coder: vocabulary.Coder | None) -> np.ndarray | pa.Array:
    """Codes, -1 where missing; numbers in the types of ratings; otherwise text."""
    if coder is not None:
        codes = np.full(len(column), -1, np.int32)
        present = (column.notna() & (column != "")).to_numpy()
        codes[present] = coder.encode(column if present.all() else column[present])
        return codes
    if column.dtype == bool:
        return column.to_numpy()
    if pd.api.types.is_integer_dtype(column) and column.name == "time":
        return column.to_numpy(np.int64)
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64 if column.name == "time" else np.float32)
    return pa.array(column.astype(str), pa.string())


def _texts(table: pd.DataFrame) -> dict[str, pa.Array]:
    return {
        name: pa.array(table[name].where(table[name].notna(), "").astype(str), pa.string())
        for name in table.columns
    }


def as_raw(spans: Sequence[Span]) -> RawDataset:
    """The concatenation of spans as one data set; a single span gives the original data set.

    Side tables are joined; if two spans describe one user or item the later one counts.
    """
    about = [span.about for span in spans]
    prints = [one["fingerprint"] for one in about]
    joined = hashlib.sha256("\n".join(prints).encode()).hexdigest()
    kinds: dict[str, str] = {}
    for one in about:
        kinds |= one["kinds"]

    def locate(number: int) -> str:
        for span_number, one in enumerate(about, 1):
            if number < one["n"]:
                return f"span {span_number}, rating {number + 1}"
            number -= one["n"]
        return f"rating {number + 1}"

    return RawDataset(
        name=about[0]["name"],
        chunks=lambda: (chunk for span in spans for chunk in span.chunks()),
        users=_joined(spans, "user"),
        items=_joined(spans, "item"),
        fingerprint=prints[0] if len(spans) == 1 else joined,
        rating_min=min(one["rating_min"] for one in about),
        rating_max=max(one["rating_max"] for one in about),
        rating_step=about[-1]["rating_step"],
        has_times=all(one["has_times"] for one in about),
        kinds=kinds,
        has_ids=all(one["has_ids"] for one in about),
        locate=locate,
    )


def _joined(spans: Sequence[Span], of: str) -> pd.DataFrame:
    tables = [span.table(of) for span in spans]
    if len(tables) == 1:
        return tables[0]
    table = pd.concat(tables, ignore_index=True)
    return table.drop_duplicates(of, keep="last", ignore_index=True)
