"""Recommendations as frames, from anything that answers signatures."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from tfrec.serving.asking import Asking, History, Recommendation

Lists = Iterable[str] | Sequence[Iterable[str]] | None


def recommend(
    asking: Asking,
    users: Sequence[str] | None,
    histories: Sequence[History] | Mapping[str, History] | None,
    k: int,
    exclude: Lists = None,
    allow: Lists = None,
    titles: bool = True,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The k best items of each row; arguments and frame as of `Run.recommend`.

    `names` says whose the histories are, instead of their own names or numbers.

    Raises:
        ValueError: not one of `users` and `histories`, or one that the model can not take.
    """
    if (users is None) == (histories is None):
        raise ValueError("give one of users=[...] and histories=[...]")
    if users is not None:
        _refuse_unless(asking.knows_users, "histories, not users: give histories=[...]")
        names = [str(user) for user in as_list(users, "users")]
        left, only = _both(exclude, allow, len(names))
        return frame(names, asking.recommend_users(names, k, exclude=left, allow=only), titles)
    _refuse_unless(asking.takes_histories, "users that it knows, not histories: give users=")
    own, rows = named_histories(histories or [])
    left, only = _both(exclude, allow, len(rows))
    return frame(names or own, asking.recommend(rows, k, exclude=left, allow=only), titles)


def _both(exclude: Lists, allow: Lists, n: int) -> tuple[list | None, list | None]:
    """The lists of each of n rows."""
    return _lists(exclude, n, "exclude"), _lists(allow, n, "allow")


def named_histories(
    histories: Sequence[History] | Mapping[str, History],
) -> tuple[list[str], list[History]]:
    """Names and histories: a mapping's own names, else "0", "1", ..."""
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
    """A list, of what is one; a single text is refused."""
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
