"""`RawDataset`, which every reader returns and `tfrec.data` consumes."""

import dataclasses
from collections.abc import Callable, Iterator

import pandas


def rating_number(number: int) -> str:
    """Names a rating that is in no file: "rating 17" for the number 16."""
    return f"rating {number + 1}"


def _nothing_about(key: str) -> Callable[[], pandas.DataFrame]:
    return lambda: pandas.DataFrame({key: pandas.Series([], dtype="str")})


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawDataset:
    """A data set as in its files: raw ids, unfiltered, in file order.

    The arguments without a default are enough to prepare a data set:

        raw = RawDataset(
            name="clicks", chunks=lambda: iter([frame]), fingerprint="clicks of May",
            rating_min=0, rating_max=1,
        )
        prepare(raw, DataConfig(), "data/clicks")

    Attributes:
        name: Key of the registry.
        chunks: Starts a new pass over the ratings in file order. Each chunk is a frame of
            about a million rows: `user` (str), `item` (str), `value` (float32), `time`
            (int64, unix seconds, 0 where unknown), and `test` only if a fold was requested:
            1 (or True) for its test rows, 2 for its validation rows, 0 for training.
            Raises `ValueError` at the first bad line.
        fingerprint: SHA-256 over the contents of the files read, the same for a zip and a
            folder.
        rating_min: Lowest rating allowed.
        rating_max: Highest rating allowed.
        users: Column `user` and the side fields of users, all strings: `gender`, `age`,
            `occupation`, `zip`. No rows if there are no fields of users.
        items: Column `item` and the side fields of items, all strings: `title`, `genres` (joined
            by "|"), `year` ("" if unknown). No rows if there are no fields of items.
        rating_step: Distance between two neighbouring ratings, 0 if unknown.
        has_times: False if every `time` is 0.
        kinds: Columns of `users`, of `items` or of the chunks that are fields for models with
            side information: kind by column. Kinds as in `schema.Field`; "prefix" is the category
            of a text's first three characters.
        brings_validation: Whether the fold has validation rows.
        has_ids: False if users and items are only positions in the files.
        read_as: The files' names of our columns, where they differ.
        dropped: Number of rows that the reader leaves out, by reason.
        locate: Returns file and line of a rating, given its number (from 0, over all chunks). May
            be slow: it is used for errors.
    """

    name: str
    chunks: Callable[[], Iterator[pandas.DataFrame]]
    fingerprint: str
    rating_min: float
    rating_max: float
    users: pandas.DataFrame = dataclasses.field(default_factory=_nothing_about("user"))
    items: pandas.DataFrame = dataclasses.field(default_factory=_nothing_about("item"))
    rating_step: float = 0.0
    has_times: bool = True
    kinds: dict[str, str] = dataclasses.field(default_factory=dict)
    brings_validation: bool = False
    has_ids: bool = True
    read_as: dict[str, str] = dataclasses.field(default_factory=dict)
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    locate: Callable[[int], str] = rating_number
