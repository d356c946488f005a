"""Side information as numbers: codes, buckets and word pieces, learned on training data only.

Columns of the users', items' and events' tables become `schema.Field`s. Users and items get a
table with an entry for each position, which a model gathers on its device; an event's own
fields are stored with it.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tfrec import schema
from tfrec.data import stored, vocabulary
from tfrec.schema import Field

_SHARES = np.arange(0.1, 0.95, 0.1)  # of the training entries, where buckets end
_DAY = 86_400
_PIECES = 4_000  # word pieces, at most
_LEAST_DEVIATION = 1e-9
_LONGEST = 16  # word pieces of one text (seed 0's cut)


@dataclasses.dataclass(frozen=True)
class Column:
    """One field with its entries.

    Attributes:
        field: What it is.
        entries: int32 `[n]` or `[n, length]`, or float32 `[n]` for numbers.
        vocabulary: Categories or word pieces by code - 1; empty where there are none.
    """

    field: Field
    entries: np.ndarray
    vocabulary: list[str] = dataclasses.field(default_factory=list)


def of_table(
    table: pd.DataFrame, of: str, kinds: Mapping[str, str], used: np.ndarray
) -> Iterator[Column]:
    """The fields of users or items.

    Args:
        table: Aligned with the positions, all text, "" where unknown.
        of: "user" or "item".
        kinds: Kind by column; other columns do not become fields.
        used: bool `[n]`, which positions occur in training.

    Raises:
        ValueError: a column of kind "bucket" or "number" holds text that is not a number.
    """
    for name in (name for name in table.columns if name in kinds):
        texts = table[name].to_numpy(object)
        if (texts[used] != "").any():
            yield _MAKERS[kinds[name]](Field(name, of, kinds[name], 0), texts, used)


def of_events(
    context: Mapping[str, np.ndarray],
    categories: Mapping[str, list[str]],
    used: np.ndarray,
    least: int,
) -> Iterator[Column]:
    """The events' own fields.

    Args:
        context: By column `[n]`: int32 codes (-1 where missing) or float32 numbers.
        categories: For each column of codes, the category by code.
        used: bool `[n]`, which events are trained on.
        least: Categories with fewer training events than this become unknown.
    """
    for name, entries in context.items():
        if name in categories:
            field = Field(name, "event", "category", 0)
            yield _recoded(field, entries, np.array(categories[name], object), used, least)
        else:
            yield _standardised(Field(name, "event", "number", 1), entries, used)


def of_times(times: np.ndarray) -> list[Field]:
    """Fields computed from the time: weekday, hour (both UTC) and day since the first.

    Args:
        times: int64 `[n]` seconds since 1970, of the training events.
    """
    first, last = int(times.min() // _DAY), int(times.max() // _DAY)
    return [
        Field("weekday", "event", "weekday", 8),
        Field("hour", "event", "hour", 25),
        Field("day", "event", "day", last - first + 2, boundaries=(float(first),)),
    ]


def _category(field: Field, texts: np.ndarray, used: np.ndarray) -> Column:
    codes, names = _coded(texts)
    return _recoded(field, codes, names, used)


def _prefix(field: Field, texts: np.ndarray, used: np.ndarray) -> Column:
    first = np.array([text[:3] for text in texts], object)
    return _category(dataclasses.replace(field, kind="category"), first, used)


def _set(field: Field, texts: np.ndarray, used: np.ndarray) -> Column:
    """Members are joined by "|"."""
    members = [[m for m in text.split("|") if m] for text in texts]
    owner = np.repeat(np.arange(len(texts)), [len(m) for m in members])
    codes, names = _coded(np.array([m for row in members for m in row], object))
    flat = _recoded(field, codes, names, used[owner])
    return _rows_of(flat, owner, len(texts))


def _bucket(field: Field, texts: np.ndarray, used: np.ndarray) -> Column:
    numbers = _numbers(field, texts)
    known = numbers[used & ~np.isnan(numbers)]
    ends = np.unique(np.quantile(known, _SHARES)).tolist()
    codes = np.where(np.isnan(numbers), 0, np.searchsorted(ends, numbers) + 1)
    field = dataclasses.replace(field, size=len(ends) + 2, boundaries=tuple(ends))
    return Column(field, codes.astype(np.int32))


def _number(field: Field, texts: np.ndarray, used: np.ndarray) -> Column:
    return _standardised(dataclasses.replace(field, size=1), _numbers(field, texts), used)


def _standardised(field: Field, numbers: np.ndarray, used: np.ndarray) -> Column:
    logs = signed_log(numbers.astype(np.float64))
    known = logs[used & ~np.isnan(logs)]
    mean, deviation = (known.mean(), known.std()) if len(known) else (0.0, 0.0)
    # Of equal numbers it is not exactly 0, because of rounding.
    deviation = deviation if deviation > _LEAST_DEVIATION else 1.0
    field = dataclasses.replace(field, mean=float(mean), deviation=float(deviation))
    return Column(field, np.nan_to_num(standardised(field, logs)).astype(np.float32))


def signed_log(numbers: Any, operations: Any = np) -> Any:
    """sign(x) log(1 + |x|), the scale on which numbers are standardised.

    Args:
        numbers: An array, or a tensor.
        operations: `numpy`, or `tf.math` for tensors.
    """
    return operations.sign(numbers) * operations.log1p(operations.abs(numbers))


def standardised(field: Field, logs: Any) -> Any:
    """A number as models read it: its `signed_log`, less the mean, in standard deviations."""
    return (logs - field.mean) / field.deviation


def raw_number(field: Field, entries: np.ndarray) -> np.ndarray:
    """The inverse of `standardised` of `signed_log`."""
    logs = entries * field.deviation + field.mean
    return np.sign(logs) * np.expm1(np.abs(logs))


def _text(field: Field, texts: np.ndarray, used: np.ndarray) -> Column:
    """Word pieces in lower case, with a vocabulary learned on the texts of training."""
    import tokenizers  # only data sets with texts need it

    learner, known = _tokenizer(), texts[used].tolist()
    # Inner letters are given beforehand: otherwise the trainer numbers them in an order that
    # differs from run to run, and breaks ties between pairs by it.
    letters = sorted({x for t in known for x in learner.normalizer.normalize_str(t)} - {" "})
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=_PIECES,
        min_frequency=2,
        special_tokens=["[UNK]", *(f"##{letter}" for letter in letters)],
        show_progress=False,
    )
    learner.train_from_iterator(known, trainer)
    # A new tokenizer: the trained one treats a literal "##a" in a text as a special token.
    found = _tokenizer(vocab=learner.get_vocab()).encode_batch(texts.tolist())
    owner = np.repeat(np.arange(len(texts)), [len(f.tokens) for f in found])
    codes, names = _coded(np.array([t if t != "[UNK]" else "" for f in found for t in f.tokens]))
    flat = _recoded(field, codes, names, used[owner])
    return _rows_of(flat, owner, len(texts), _LONGEST)


def _tokenizer(**vocab: dict[str, int]) -> Any:
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]", **vocab))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return made


_MAKERS = {
    "category": _category,
    "prefix": _prefix,
    "set": _set,
    "bucket": _bucket,
    "number": _number,
    "text": _text,
}


def _coded(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the texts, -1 for "", and the text by code."""
    codes, names = pd.factorize(pd.Series(texts, dtype=object).replace("", None))
    return codes, np.array(names, object)


