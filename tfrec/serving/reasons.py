"""Why an item was recommended, in terms of the history: the items that contributed most."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Reason(NamedTuple):
    """An item of the history that contributes to the score of a recommended item.

    Attributes:
        item: Raw id.
        title: "" if there is none.
        contribution: To the recommended item's score; see `tfrec.serving.explain`.
        share: Of the sum of all positive contributions to that score, in (0, 1].
    """

    item: str
    title: str
    contribution: float
    share: float


def reasons(
    answer: Mapping[str, np.ndarray],
    histories: Sequence[Sequence[str]],
    candidates: Sequence[Sequence[str]],
    most: int,
) -> Iterator[list[list[Reason]]]:
    """The reasons in an answer of the signature `explain`.

    Args:
        answer: Its lists start with a column of padding, as requests by `arrays.pad` do.
        histories: A list of raw ids for each row.
        candidates: A list of raw ids for each row.
        most: Maximum number of reasons.

    Yields:
        For each row a list for each candidate, largest contribution first; empty if no
        contribution is positive.
    """
    rows = zip(answer["contributions"], answer["titles"], histories, candidates, strict=True)
    for contributions, titles, history, wanted in rows:
        names = [title.decode() for title in titles[1 : 1 + len(history)]]
        of_row = contributions[1 : 1 + len(wanted), 1 : 1 + len(history)]
        yield [_of_candidate(line, history, names, most) for line in of_row]


def _of_candidate(
    contributions: np.ndarray, items: Sequence[str], titles: Sequence[str], most: int
) -> list[Reason]:
    total = contributions[contributions > 0].sum()
    best = np.argsort(-contributions, kind="stable")[:most]
    return [
        Reason(items[i], titles[i], float(contributions[i]), float(contributions[i] / total))
        for i in best
        if contributions[i] > 0
    ]
