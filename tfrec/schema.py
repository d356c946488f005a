"""Names and shapes that all of tfrec shares: the row, the batch, `info.json`.

A row is one user's history in time order together with the held-out targets. It is stored as one
`tf.train.Example`; random, fold, time, held-out-user and leave-one-out splits differ only in the
assignment of ratings to the lists of the row. Rows may also be items
(`rows="item"`): then `user` is the item's position and `items` are positions of users.
"""

import dataclasses
import json
import pathlib
import typing
from typing import Any

from tfrec import damage

PAD = -1  # fills `items` of short rows; values there are 0
NO_TIME = -(2**63)  # an unknown time, and the time of padding: the least int64

PARTS = ("history", "validation", "test")
"""The three lists of a row, as prefixes of the record's feature names."""

FORMAT_VERSION = 2  # part of info.json and the fingerprint: raise it when the bytes change
INFO_FILE = "info.json"
USERS_FILE = "users.txt"  # one raw user id a line, line number = position
ITEMS_FILE = "items.txt"
USER_FIELDS_FILE = "user_fields.csv"  # side features, aligned with users.txt
ITEM_FIELDS_FILE = "item_fields.csv"
TABLES_FILE = "fields.npz"  # the side tables as numbers, one array a field

TIME_KINDS = ("weekday", "hour", "day")
"""Kinds of fields that are computed from an event's time."""


def vocabulary_file(field: str) -> str:
    """A field's categories, one a line; the line number from 1 is the code."""
    return f"field_{field}.txt"


def context_name(part: str, field: str) -> str:
    """Name of an event field's list in the stored Example."""
    return f"{'' if part == 'history' else part + '_'}field_{field}"


