"""Any table of events: CSV, TSV or Parquet, packed or not, its columns named by --columns.

`--columns=user=customer_id,item=sku,value=stars,time=bought_at,title=product`. Only user and item
must be there: without a value every event is 1, without a time none is known. Separator and
header are sniffed, `separator=` and `header=` say otherwise. pyarrow reads, in bounded memory;
`reader=tensorflow_io` reads Parquet by tensorflow-io where that works.
"""

import dataclasses
import importlib.metadata
import pathlib
import re
import warnings
from collections.abc import Iterator

import numpy
import pandas
import pyarrow
import pyarrow.compute
import tqdm

from tfrec.config import known_names
from tfrec.datasets import columns, files, layouts, tabular_parquet, tabular_text
from tfrec.datasets.raw_dataset import RawDataset, rating_number

COLUMNS = ("user", "item", "value", "time", "title")
_SETTINGS = {
    "separator": tuple(tabular_text.SEPARATORS),
    "header": ("yes", "no"),
    "reader": ("pyarrow", "tensorflow_io"),
}
_TEXT = re.compile(r"\.(csv|tsv|txt|dat|tab|data)(\.gz)?$", re.IGNORECASE)
_PARQUET = re.compile(r"\.(parquet|pq)$", re.IGNORECASE)
_NOT_ROWS = re.compile(r"(^|/)(\.|_|readme|license)", re.IGNORECASE)
_MOST_STEPS = 100  # distinct values of which the step between ratings is found out
_ROWS = 1 << 18  # a batch of tensorflow-io


@dataclasses.dataclass(frozen=True)
class _Found:
    """What one pass over the values tells."""

    minimum: float
    maximum: float
    step: float
    titles: dict[str, str]


def read(
    name: str,
    found: files.Files,
    scale: layouts.RatingScale,
    fold: str | None,
    named: str = "",
) -> RawDataset:
    """Opens a table.

    Args:
        name: Name of the data set.
        found: One file, or several of the same columns, read in order of names.
        scale: Not used: the lowest and highest values are those that are there.
        fold: Must be None.
        named: What --columns says; empty: columns are called `user`, `item` and, where they
            are there, `value`, `time`, `title`.

    Raises:
        FileNotFoundError: no table there.
        ValueError: a fold is asked for, columns that are not there, or a bad line.
    """
    if fold is not None:
        raise ValueError(f"--data split=folds: {name} comes without folds; use --split=random")
    wanted, settings = parse(named)
    rows = _table_files(found)
    fingerprint = files.fingerprint(rows)  # before anything else: it names what is damaged
    tables = [_table(file, wanted, settings) for file in rows]
    return of_tables(name, tables, fingerprint)


def of_tables(name: str, tables: list, fingerprint: str) -> RawDataset:
    """The data set that tables of events make: text, Parquet or frames.

    Args:
        name: Name of the data set.
        tables: Read one after the other; at least one.
        fingerprint: SHA-256 over their contents.
    """
    about = _measure(tables)
    items = {"item": list(about.titles), "title": list(about.titles.values())}
    return RawDataset(
        name=name,
        chunks=lambda: chunks(tables),
        items=pandas.DataFrame(items if about.titles else {"item": []}, dtype="str"),
        fingerprint=fingerprint,
        rating_min=about.minimum,
        rating_max=about.maximum,
        rating_step=about.step,
        has_times=all("time" in table.found for table in tables),
        kinds={"title": "text"},
        locate=lambda number: _locate(tables, number),
    )


