"""Layouts of delimited files, and the range of ratings."""

import dataclasses

LAST_TIME = 2**32  # year 2106: later "seconds" are milliseconds


@dataclasses.dataclass(frozen=True)
class Layout:
    """The format of a file's lines.

    Attributes:
        columns: Our names of the columns, in file order.
        separator: The separator between columns.
        encoding: "utf-8" or "latin-1".
        header: The names in the file's first line, aligned with `columns`; () if it has none.
            With a header, columns may be in any order, and others are ignored.
        quoted: Fields may be in double quotes.
        numbers: Further columns of numbers, besides value and time; empty ones are missing.
    """

    columns: tuple[str, ...]
    separator: str
    encoding: str = "utf-8"
    header: tuple[str, ...] = ()
    quoted: bool = False
    numbers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class RatingScale:
    """The ratings a data set allows.

    Attributes:
        minimum: Lowest rating.
        maximum: Highest rating.
        step: Distance between two neighbouring ratings, 0 if unknown.
        labels: Only the lowest and the highest rating are allowed.
    """

    minimum: float
    maximum: float
    step: float
    labels: bool = False
