"""Which items lists of recommendations show: popularity bias, coverage, novelty, diversity."""

import dataclasses

import numpy as np
import scipy.sparse

from tfrec.schema import PAD

_LISTS = 512  # at once
GROUPS = ("head", "middle", "tail", "new")


@dataclasses.dataclass(frozen=True)
class Exposure:
    """What the lists of many users show.

    Attributes:
        shares: `[10]`, the share of all recommendations by decile of items, the most popular first.
        coverage: Share of all items that are in at least one list.
        gini: Inequality of how often items are recommended, over all items: 0 where all are
            recommended equally often, near 1 where a few have all recommendations.
        novelty: Mean over recommendations of -log2 of the share of training users who have the
            item, in bits (Vargas and Castells, RecSys 2011); an item that none has counts as if
            half a user had it.
        popularity: Mean over recommendations of the item's training interactions.
    """

    shares: np.ndarray
    coverage: float
    gini: float
    novelty: float
    popularity: float


def of_lists(top: np.ndarray, counts: np.ndarray, n_users: int) -> Exposure:
    """Counts what lists show.

    Args:
        top: `[n, k]` int, positions of items, -1 where a list is shorter.
        counts: `[n_items]`, training interactions with each item.
        n_users: Training users.

    Raises:
        ValueError: all lists are empty.
    """
    shown = top[top != PAD]
    if not shown.size:
        raise ValueError("all lists are empty: nothing is recommended")
    times = np.bincount(shown, minlength=len(counts))
    having = np.maximum(counts, 0.5) / max(1, n_users)
    return Exposure(
        shares=np.bincount(deciles(counts), times, 10) / len(shown),
        coverage=float(np.mean(times > 0)),
        gini=gini(times),
        novelty=float(np.mean(-np.log2(np.minimum(having, 1))[shown])),
        popularity=float(np.mean(counts[shown])),
    )


def diversity(top: np.ndarray, x: scipy.sparse.csr_matrix) -> float:
    """How different the items of a list are: the mean over lists of 1 - cosine of two items.

    Intra-list diversity (Ziegler et al., WWW 2005), with the cosine of the sets of users that have
    the items: 0 where all items of a list have the same users, 1 where no two share a user.

    Args:
        top: `[n, k]` int, positions of items, -1 where a list is shorter; lists of fewer than two
            items are left out.
        x: Training interactions, `[n_users, n_items]`, not 0 where a user has an item.

    Returns:
        In [0, 1]; NaN where no list has two items.
    """
    lengths = (top != PAD).sum(axis=1)
    top, lengths = top[lengths > 1], lengths[lengths > 1]
    counts = np.bincount(x.indices, minlength=x.shape[1])
    unit = scipy.sparse.csr_matrix((np.ones(x.nnz), x.indices, x.indptr), x.shape)
    unit = unit @ scipy.sparse.diags(np.maximum(counts, 1) ** -0.5)
    found = []
    for start in range(0, len(top), _LISTS):
        block, n = top[start : start + _LISTS], lengths[start : start + _LISTS]
        row, at = np.nonzero(block != PAD)
        listed = (np.ones(len(row)), (row, block[row, at]))
        lists = scipy.sparse.csr_matrix(listed, (len(block), x.shape[1]))
        sums = lists @ unit.T  # [lists, n_users]; its squared norm is the sum of all cosines
        own = lists @ (counts > 0).astype(float)
        cosines = np.asarray(sums.multiply(sums).sum(axis=1)).ravel() - own
        found.append(1 - cosines / (n * (n - 1)))
    return float(np.mean(np.concatenate(found))) if found else float("nan")


def deciles(counts: np.ndarray) -> np.ndarray:
    """The decile of each item by its interactions, `[n_items]` int: 0 for the most popular tenth.

    Items with equal counts are put in the order of their positions.
    """
    found = np.empty(len(counts), np.int64)
    found[np.argsort(-counts, kind="stable")] = np.arange(len(counts)) * 10 // len(counts)
    return found


def groups(counts: np.ndarray) -> np.ndarray:
    """The group of each item by its training interactions, `[n_items]` int, of `GROUPS`.

    The head are the most popular items that have a third of all interactions, the middle those that
    have the next third, the tail the others; items without any interaction are new.
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    found = np.empty(len(counts), np.int64)
    found[order] = np.minimum(3 * before // max(1, counts.sum()), 2)
    return np.where(counts > 0, found, GROUPS.index("new"))


def gini(counts: np.ndarray) -> float:
    """The Gini coefficient of counts, at least 0: half their relative mean absolute difference."""
    ordered, n = np.sort(counts.astype(np.float64)), len(counts)
    return float(((2 * np.arange(1, n + 1) - n - 1) @ ordered) / (n * max(ordered.sum(), 1e-300)))