def parse(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """--columns as the files' names of our columns, and settings of the reader.

    Raises:
        ValueError: not of the form name=column, an unknown name, one twice, or neither user nor
            item among them.
    """
    given: dict[str, str] = {}
    for part in (part for part in text.split(",") if part.strip()):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not value:
            raise ValueError(
                f"--columns={text}: {part!r} is not of the form name=column, such as "
                "--columns=user=customer_id,item=sku,value=stars,time=bought_at"
            )
        known = (*COLUMNS, *_SETTINGS)
        if name not in known or name in given:
            what = "is given twice" if name in given else "is unknown"
            raise ValueError(f"--columns={text}: {name!r} {what}; " + known_names(name, known))
        if name in _SETTINGS and value not in _SETTINGS[name]:
            raise ValueError(f"--columns {name}={value}: " + known_names(value, _SETTINGS[name]))
        given[name] = value
    wanted = {name: column for name, column in given.items() if name in COLUMNS}
    for name in ("user", "item"):
        if wanted and name not in wanted:
            raise ValueError(f"--columns={text}: {name}=COLUMN is missing")
    return wanted, {name: value for name, value in given.items() if name in _SETTINGS}


def tensorflow_io_problem() -> str:
    """Why tensorflow-io does not work here; "" if it does. Runs an op: an import proves nothing."""
    try:
        version = importlib.metadata.version("tensorflow-io")
    except importlib.metadata.PackageNotFoundError:
        return "tensorflow-io is not installed"
    import tensorflow as tf

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow_io as tfio

            tfio.experimental.text.re2_full_match(["a"], "a")
    except Exception as error:  # whatever a library that does not fit raises
        return (
            f"tensorflow-io {version} does not work with TensorFlow {tf.__version__} "
            f"({type(error).__name__}; 0.37 goes with TensorFlow 2.16 and 2.17)"
        )
    return ""


def _tensorflow_io(file: files.TextFile, names: list[str]) -> Iterator[pyarrow.Table]:
    """Yields the named columns of a Parquet file, through tensorflow-io."""
    import tensorflow as tf
    import tensorflow_io as tfio

    rows = tfio.IODataset.from_parquet(file.where, columns=names).batch(_ROWS)
    for batch in rows.as_numpy_iterator():
        arrays = {tf.compat.as_str(name): array for name, array in batch.items()}
        text = {n: pyarrow.string() for n in names if arrays[n].dtype == object}
        yield pyarrow.table({n: pyarrow.array(arrays[n], text.get(n)) for n in names})


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
        held = ", ".join(found.names[:8]) or "nothing"
        raise FileNotFoundError(
            f"{found.where} holds no table (it holds: {held}); pass a .csv, .tsv, .txt, .dat "
            "(.gz, too) or .parquet file, or a folder of such, with --raw"
        )
    return [found.file(n) for n in names]


def _table(
    file: files.TextFile, wanted: dict[str, str], settings: dict[str, str]
) -> tabular_text.TextTable | tabular_parquet.ParquetTable:
    by_tensorflow_io = settings.get("reader") == "tensorflow_io"
    if _PARQUET.search(file.name):
        read = tabular_parquet.batches
        if by_tensorflow_io:
            if problem := tensorflow_io_problem():
                raise ValueError(
                    f"--columns reader=tensorflow_io: {problem}; leave it out, pyarrow is the "
                    "default and reads the same"
                )
            if not pathlib.Path(file.where).is_file():
                raise ValueError(
                    f"--columns reader=tensorflow_io: {file.where} is inside a zip; unpack it"
                )
            read = _tensorflow_io
        return tabular_parquet.look(file, wanted, read)
    if by_tensorflow_io:
        raise ValueError(
            f"--columns reader=tensorflow_io: it reads Parquet, {file.where} is text; leave it out"
        )
    return tabular_text.sniff(
        file, wanted, settings.get("separator", ""), settings.get("header", "")
    )


def chunks(tables: list) -> Iterator[pandas.DataFrame]:
    """Yields the events of tables one after the other, as `RawDataset.chunks` does."""

    def frames() -> Iterator[pandas.DataFrame]:
        for table in tables:
            for part in table.frames():
                frame = part.select([n for n in table.found if n != "title"]).to_pandas()
                if "value" not in frame:
                    frame["value"] = numpy.ones(len(frame), numpy.float32)
                if "time" not in frame:
                    frame["time"] = numpy.zeros(len(frame), numpy.int64)
                yield frame[["user", "item", "value", "time"]]

    return columns.gather(frames())


def _measure(tables: list) -> _Found:
    """One pass: the values' range and step, and each item's first title that is not empty."""
    lowest, highest, values, titles = numpy.inf, -numpy.inf, set(), {}
    with tqdm.tqdm(desc="looking at values", unit=" rows", unit_scale=True, disable=None) as bar:
        for part in (part for table in tables for part in table.frames()):
            bar.update(len(part))
            value = part["value"].to_numpy() if "value" in part.column_names else numpy.ones(1)
            lowest, highest = min(lowest, value.min()), max(highest, value.max())
            if len(values) <= _MOST_STEPS:
                values.update(numpy.unique(value)[: _MOST_STEPS + 1].tolist())
            if "title" in part.column_names:
                text = pyarrow.compute.utf8_trim_whitespace(part["title"])
                named = part.select(["item", "title"]).filter(pyarrow.compute.not_equal(text, ""))
                named = named.to_pandas().drop_duplicates("item")
                for item, title in zip(named["item"], named["title"], strict=True):
                    titles.setdefault(item, title)
    steps = numpy.diff(sorted(values)) if 1 < len(values) <= _MOST_STEPS else [0.0]
    return _Found(float(lowest), float(highest), float(min(steps)), titles)


def _locate(tables: list, number: int) -> str:
    left = number
    for table in tables:
        if place := table.locate(left):
            return place
        left -= table.count()
    return rating_number(number)  # the files have changed meanwhile
