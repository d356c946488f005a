"""Recommendations as frames, from anything that answers requests."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from tfrec.serving.predictor import History, Predictor, Recommendation

Lists = Iterable[str] | Sequence[Iterable[str]] | None


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request for recommendations, and what answers it.

    Attributes:
        asking: Answers the request.
        users: Raw ids, for a model of known users.
        histories: As in `Recommends.recommend`, for a model of histories.
        names: Names of the histories, instead of their own names or numbers.
        times: The times of the items of each history, where they are known.
    """

    asking: Predictor
    users: Sequence[str] | None = None
    histories: Sequence[History] | Mapping[str, History] | None = None
    names: Sequence[str] | None = None
    times: Sequence[Sequence[int]] | None = None


class Recommends:
    """Base class of everything that recommends."""

    def _asked(
        self,
        users: Sequence[str] | None,
        histories: Sequence[History] | Mapping[str, History] | None,
        k: int,
    ) -> Asked:
        """The request for these users or histories."""
        raise NotImplementedError

    def recommend(
        self,
        users: Sequence[str] | None = None,
        histories: Sequence[History] | Mapping[str, History] | None = None,
        k: int = 10,
        exclude: Lists = None,
        allow: Lists = None,
        titles: bool = True,
        explain: int = 0,
        times: Sequence[Sequence[int]] | None = None,
        ask_time: int | Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """The best items for known users or for histories, by raw id.

        The known interactions of a user, and the items of a history, are left out.

        Args:
            users: Raw ids of known users.
            histories: Each a list of item ids (oldest first, with the highest rating), a list of
                pairs of item and rating, or a mapping from item to rating; a mapping of histories
                gives them names.
            k: Number of items for each user; an export has at most the k it was made with.
            exclude: Items that are left out: one list for all, or one for each row.
            allow: The only allowed items, likewise; an empty list allows all.
            titles: Whether to add the column `title`.
            explain: If above 0, the column `because` is added: lists of at most that many
                `Reason`s (`item`, `title`, `contribution`, `share`), the items of the history that
                contributed most to the score, as defined in `tfrec.serving.explain`;
                `frame.explode("because")` has a row for each. Models that read times explain the
                score without times, so that it does not go with `times` and `ask_time`.
            times: For a model that reads times, the time of each item of each history: seconds
                since 1970, or the unit of the training data; 0 if unknown. Without them it answers
                as if all were unknown. Times of known users' histories are taken from the data.
            ask_time: For such a model, the time for which items are wanted, one for all or one for
                each row; default the time of the row's newest item.

        Returns:
            `user, rank, item, score, title`, best first; `user` is the raw id, the name or the
            number of the history.

        Raises:
            ValueError: neither or both of `users` and `histories`; the one that the model cannot
                score; an unknown user of a model of histories (a model of known users recommends
                popular items instead); `explain` for a model of known users; or times for a model
                that reads none, or that do not fit the histories.
        """
        if (users is None) == (histories is None):
            raise ValueError("give one of users=[...] and histories=[...]")
        asked = self._asked(users, histories, k)
        if explain and (times is not None or ask_time is not None):
            raise ValueError("explain is without times: leave out times and ask_time, or explain")
        if asked.users is not None:
            _refuse_unless(
                times is None and ask_time is None, "no times: leave out times and ask_time"
            )
            _refuse_unless(
                not explain,
                "users by weights of their own, and explain names items of histories: give "
                "histories=, to a model that scores them",
            )
            return _of_users(asked.asking, asked.users, k, exclude, allow, titles)
        names, rows = named_histories(asked.histories or [])
        _refuse_unless(
            asked.asking.takes_histories, "users that it knows, not histories: give users="
        )
        left, only = _both(exclude, allow, len(rows))
        known = None if explain else asked.times
        found = asked.asking.recommend(
            *(rows, k),
            exclude=left,
            allow=only,
            times=known if times is None else times,
            ask_time=_ask_times(ask_time, len(rows)),
        )
        made = frame(asked.names or names, found, titles)
        if not explain:
            return made
        best = [[one.item for one in row] for row in found]
        because = itertools.chain.from_iterable(asked.asking.explain(rows, best, explain))
        return made.assign(because=pd.Series(list(because), made.index, dtype=object))


def _ask_times(given: int | Sequence[int] | None, n: int) -> Sequence[int] | None:
    """A time of asking for each of n rows, if any is given."""
    return [given] * n if isinstance(given, int) else given


def _of_users(
    asking: Predictor, users: Sequence[str], k: int, exclude: Lists, allow: Lists, titles: bool
) -> pd.DataFrame:
    """The best items for users that the model knows."""
    _refuse_unless(asking.knows_users, "histories, not users: give histories=[...]")
    names = [str(user) for user in as_list(users, "users")]
    left, only = _both(exclude, allow, len(names))
    return frame(names, asking.recommend_users(names, k, exclude=left, allow=only), titles)


def _both(exclude: Lists, allow: Lists, n: int) -> tuple[list | None, list | None]:
    """Both lists for each of n rows."""
    return _lists(exclude, n, "exclude"), _lists(allow, n, "allow")


def named_histories(
    histories: Sequence[History] | Mapping[str, History],
) -> tuple[list[str], list[History]]:
    """Names and histories: the keys of a mapping, else "0", "1", ..."""
    if isinstance(histories, Mapping):
        return [str(name) for name in histories], list(histories.values())
    rows = as_list(histories, "histories")
    return [str(number) for number in range(len(rows))], rows


def frame(
    names: Sequence[str], found: Sequence[Sequence[Recommendation]], titles: bool = True
) -> pd.DataFrame:
    """Recommendations as `user, rank, item, score, title`, best first within each user."""
    rows = [
        (name, rank, one.item, one.score, one.title)
        for name, recommended in zip(names, found, strict=True)
        for rank, one in enumerate(recommended, 1)
    ]
    made = pd.DataFrame(rows, columns=["user", "rank", "item", "score", "title"])
    return made if titles else made.drop(columns="title")


def as_list(given: Iterable, name: str) -> list:
    """The elements as a list; a single string is refused."""
    if isinstance(given, str):
        raise ValueError(f"{name}={given!r} is one text; give a list, [{given!r}]")
    return list(given)


def _refuse_unless(can: bool, instead: str) -> None:
    if not can:
        raise ValueError(f"this model takes {instead}")


def _lists(given: Lists, n: int, name: str) -> list[list[str]] | None:
    """A list for each of n rows: the same for all, or one each."""
    if given is None:
        return None
    rows = as_list(given, name)
    if all(isinstance(item, str) for item in rows):
        return [rows] * n
    if len(rows) != n:
        raise ValueError(f"{name} has {len(rows)} lists for {n} rows; give one list, or one a row")
    return [list(row) for row in rows]
