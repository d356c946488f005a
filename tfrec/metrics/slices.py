"""Metrics of some of the test users, or of some of their held-out interactions."""

import numpy as np

from tfrec.metrics.report import Report, SavedValues
from tfrec.schema import PAD


def of_users(saved: SavedValues, kept: np.ndarray) -> SavedValues:
    """The values of some users.

    Args:
        saved: Values by user.
        kept: Their positions, in any order; those that were not tested are left out.
    """
    mask = np.isin(saved.users, kept)
    values = {name: column[mask] for name, column in saved.values.items()}
    return SavedValues(saved.users[mask], values, saved.protocol)


def of_interactions(
    report: type[Report], user: np.ndarray, value: np.ndarray, prediction: np.ndarray
) -> SavedValues:
    """Errors of single predictions summed by user, from which metrics and intervals are made.

    Args:
        report: Says by `errors` what is summed.
        user: `[N]` int.
        value: `[N]` float, what came.
        prediction: `[N]` float.
    """
    users, owner = np.unique(user, return_inverse=True)
    errors = report.errors(value, prediction)
    return SavedValues(users, {n: np.bincount(owner, e) for n, e in errors.items()}, "")


def recall(
    users: np.ndarray, top: np.ndarray, owner: np.ndarray, item: np.ndarray, n_items: int
) -> SavedValues:
    """Recall of lists, of held-out interactions that may be only some of those of a user.

    Args:
        users: `[n]` int, rising: whose the lists are.
        top: `[n, k]` int, their lists of items, filled up with -1.
        owner: `[N]` int, the users of held-out interactions; those without a list are left out.
        item: `[N]` int, their items.
        n_items: How many items there are.

    Returns:
        "recall@k" of each user with at least one of the interactions: the share of them whose item
        is in the list.
    """
    row = np.searchsorted(users, owner)
    kept = (row < len(users)) & (users[np.minimum(row, len(users) - 1)] == owner)
    row, item = row[kept], item[kept]
    rows = np.arange(len(users))[:, np.newaxis]
    hit = np.isin(row * n_items + item, (rows * n_items + top)[top != PAD])
    n = np.bincount(row, minlength=len(users))
    found = np.bincount(row, hit, len(users))[n > 0] / n[n > 0]
    return SavedValues(users[n > 0], {f"recall@{top.shape[1]}": found}, "")


def length_groups(lengths: np.ndarray, most: int = 5) -> list[tuple[int, int]]:
    """Ranges of lengths of history, ends included, with about equally many users each.

    Args:
        lengths: `[n]` int.
        most: How many ranges at most, besides that of users without a history.

    Returns:
        The first is (0, 0) where there are such users.
    """
    ranges = [(0, 0)] if (lengths == 0).any() else []
    known = lengths[lengths > 0]
    if known.size:
        edges = np.quantile(known, np.linspace(0, 1, most + 1), method="lower").astype(int)
        starts = np.unique(edges[:-1])
        stops = [*(starts[1:] - 1), edges[-1]]
        ranges += [(int(low), int(high)) for low, high in zip(starts, stops, strict=True)]
    return ranges
