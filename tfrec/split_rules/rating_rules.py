"""Rules that hold out some ratings of users who stay in training."""

import dataclasses
from typing import ClassVar

import numpy as np

from tfrec.ratings import Ratings
from tfrec.settings import setting
from tfrec.split_rules.rule import (
    HISTORY,
    SPAWN_TEST,
    SPAWN_TIES,
    SPAWN_VALIDATION,
    TEST,
    VALIDATION,
    DrawingRule,
    Split,
    SplitRule,
    by_user,
    share_of,
)

_MIN_LAST = 3  # users with fewer ratings stay in training whole


@dataclasses.dataclass(frozen=True)
class RandomRatings(DrawingRule):
    """Test is a uniform share of all ratings, validation a uniform share of the others.

    Test is drawn first and from its own random stream, so it is the same for every `validation`.

    Attributes:
        test: Share of all ratings.
        validation: Share of the remaining ratings; 0 for none.
        seed: Seed of both draws.
        law: How ratings are drawn: by a random "permutation" of all, or each by a "hash" of its
            user, its item and the seed.
    """

    name: ClassVar[str] = "random"

    test: float = setting(0.1, "0 or more and less than 1")
    validation: float = setting(0.1, "0 or more and less than 1")
    seed: int = setting(0, "0 or more and less than 2^32")

    @property
    def whole(self) -> str:
        """See `SplitRule.whole`."""
        return "" if self.law == "hash" else f"split={self.name} needs law=hash"

    def split(self, ratings: Ratings, n_users: int, n_items: int) -> Split:
        """Splits ratings by this rule; see `SplitRule.split`."""
        part = np.zeros(len(ratings), np.int8)
        drawn = self.drawn(_numbers(len(ratings)), self.test, self.seed, SPAWN_TEST, ratings)
        part[drawn] = TEST
        rest = np.flatnonzero(part == HISTORY)
        drawn = self.drawn(rest, self.validation, self.seed, SPAWN_VALIDATION, ratings)
        part[drawn] = VALIDATION
        return Split(part, np.zeros(n_users, np.int8))

    def describe(self) -> str:
        """A description of the split."""
        cut = f"random {100 - 100 * self.test:g}/{100 * self.test:g} by rating"
        return f"{cut} (seed {self.seed}{self.law_text}), {share_of(self.validation, 'of train')}"


@dataclasses.dataclass(frozen=True)
class GivenFiles(DrawingRule):
    """Test is the given test part, validation a uniform share of the given training part.

    Where validation ratings are given too, they are the validation. They come from the same
    window as the test, so a test row's input is the history only.

    Attributes:
        fold: Which files of the data set are train and test, such as "u1"; "given": parts of
            your own.
        validation: Share of the training part, if no validation is given; 0 for none.
        seed: Seed of the draw.
        law: How validation is drawn, as of `RandomRatings`.
    """

    name: ClassVar[str] = "folds"

    fold: str = "u1"
    validation: float = setting(0.1, "0 or more and less than 1")
    seed: int = setting(0, "0 or more and less than 2^32")

    def split(self, ratings: Ratings, n_users: int, n_items: int) -> Split:
        """Splits ratings by this rule; see `SplitRule.split`.

        Raises:
            ValueError: the ratings have no parts.
        """
        if ratings.test is None:
            raise ValueError(
                f"--data split=folds needs the files of fold {self.fold!r}, but the data were read "
                "without a fold; use --data split=random or a data set that ships folds"
            )
        part = np.array([HISTORY, TEST, VALIDATION], np.int8)[ratings.test.astype(np.int8)]
        group = np.zeros(n_users, np.int8)
        if (part == VALIDATION).any():
            return Split(part, group, test_history=("history",))
        rest = np.flatnonzero(part == HISTORY)
        drawn = self.drawn(rest, self.validation, self.seed, SPAWN_VALIDATION, ratings)
        part[drawn] = VALIDATION
        return Split(part, group)

    def describe(self, own_validation: bool = False) -> str:
        """A description of the split.

        Args:
            own_validation: Whether validation ratings are given.
        """
        parts = "parts as given" if self.fold == "given" else f"shipped fold {self.fold}"
        if own_validation:
            return f"{parts} with its own validation"
        return f"{parts}, {share_of(self.validation, 'of train')} (seed {self.seed}{self.law_text})"


@dataclasses.dataclass(frozen=True)
class LastOut(SplitRule):
    """Leave-one-out: the last rating by time is test, the one before validation.

    Users with fewer than 3 ratings stay in training whole; the note counts them.

    Attributes:
        validation: If above 0, the last but one is validation; 0 holds out only the last.
        tie_order: Order of a user's ratings of equal times: that of the "file", or "random".
        ask_time: Evaluate models that read times with the held-out rating's own time as the time of
            asking; else it is the time of the newest input. These are two protocols: a model that
            knows when the user comes back knows more.
        seed: Seed of the random order.
    """

    name: ClassVar[str] = "last"
    item_rows: ClassVar[bool] = False

    validation: float = setting(0.1, "0 or more")
    tie_order: str = setting("file", choices=("file", "random"))
    ask_time: bool = False
    seed: int = setting(0, "0 or more and less than 2^32")

    @property
    def needs_times(self) -> bool:
        """True: the rule needs times."""
        return True

    @property
    def whole(self) -> str:
        """See `SplitRule.whole`."""
        return "" if self.tie_order == "file" else f"split={self.name} needs tie_order=file"

    def order(self, n: int) -> np.ndarray | None:
        """See `SplitRule.order`."""
        if self.tie_order == "file":
            return None
        return np.random.default_rng([self.seed, SPAWN_TIES]).permutation(n)

    def split(self, ratings: Ratings, n_users: int, n_items: int) -> Split:
        """Splits ratings by this rule; see `SplitRule.split`."""
        order, start, count = by_user(np.arange(len(ratings)), ratings, by_time=True)
        end = (start + count)[count >= _MIN_LAST]
        part = np.zeros(len(ratings), np.int8)
        part[order[end - 1]] = TEST
        if self.validation > 0:
            part[order[end - 2]] = VALIDATION
        return Split(part, np.zeros(n_users, np.int8), note=self.note(count))

    def note(self, counts: np.ndarray) -> str:
        """See `SplitRule.note`."""
        n_short = int((counts < _MIN_LAST).sum())
        return f"{n_short} users with fewer than {_MIN_LAST} ratings in train only" * (n_short > 0)

    def describe(self) -> str:
        """A description of the split."""
        before = ", last but one validation" if self.validation > 0 else ", no validation"
        ties = f", ties in random order (seed {self.seed})" if self.tie_order == "random" else ""
        ask = ", asked at the held-out rating's own time" if self.ask_time else ""
        return f"leave-one-out by time: last rating of each user test{before}{ties}{ask}"


def _numbers(n: int) -> np.ndarray:
    """0 to n - 1, as int32 if that is enough."""
    return np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)
