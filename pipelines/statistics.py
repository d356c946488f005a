"""Counts of events, which are computed by chunk and merged in any order.

All are counts, exact extremes, or lists of the chunks' sums that are added with correct rounding
at the end, so the result depends neither on the number of workers nor on their order.
Memory is bounded by the numbers of users, of items and of distinct (rounded) values.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from . import spans

SKETCH = 1024  # number of smallest hashes kept: shares of common events are exact to about 3 %
DAY = 86_400
LATEST = 2**32  # seconds since 1970: year 2106
_DIGITS = 3  # significant digits to which values are rounded when counted


@dataclasses.dataclass
class Numbers:
    """A column of numbers.

    Attributes:
        n: Number of values that are present.
        missing: Number of missing values (NaN).
        zeros: Number of zeros.
        low: Smallest; infinity if there is none.
        high: Largest.
        sums: Sums of the chunks.
        squares: Sums of the chunks' squares.
        counts: Number of occurrences of each rounded value; times are rounded down to days.
        whole: Whether all are integers by type.
    """

    n: int
    missing: int
    zeros: int
    low: float
    high: float
    sums: list[float]
    squares: list[float]
    counts: dict[float, int]
    whole: bool


@dataclasses.dataclass
class Texts:
    """A column of text that should be numbers, or of unknown meaning."""

    n: int
    example: str


@dataclasses.dataclass
class Counts:
    """Counts of some events.

    Attributes:
        n: Number of events.
        codes: For columns of codes: events by code, int64.
        missing: For columns of codes: events without one.
        numbers: Columns of numbers.
        texts: Columns of other text.
        sketch: The smallest hashes of events, ascending, uint64.
        checksum: Sum of all hashes, modulo 2^64.
    """

    n: int
    codes: dict[str, np.ndarray]
    missing: dict[str, int]
    numbers: dict[str, Numbers]
    texts: dict[str, Texts]
    sketch: np.ndarray
    checksum: int


Splits = dict[str, Counts]
"""Counts by split: "train" and "test" if a span has them, else "all"."""


def of_chunk(file: str) -> Splits:
    """Counts a chunk of a span; a task of an engine."""
    frame = spans.read_chunk(file)
    directory = str(pathlib.Path(file).parent)
    span, hashes = _span(directory), _hashes(directory)
    for name, by_code in hashes.items():
        span.check_codes(name, frame, len(by_code))
    hashes = {name: hashes[name] for name in ("user", "item") if name in hashes}
    if "test" not in frame:
        return {"all": of_events(frame, span.coded, hashes)}
    test = frame.pop("test").to_numpy(bool)
    parts = {"train": frame[~test], "test": frame[test]}
    return {name: of_events(part, span.coded, hashes) for name, part in parts.items()}


@functools.lru_cache(maxsize=4)
def _span(directory: str) -> spans.Span:
    return spans.Span.load(directory)


@functools.lru_cache(maxsize=4)
def _hashes(directory: str) -> dict[str, np.ndarray]:
    """Hashes of the texts by code, uint64; unlike codes they are comparable between spans."""
    span = _span(directory)
    return {name: pd.util.hash_array(np.array(span.texts(name), object)) for name in span.coded}


def of_events(
    frame: pd.DataFrame, coded: Mapping[str, str], hashes: Mapping[str, np.ndarray] | None = None
) -> Counts:
    """Counts a frame of events.

    Args:
        frame: Codes, numbers and text.
        coded: Names of the columns of codes.
        hashes: Hashes of users and items, by code; without them events are not hashed.
    """
    codes, missing, numbers, texts = {}, {}, {}, {}
    for name in frame.columns:
        column = frame[name].to_numpy()
        if name in coded:
            known = column >= 0
            codes[name] = np.bincount(column[known]).astype(np.int64)
            missing[name] = int(len(column) - known.sum())
        elif column.dtype.kind in "if":
            numbers[name] = _numbers(column, DAY if name == "time" else 0)
        else:
            texts[name] = Texts(len(column), min(map(str, column), default=""))
    hashed = np.zeros(0, np.uint64) if hashes is None else _hashed(frame, hashes)
    sketch = np.unique(np.partition(hashed, SKETCH)[:SKETCH] if len(hashed) > SKETCH else hashed)
    checksum = int(hashed.sum(dtype=np.uint64))
    return Counts(len(frame), codes, missing, numbers, texts, sketch, checksum)


def _numbers(column: np.ndarray, unit: int) -> Numbers:
    """Counts numbers, rounded down to multiples of `unit`, or to some digits if it is 0."""
    there = column[np.isfinite(column)].astype(np.float64)
    if unit:
        # Numbers far from any date, such as milliseconds, would have too many days.
        days = np.where(np.abs(there) < LATEST, np.floor(there / unit) * unit, _rounded(there))
        values, counts = np.unique(days, return_counts=True)
    else:
        values, counts = np.unique(there, return_counts=True)
        values = _rounded(values)
    rounded: dict[float, int] = {}
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        rounded[value] = rounded.get(value, 0) + count
    return Numbers(
        n=len(there),
        missing=len(column) - len(there),
        zeros=int((there == 0).sum()),
        low=float(there.min(initial=np.inf)),
        high=float(there.max(initial=-np.inf)),
        sums=[float(there.sum())],
        squares=[float((there**2).sum())],
        counts=rounded,
        whole=column.dtype.kind == "i",
    )


def _rounded(values: np.ndarray) -> np.ndarray:
    size = np.floor(np.log10(np.abs(values), where=values != 0, out=np.zeros_like(values)))
    scale = 10.0 ** (_DIGITS - 1 - size)
    return np.round(values * scale) / scale


def _hashed(frame: pd.DataFrame, hashes: Mapping[str, np.ndarray]) -> np.ndarray:
    """A hash of each event's user, item, value and time, as far as they exist."""
    total = np.zeros(len(frame), np.uint64)
    for name in ("user", "item", "value", "time"):
        if name not in frame:
            continue
        column = frame[name].to_numpy()
        if name in hashes:
            table = np.append(hashes[name], np.uint64(0))  # the last is for the code -1
            numbers = table[column]
        elif column.dtype.kind in "if":
            numbers = column.astype(np.float64).view(np.uint64)
        else:
            numbers = pd.util.hash_array(column.astype(object))
        total = _mixed(total ^ numbers)
    return total


