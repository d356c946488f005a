"""The rule that holds out whole users."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np

from tfrec.ratings import Ratings, occurs
from tfrec.settings import setting
from tfrec.split_rules.rule import (
    DROPPED,
    HISTORY,
    TEST,
    VALIDATION,
    Facts,
    Split,
    SplitRule,
    by_user,
    nonzero,
)

_MIN_FOLD_IN = 5  # held-out users with fewer ratings have no targets (Liang et al.)


@dataclasses.dataclass(frozen=True)
class HeldOutUsers(SplitRule):
    """Holds out whole users, exactly as Liang et al. (2018).

    `RandomState(seed)` permutes the users in sorted order of their ids: the last `test` are
    test users, the `validation` before them validation users. Items that no training user
    rated are dropped. Then each held-out user's ratings are divided into input and targets:

    * fold_in=random: a new `RandomState(seed)` for each of the two groups; user after user, in
      order of position, int((1 - fold_in_share) * n) of the user's n ratings, counted in file
      order, are targets. Users with fewer than 5 ratings are skipped and have no targets.
    * fold_in=time (Sachdeva et al., 2019): the first int(fold_in_share * n) by (time, file
      order) are input, the others targets; again none with fewer than 5 ratings.

    Attributes:
        test: Number of test users, or below 1 their share.
        validation: Number of validation users, or their share.
        fold_in: Which part of a held-out user is input: "random" or "time" (the earliest).
        fold_in_share: Share of a held-out user's ratings that is input.
        seed: Seed of the draws.
    """

    name: ClassVar[str] = "users"
    item_rows: ClassVar[bool] = False

    test: float = setting(0.1, "a whole number, or a share below 1")
    validation: float = setting(0.1, "a whole number, or a share below 1")
    fold_in: str = setting("random", choices=("random", "time"))
    fold_in_share: float = setting(0.8, "more than 0 and less than 1")
    seed: int = setting(0, "0 or more and less than 2^32")

    @property
    def needs_times(self) -> bool:
        """Whether the input of held-out users is their earliest ratings."""
        return self.fold_in == "time"

    def split(self, ratings: Ratings, n_users: int, n_items: int) -> Split:
        """Splits ratings by this rule; see `SplitRule.split`.

        Raises:
            ValueError: `test` and `validation` leave no training user.
        """
        facts = Facts(group=self.groups(n_users))
        known = occurs(ratings.items[self.history(ratings, facts)], n_items)
        facts = dataclasses.replace(facts, known_items=known)
        return self.split_users(ratings, n_users, n_items, facts)

    @property
    def whole(self) -> str:
        """See `SplitRule.whole`."""
        return ""

    def history(self, ratings: Ratings, facts: Facts) -> np.ndarray:
        """See `SplitRule.history`: the ratings of training users."""
        return facts.group[ratings.users] == 0

    def split_users(self, ratings: Ratings, n_users: int, n_items: int, facts: Facts) -> Split:
        """See `SplitRule.split_users`."""
        group = facts.group
        of_rating = group[ratings.users]
        known = facts.known_items[ratings.items]
        part = np.where(known, HISTORY, DROPPED).astype(np.int8)
        for code in (VALIDATION, TEST):
            events = np.flatnonzero((of_rating == code) & known)
            order, starts, counts = by_user(events, ratings, self.fold_in == "time")
            users = ratings.users[order[starts]]
            targets = facts.targets(users) if facts.targets else self.targets(counts)
            for start, chosen in zip(starts.tolist(), targets, strict=True):
                part[order[start + chosen]] = code
        return Split(
            part,
            group,
            groups=("train", "validation", "test"),
            test_history=("history",),
            dropped=nonzero({"item_not_in_train": int((~known).sum())}),
        )

    def describe(self) -> str:
        """A description of the split."""

        def people(n: float) -> str:
            return f"{n:g}" if n >= 1 else f"{100 * n:g} % of the users"

        first = "earliest" if self.fold_in == "time" else "random"
        return (
            f"held-out users (seed {self.seed}): {people(self.test)} test, "
            f"{people(self.validation)} validation, {first} {100 * self.fold_in_share:g} % of each "
            "as input"
        )

    def groups(self, n_users: int) -> np.ndarray:
        """The group of each user, int8 `[n_users]`."""
        n_test, n_validation = (
            round(n * n_users) if n < 1 else int(n) for n in (self.test, self.validation)
        )
        if n_test + n_validation >= n_users:
            raise ValueError(
                f"--data test={self.test:g} validation={self.validation:g}: {n_test} + "
                f"{n_validation} held-out users leave none of the {n_users} users to train on"
            )
        permutation = np.random.RandomState(self.seed).permutation(n_users)
        n_train = n_users - n_validation - n_test
        group = np.zeros(n_users, np.int8)
        group[permutation[n_train : n_train + n_validation]] = VALIDATION
        group[permutation[n_train + n_validation :]] = TEST
        return group

    def targets(self, counts: Iterable[int]) -> Iterator[np.ndarray]:
        """Chooses targets, user after user.

        Args:
            counts: The numbers of ratings of held-out users of one group, in order of position.

        Yields:
            Which of the user's ratings, in order of file or time, are targets.
        """
        random = np.random.RandomState(self.seed)
        share = round(1 - self.fold_in_share, 12)  # 1 - .8 is .19999999999999996
        for n in map(int, counts):
            if n < _MIN_FOLD_IN:
                yield np.zeros(0, np.int64)
            elif self.fold_in == "time":
                yield np.arange(int(self.fold_in_share * n), n)
            else:
                yield random.choice(n, size=int(share * n), replace=False)