def _recoded(
    field: Field, codes: np.ndarray, names: np.ndarray, used: np.ndarray, least: int = 1
) -> Column:
    """Codes from 1, in order of the names that are frequent enough in training; 0 for others."""
    counts = np.bincount(codes[used & (codes >= 0)], minlength=len(names))
    kept = np.flatnonzero(counts >= least)
    kept = kept[vocabulary.sort_ids([names[code] for code in kept])]
    new = np.zeros(len(names) + 1, np.int32)  # the last is for the code -1
    new[kept] = np.arange(1, len(kept) + 1)
    unknown = int(((new[codes] == 0) & (codes >= 0)).sum())
    field = dataclasses.replace(field, size=len(kept) + 1, unknown=unknown)
    return Column(field, new[codes], [names[code] for code in kept])


def _rows_of(flat: Column, owner: np.ndarray, n: int, longest: int | None = None) -> Column:
    """Gathers members into rows of codes in their order; unknown members are left out."""
    known = flat.entries > 0
    owner, codes = owner[known], flat.entries[known]
    counts = np.bincount(owner, minlength=n)
    length = max(1, min(int(counts.max()), longest or len(codes)))
    position = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    entries = np.zeros((n, length), np.int32)
    entries[owner[position < length], position[position < length]] = codes[position < length]
    field = dataclasses.replace(flat.field, length=length)
    return dataclasses.replace(flat, field=field, entries=entries)


def _numbers(field: Field, texts: np.ndarray) -> np.ndarray:
    numbers = pd.to_numeric(pd.Series(texts, dtype=object).replace("", None), errors="coerce")
    numbers = numbers.to_numpy(np.float64)
    wrong = np.flatnonzero(np.isnan(numbers) & (texts != ""))
    if len(wrong):
        raise ValueError(
            f"{field.name} of the {field.of} table holds {texts[wrong[0]]!r}, which is not a number"
        )
    return numbers


def write(directory: pathlib.Path, columns: list[Column]) -> None:
    """Writes the tables of users and items, and all vocabularies."""
    tables = {c.field.name: c.entries for c in columns if c.field.of != "event"}
    if tables:
        np.savez_compressed(directory / schema.TABLES_FILE, **tables)
    for column in columns:
        if column.vocabulary:
            path = directory / schema.vocabulary_file(column.field.name)
            vocabulary.write(path, column.vocabulary)


def read(data_dir: str | pathlib.Path) -> dict[str, np.ndarray]:
    """The tables of users and items by field: `[n]` or `[n, length]`.

    Raises:
        FileNotFoundError: the file is missing although `info.json` lists such fields.
        ValueError: it is damaged, or its sizes differ from those in `info.json`.
    """
    path = pathlib.Path(data_dir) / schema.TABLES_FILE
    info = stored.info_beside(path)
    n = {"user": info.n_users, "item": info.n_items} if info else {}
    due = {f.name: n[f.of] for f in info.fields if f.of in n} if info else {}
    if not (due or path.exists()):
        return {}
    with stored.reading(path):
        with path.open("rb") as stream, np.load(stream) as file:
            tables = dict(file)
        found = {name: len(table) for name, table in tables.items()}
        if info and found != due:
            raise ValueError(f"tables have the lengths {found}, expected {due}")
    return tables
