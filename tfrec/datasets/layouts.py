"""How a file of ratings is cut into columns, and which numbers it may hold."""

import dataclasses

LAST_TIME = 2**32  # year 2106: later "seconds" are milliseconds


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the lines of a file are cut.

    Attributes:
        columns: Our names of the columns, in file order.
        separator: What stands between two columns.
        encoding: "utf-8" or "latin-1".
        header: The names in the file's first line, aligned with `columns`; () if it has none.
            Named columns may stand in any order, and others beside them.
        quoted: Fields may stand in double quotes.
        numbers: Columns of numbers beside the value and the time; empty ones are missing.
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
        labels: Only the lowest and the highest rating themselves are allowed.
    """

    minimum: float
    maximum: float
    step: float
    labels: bool = False