def _mixed(x: np.ndarray) -> np.ndarray:
    """The mixing function of splitmix64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def merge_splits(a: Splits, b: Splits) -> Splits:
    """Merges counts split by split."""
    both = {name: merge(a[name], b[name]) for name in a.keys() & b.keys()}
    return a | b | both


def merge(a: Counts, b: Counts) -> Counts:
    """Merges counts; a column that only one has counts as missing in the other."""
    sketch = np.union1d(a.sketch, b.sketch)[:SKETCH]
    missing = {
        name: a.missing.get(name, a.n) + b.missing.get(name, b.n)
        for name in a.missing.keys() | b.missing.keys()
    }
    return Counts(
        n=a.n + b.n,
        codes=_both(a.codes, b.codes, _added),
        missing=missing,
        numbers=_both(a.numbers, b.numbers, _merged_numbers),
        texts=_both(a.texts, b.texts, lambda x, y: Texts(x.n + y.n, min(x.example, y.example))),
        sketch=sketch,
        checksum=(a.checksum + b.checksum) % 2**64,
    )


def _both(a: dict, b: dict, merged) -> dict:
    return a | b | {name: merged(a[name], b[name]) for name in a.keys() & b.keys()}


def _added(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    total = np.zeros(max(len(a), len(b)), np.int64)
    total[: len(a)] += a
    total[: len(b)] += b
    return total


def _merged_numbers(a: Numbers, b: Numbers) -> Numbers:
    counts = dict(a.counts)
    for value, count in b.counts.items():
        counts[value] = counts.get(value, 0) + count
    return Numbers(
        n=a.n + b.n,
        missing=a.missing + b.missing,
        zeros=a.zeros + b.zeros,
        low=min(a.low, b.low),
        high=max(a.high, b.high),
        sums=a.sums + b.sums,
        squares=a.squares + b.squares,
        counts=counts,
        whole=a.whole and b.whole,
    )


def common(a: np.ndarray, b: np.ndarray) -> float:
    """The share of all distinct events that are in both, estimated from two sketches."""
    if not len(a) or not len(b):
        return 0.0
    of_both = np.union1d(a, b)[:SKETCH]
    return float(np.isin(of_both, np.intersect1d(a, b)).mean())
