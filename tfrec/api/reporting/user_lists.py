"""Section on the recommendations of several models for the same users, side by side."""

from collections.abc import Sequence

import numpy as np

from tfrec.api.reporting.measured import Measured
from tfrec.metrics.kept_lists import LENGTH
from tfrec.pages import Details, Section, Table, Text
from tfrec.schema import PAD

_SHOWN = 10  # number of items shown of the history
HIT = "✓"


def choose(m: Measured, users: Sequence[str], n: int, seed: int) -> list[int]:
    """Positions of the users to show.

    Args:
        m: The run's data.
        users: Raw ids; none: `n` users are drawn who have lists of all models.
        n: Number of users to draw.
        seed: Seed of the draw.

    Raises:
        ValueError: data without ids or lists, an unknown user, or a user without a test row.
    """
    if users and not m.listed:
        raise ValueError(
            f"--users: {m.info.name} has no lists to show; leave --users out, or report a run that "
            "recommends items"
        )
    if not m.listed:
        return []
    known = m.listed[0].users
    for each in m.listed[1:]:
        known = np.intersect1d(known, each.users)
    if not users:
        drawn = np.random.default_rng(seed).permutation(known)[:n]
        return sorted(drawn.tolist())
    chosen = [m.run.users.get(user, PAD) for user in users]
    for user, position in zip(users, chosen, strict=True):
        if position not in known:
            names = list(m.run.users)
            why = "is unknown" if position == PAD else "has no list on the test set"
            raise ValueError(
                f"--users={user} {why}: give some of the {len(known):,} that have one, such as "
                + ", ".join(names[p] for p in known[:3])
            )
    return chosen


def section(m: Measured, chosen: Sequence[int]) -> Section | None:
    """History, held-out items, and the lists of each user."""
    if not chosen:
        return None
    names, rows = list(m.run.users), m.rows_of(chosen)
    blocks = []
    for user in chosen:
        items, values, held_out = rows[user]
        lists = [each.top[np.searchsorted(each.users, user)] for each in m.listed]
        shown = _of_user(m, names[user], items, values, held_out, lists)
        blocks.append(Details(f"User {names[user]}", shown))
    note = f"The {LENGTH} best items given the history before the test; {HIT} marks held-out items."
    return Section("Recommendations", [Text(note), *blocks])


def _of_user(
    m: Measured,
    user: str,
    items: np.ndarray,
    values: np.ndarray,
    held_out: np.ndarray,
    lists: Sequence[np.ndarray],
) -> list[Text | Table]:
    rated = m.info.rating_min < m.info.rating_max
    newest = range(len(items) - 1, max(-1, len(items) - 1 - _SHOWN), -1)
    known = [
        _title(m, items[i]) + (f" ({values[i]:g})" if rated else "") for i in newest
    ]  # the newest first
    more = f"; and {len(items) - _SHOWN:,} older" if len(items) > _SHOWN else ""
    rows = [
        (f"{rank + 1}", *(_marked(m, row[rank], held_out) for row in lists))
        for rank in range(max(map(len, lists)))
    ]
    head = ("rank", *(each.name for each in m.listed))
    return [
        Text(f"History, the newest first: {'; '.join(known) or 'none'}{more}."),
        Text(f"Held out: {'; '.join(_title(m, i) for i in held_out[:_SHOWN])}."),
        Table(f"Recommended to user {user}", head, rows, is_text=True),
    ]


def _title(m: Measured, position: int) -> str:
    item = m.run.items[position]
    return m.run.titles[item] or item


def _marked(m: Measured, position: int, held_out: np.ndarray) -> str:
    """A title, marked if the item was held out; "" beyond the end of a list."""
    if position == PAD:
        return ""
    return _title(m, position) + (f" {HIT}" if position in held_out else "")
