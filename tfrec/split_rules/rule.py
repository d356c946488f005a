"""`SplitRule`, the base of all rules, and functions that they share."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np

from tfrec.ratings import Ratings, occurs
from tfrec.settings import Settings, setting
from tfrec.split_rules import hash_law

HISTORY, VALIDATION, TEST, DROPPED = 0, 1, 2, -1  # part codes: positions in schema.PARTS
SPAWN_TEST, SPAWN_VALIDATION, SPAWN_TIES = 0, 1, 2  # independent streams of one seed


@dataclasses.dataclass(frozen=True)
class Split:
    """The part that each rating is assigned to.

    Attributes:
        part: int8 `[n]`, HISTORY, VALIDATION, TEST or DROPPED.
        group: int8 `[n_users]`, the file group of the user's row, an index into `groups`.
        groups: Names of the file groups.
        test_history: Parts that a test row may see as input.
        dropped: Ratings left out, by reason.
        note: The end of the protocol sentence, with details that depend on the data; may be empty.
    """

    part: np.ndarray
    group: np.ndarray
    groups: tuple[str, ...] = ("train",)
    test_history: tuple[str, ...] = ("history", "validation")
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What splitting the ratings of some users takes to know of those of all users.

    Attributes:
        bound: The latest time that is history.
        group: int8 `[n_users]`, the file group of each user.
        known_items: bool `[n_items]`, the items with history.
        targets: Returns for each of the given held-out users which of the user's ratings, counted
            in order, are targets; by default they are drawn.
    """

    bound: float = np.inf
    group: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int8))
    known_items: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))
    targets: Callable[[np.ndarray], Iterable[np.ndarray]] | None = None


@dataclasses.dataclass(frozen=True)
class SplitRule(Settings):
    """Base of the rules, which are frozen dataclasses of their settings.

    Attributes of the class, which are not settings:

    Attributes:
        name: Its name in `--split`.
        item_rows: Whether rows may be items, because it splits single ratings and not users.
    """

    flag: ClassVar[str] = "--data"
    name: ClassVar[str]
    item_rows: ClassVar[bool] = True

    @property
    def needs_times(self) -> bool:
        """Whether the rule needs times."""
        return False

    @property
    def needs_pairs(self) -> bool:
        """Whether the rule reads the ratings' `pairs`."""
        return False

    @property
    def whole(self) -> str:
        """Why the rule needs all ratings at once; "" if `split_users` can split some users'."""
        return f"split={self.name} needs all ratings at once"

    def order(self, n: int) -> np.ndarray | None:
        """The order in which n ratings are taken before they are sorted by time, stably.

        Returns:
            int64 `[n]`, indices in file order; None: file order.
        """
        return None

    def split(self, ratings: Ratings, n_users: int, n_items: int) -> Split:
        """Splits ratings.

        Args:
            ratings: In file order; `users` are positions in sorted order of the raw ids.
            n_users: Number of users.
            n_items: Number of items.

        Raises:
            ValueError: settings that do not fit these ratings.
        """
        raise NotImplementedError

    def history(self, ratings: Ratings, facts: Facts) -> np.ndarray | None:
        """Which ratings make their items known, bool `[n]`; None: items need not be known.

        Args:
            ratings: Of some users.
            facts: `bound` and `group` are known.
        """
        return None

    def split_users(self, ratings: Ratings, n_users: int, n_items: int, facts: Facts) -> Split:
        """Splits ratings of some users, as `split` does among those of all.

        Args:
            ratings: As of `split`, all that these users have.
            n_users: Number of these users.
            n_items: Number of all items.
            facts: Those that the rule needs.
        """
        return self.split(ratings, n_users, n_items)

    def note(self, counts: np.ndarray) -> str:
        """`Split.note`, given the users' numbers of ratings, `[n_users]`."""
        return ""

    def describe(self) -> str:
        """A description of the split, for the protocol."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawingRule(SplitRule):
    """A rule that draws some of the ratings for a part.

    Attributes:
        law: "permutation": the draw is a random order of all candidates, as in published splits;
            "hash": each rating is drawn by a hash of user, item and seed (`hash_law`), whatever
            the order and the other ratings.
    """

    law: str = setting("permutation", choices=hash_law.LAWS, later=True)

    @property
    def needs_pairs(self) -> bool:
        """Whether draws are by hash."""
        return self.law == "hash"

    def drawn(
        self, candidates: np.ndarray, share: float, seed: int, spawn: int, of: Ratings
    ) -> np.ndarray:
        """The candidates, indices of ratings, that are drawn."""
        if self.law == "permutation":
            return draw(candidates, share, seed, spawn)
        if of.pairs is None:
            raise ValueError("law=hash needs the ratings' pairs, hashes of their users and items")
        found = [np.zeros(0, candidates.dtype)]
        for start in range(0, len(candidates), hash_law.SLICE):
            some = candidates[start : start + hash_law.SLICE]
            found.append(some[hash_law.uniform(of.pairs[some], seed, spawn) < share])
        return np.concatenate(found)

    @property
    def law_text(self) -> str:
        """What the protocol adds to the seed."""
        return ", by hash of user and item" if self.law == "hash" else ""


def draw(candidates: np.ndarray, share: float, seed: int, spawn: int) -> np.ndarray:
    """Draws round(share * n) of the candidates without replacement."""
    generator = np.random.default_rng([seed, spawn])
    if len(candidates) < 2**31:  # half the memory, the same draws
        candidates = candidates.astype(np.int32, copy=False)
    return generator.permutation(candidates)[: round(share * len(candidates))]


def drop_unknown(
    part: np.ndarray, ratings: Ratings, n_users: int, known_items: np.ndarray
) -> dict[str, int]:
    """Marks held-out ratings by users or on items without history as DROPPED; counts them."""
    history, held_out = part == HISTORY, np.flatnonzero(part > HISTORY)
    known_user = occurs(ratings.users[history], n_users)[ratings.users[held_out]]
    known_item = known_items[ratings.items[held_out]]
    part[held_out[~(known_user & known_item)]] = DROPPED
    return {
        "user_not_in_train": int((~known_user).sum()),
        "item_not_in_train": int((known_user & ~known_item).sum()),
    }


def by_user(
    events: np.ndarray, ratings: Ratings, by_time: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orders `events` by user, then file or time order; returns each user's start and count too."""
    users = ratings.users[events]
    keys = (ratings.times[events], users) if by_time else (users,)
    order = events[np.lexsort(keys)]
    _, starts, counts = np.unique(ratings.users[order], return_index=True, return_counts=True)
    return order, starts, counts


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    """The counts that are not 0."""
    return {reason: n for reason, n in counts.items() if n}


def share_of(share: float, of_what: str) -> str:
    """A description of the share for validation."""
    return f"validation {100 * share:g} % {of_what}" if share else "no validation"
