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
) -> pd.DataFrame:
    """The k best items of each row; arguments and frame as of `Run.recommend`.

    Raises:
        ValueError: not one of `users` and `histories`, or one that the model can not take.
    """
    if (users is None) == (histories is None):
        raise ValueError("give one of users=[...] and histories=[...]")
    if users is not None:
        names = [str(user) for user in as_list(users, "users")]
        _refuse_unless(asking.knows_users, "histories, not users: give histories=[...]")
        lists = _lists(exclude, len(names), "exclude"), _lists(allow, len(names), "allow")
        found = asking.recommend_users(names, k, exclude=lists[0], allow=lists[1])
    elif histories is not None:
        names, rows = named_histories(histories)
        _refuse_unless(asking.takes_histories, "users that it knows, not histories: give users=")
        lists = _lists(exclude, len(names), "exclude"), _lists(allow, len(names), "allow")
        found = asking.recommend(rows, k, exclude=lists[0], allow=lists[1])
    return frame(names, found, titles)


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
