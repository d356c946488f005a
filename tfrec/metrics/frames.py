"""Metrics of `RankingReport` for recommendations in a frame, without TensorFlow."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfrec.metrics import columns
from tfrec.metrics.ranking_report import row_metrics
from tfrec.metrics.report import SavedValues, checksum, cuts


def ranking(
    recommended: Any,
    held_out: Any,
    ks: Iterable[int] = (10,),
    n_items: int | None = None,
    *,
    user: str = "user",
    item: str = "item",
) -> dict[str, float]:
    """Metrics of recommended items against held-out ones.

    Means over the users of `held_out`; users without recommendations count as zero, and users
    who are not in `held_out` are ignored. Items that a user has seen count like any other: leave
    them out of `recommended`.

    Args:
        recommended: One recommendation a row: user, item and "rank" (lowest is best; only the
            order counts) or "score" (highest is best; ties keep the frame's order). With both,
            "rank" is used.
        held_out: Users and their held-out items.
        ks: The cuts.
        n_items: Number of items that could be recommended; adds `coverage@k`.
        user: Column of users in both frames.
        item: Column of items in both frames.

    Returns:
        recall, recall_min, ndcg, precision, map and hr at each cut, mrr at the largest one,
        coverage if `n_items` is given, and n_rows, the users averaged over. Definitions:
        `RankingReport`.

    Raises:
        ValueError: a column is missing, a user has an item twice in one of the frames, or two
            items of equal rank, ids of the frames can never match, or a rank or score is NaN.
    """
    lists = _read(recommended, held_out, cuts(ks), user, item)
    means = {name: float(np.mean(values)) for name, values in lists.metrics().items()}
    coverage = {} if n_items is None else lists.coverage(n_items)
    return means | coverage | {"n_rows": len(lists.users)}


def ranking_by_user(
    recommended: Any,
    held_out: Any,
    ks: Iterable[int] = (10,),
    *,
    user: str = "user",
    item: str = "item",
) -> SavedValues:
    """The metrics of `ranking` by user; arguments and errors as of `ranking`.

    Returns:
        Values that `compare` takes and `frame()` shows.
    """
    lists = _read(recommended, held_out, cuts(ks), user, item)
    return SavedValues(lists.users, lists.metrics() | {"targets": lists.targets}, "")


@dataclasses.dataclass(frozen=True)
class _Lists:
    """The first recommendations of the users that have held-out items.

    Attributes:
        ks: Cuts, ascending.
        users: `[n]` ids, sorted.
        count: `[n]` held-out items of each user.
        targets: `[n]` uint64, equal for equal held-out items.
        row: `[N]` the user of each recommendation.
        rank: `[N]` its rank, from 0, below the largest cut.
        item: `[N]` its item, a code.
        hit: `[N]` bool, whether the item is held out.
    """

    ks: tuple[int, ...]
    users: np.ndarray
    count: np.ndarray
    targets: np.ndarray
    row: np.ndarray
    rank: np.ndarray
    item: np.ndarray
    hit: np.ndarray

    def metrics(self) -> dict[str, np.ndarray]:
        """`[n]` by metric."""
        hits = np.zeros((len(self.users), self.ks[-1]), bool)
        hits[self.row[self.hit], self.rank[self.hit]] = True
        return row_metrics(hits, self.count, self.ks)

    def coverage(self, n_items: int) -> dict[str, float]:
        """Share of `n_items` that is recommended to any user, at each cut."""
        found = {k: len(np.unique(self.item[self.rank < k])) for k in self.ks}
        if found[self.ks[-1]] > n_items:
            raise ValueError(
                f"n_items={n_items}, but {found[self.ks[-1]]} different items are recommended; "
                "pass the number of all items that could be"
            )
        return {f"coverage@{k}": n / n_items for k, n in found.items()}


def _read(recommended: Any, held_out: Any, ks: tuple[int, ...], user: str, item: str) -> _Lists:
    """Checks both frames and orders the recommendations."""
    frames = {"recommended": recommended, "held_out": held_out}
    their_users, users = (columns.column(f, user, what) for what, f in frames.items())
    their_items, items = (columns.column(f, item, what) for what, f in frames.items())
    key, is_rank = _keys(recommended)
    if not users.size:
        raise ValueError("held_out is empty: nothing to measure")
    user_ids, user_codes = columns.coded(columns.joined(their_users, users, user), user)
    item_ids, item_codes = columns.coded(columns.joined(their_items, items, item), item)
    pairs = user_codes * len(item_ids) + item_codes
    theirs, right = np.split(pairs, [len(their_users)])
    for what, codes in (("recommended", theirs), ("held_out", right)):
        _refuse_twice(what, codes, user_ids, item_ids, [user, item])
    tested, count = np.unique(right // len(item_ids), return_counts=True)

    order = np.lexsort((key, theirs // len(item_ids)))
    theirs = theirs[order]
    row = theirs // len(item_ids)
    if is_rank:
        _refuse_tied(row, key[order], user_ids)
    rank = _rank(row)
    kept = np.isin(row, tested) & (rank < ks[-1])
    theirs = theirs[kept]
    owner = np.searchsorted(tested, right // len(item_ids))
    return _Lists(
        ks,
        users=np.asarray(user_ids[tested]),
        count=count,
        targets=checksum(owner, columns.hashed(items), len(tested)),
        row=np.searchsorted(tested, row[kept]),
        rank=rank[kept],
        item=theirs % len(item_ids),
        hit=np.isin(theirs, right),
    )


def _keys(recommended: Any) -> tuple[np.ndarray, bool]:
    """The sort keys of recommendations, lowest first, and whether they are ranks."""
    names = getattr(recommended, "columns", recommended)
    is_rank = "rank" in names
    if not is_rank and "score" not in names:
        raise ValueError(
            f"recommended has neither a column 'rank' nor 'score' to order the items by: {[*names]}"
        )
    name = "rank" if is_rank else "score"
    keys = columns.numbers(columns.column(recommended, name, "recommended"), name)
    if np.isnan(keys).any():
        raise ValueError(f"recommended: the {name} of row {np.isnan(keys).argmax() + 1} is NaN")
    return keys if is_rank else -keys, is_rank


def _rank(user: np.ndarray) -> np.ndarray:
    """The rank from 0 of each entry of `user` `[N]`, sorted, among those of its user."""
    new = np.append(True, user[1:] != user[:-1])[: len(user)]
    return np.arange(len(user)) - np.flatnonzero(new)[np.cumsum(new) - 1]


def _refuse_tied(user: np.ndarray, rank: np.ndarray, user_ids: np.ndarray) -> None:
    tied = np.flatnonzero((user[1:] == user[:-1]) & (rank[1:] == rank[:-1]))
    if tied.size:
        raise ValueError(
            f"recommended: user {columns.shown(user_ids, user[tied[0]])} has two items of rank "
            f"{rank[tied[0]]:g}; number them, or give a column 'score' instead"
        )


def _refuse_twice(
    what: str, pairs: np.ndarray, user_ids: np.ndarray, item_ids: np.ndarray, names: list[str]
) -> None:
    found, counts = np.unique(pairs, return_counts=True)
    twice = found[counts > 1]
    if twice.size:
        user = columns.shown(user_ids, twice[0] // len(item_ids))
        item = columns.shown(item_ids, twice[0] % len(item_ids))
        raise ValueError(
            f"{what}: user {user} has item {item} twice ({twice.size} such pairs in all); "
            f"keep one of each, such as with {what}.drop_duplicates({names})"
        )