@dataclasses.dataclass(frozen=True)
class Field:
    """One piece of side information: of users, of items, or of the event itself.

    Codes start at 1; 0 is for entries that are missing or not in training.

    Attributes:
        name: Column of the side table or of the events.
        of: "user", "item" or "event".
        kind: "category" (one code), "set" (up to `length` codes, padded with 0), "bucket"
            (the number of a quantile), "number" (standardised, 0 where missing), "text"
            (up to `length` word pieces), "vector" (`length` numbers), or one of `TIME_KINDS`.
        size: Number of codes, including 0; 1 for a number.
        length: Maximum number of codes in one entry.
        boundaries: bucket: upper ends of all buckets but the last. day: the first day in
            training, counted since 1970.
        mean: number: mean in training of sign(x) log(1 + |x|), by which it is standardised.
        deviation: number: its standard deviation.
        unknown: Number of entries with a category that is not in training (mapped to 0).
    """

    name: str
    of: str
    kind: str
    size: int
    length: int = 1
    boundaries: tuple[float, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    unknown: int = 0


def feature_names(part: str) -> tuple[str, str, str]:
    """Names of a part's items, values and times in the stored Example."""
    if part == "history":
        return "items", "values", "times"
    return f"{part}_items", f"{part}_values", f"{part}_times"


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Description of a prepared data directory, stored as `info.json`.

    Attributes:
        name: Data set, as in the registry.
        protocol: A description of the split, printed with every number measured on it.
        rows: "user" or "item".
        n_users: Users in `users.txt`.
        n_items: Items in `items.txt`.
        n_ratings: Ratings by part: train, validation, test. For held-out users,
            "validation_fold_in" and "test_fold_in" count the ratings of their histories.
        row_counts: Number of rows that each split of `tfrec.data.inputs` reads: for "train" and
            "train+validation" those with training ratings, for "validation" and "test" those
            with targets.
        groups: File groups, each written as `<group>-00000-of-0000N.tfrecord`. Only
            ("train",) if the split divides ratings; ("train", "validation", "test")
            if it divides users.
        test_history: Parts that a test row may see as input.
        rating_min: Lowest rating the data set allows.
        rating_max: Highest rating the data set allows.
        rating_step: Distance between two neighbouring ratings, 0 if unknown.
        rating_mean: Mean over the training ratings.
        sparsity: Share of user-item pairs without a rating, all parts together.
        max_history: Most ratings in one training history.
        dropped: Ratings left out while preparing, by reason.
        fingerprint: SHA-256 over source and settings; equal means the same bytes.
        config: The `DataConfig` used, as a dict.
        format: Version of the record format; 1 if it is not in the file.
        fields: Side information, in the order of its columns.
        has_ids: Whether users and items are real: False for logs without them (Criteo); then a
            row is a block of such events in file order.
    """

    name: str
    protocol: str
    rows: str
    n_users: int
    n_items: int
    n_ratings: dict[str, int]
    row_counts: dict[str, int] = dataclasses.field(default_factory=dict)
    groups: tuple[str, ...] = ("train",)
    test_history: tuple[str, ...] = ("history",)
    rating_min: float = 1.0
    rating_max: float = 5.0
    rating_step: float = 1.0
    rating_mean: float = 3.0
    sparsity: float = 0.0
    max_history: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""
    config: dict = dataclasses.field(default_factory=dict)
    format: int = 1
    fields: tuple[Field, ...] = ()
    has_ids: bool = True

    @property
    def n_rows(self) -> int:
        """Number of possible rows: users, or items for item rows."""
        return self.n_users if self.rows == "user" else self.n_items

    @property
    def n_columns(self) -> int:
        """Number of columns: items, or users for item rows."""
        return self.n_items if self.rows == "user" else self.n_users

    @property
    def n_trainable(self) -> int:
        """Number of ratings that training rows can have at most: all but those of test."""
        return sum(n for part, n in self.n_ratings.items() if not part.startswith("test"))

    @property
    def has_times(self) -> bool:
        """Whether any time is known."""
        return any(field.kind in TIME_KINDS for field in self.fields)

    def to_dict(self) -> dict:
        """The info as plain JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, fields: dict) -> "DatasetInfo":
        """The inverse of `to_dict`; lists become tuples.

        Raises:
            ValueError: an attribute is unknown, missing or of another type.
        """
        info = _made(cls, fields)
        return dataclasses.replace(info, fields=tuple(_made(Field, f) for f in info.fields))

    @classmethod
    def load(cls, data_dir: str | pathlib.Path) -> "DatasetInfo":
        """Reads `data_dir/info.json`.

        Raises:
            FileNotFoundError: nothing is prepared there.
            ValueError: the file is damaged, or of another version of tfrec.
        """
        path = pathlib.Path(data_dir) / INFO_FILE
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist: nothing is prepared in --data_dir={data_dir}; "
                f"run `python -m tfrec.prepare --data_dir={data_dir}` first"
            )
        with damage.refused(path, prepare_again(data_dir)):
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))


def prepare_again(data_dir: str | pathlib.Path) -> str:
    """The cure for a directory whose settings are unknown."""
    return (
        f"prepare it again with `python -m tfrec.prepare --overwrite --data_dir={data_dir}` and "
        "the flags it was prepared with (--dataset, --raw, --split, --data)"
    )


def _made(cls: type, fields: Any) -> Any:
    """A `DatasetInfo` or `Field` made of plain JSON types, which are checked."""
    if not isinstance(fields, dict):
        raise ValueError(f"{cls.__name__} is of type {type(fields).__name__}, not an object")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    hints = typing.get_type_hints(cls)
    empty = dataclasses.MISSING
    for field in dataclasses.fields(cls):
        if field.default is empty and field.default_factory is empty and field.name not in fields:
            raise ValueError(f"{cls.__name__} has no {field.name!r}")
    for name, value in fields.items():
        if name not in hints:
            raise ValueError(f"{cls.__name__} has an unknown {name!r}")
        if not _fits(value, hints[name]):
            raise ValueError(
                f"{name!r} of {cls.__name__} is {value!r:.40}, not of type {hints[name]}"
            )
    return cls(**fields)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is of a type such as `dict[str, int]`."""
    kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is tuple:
        return isinstance(value, tuple) and all(_fits(v, args[0]) for v in value)
    if kind is dict:
        return isinstance(value, dict) and all(_fits(v, args[1]) for v in value.values() if args)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, dict if dataclasses.is_dataclass(kind) else kind)
