"""Rules that hold out the latest ratings of the whole data set."""

import dataclasses
import datetime
from typing import ClassVar

import numpy as np

from tfrec.ratings import Ratings, occurs
from tfrec.settings import SettingError, setting
from tfrec.split_rules.rule import (
    DROPPED,
    HISTORY,
    SPAWN_VALIDATION,
    TEST,
    VALIDATION,
    DrawingRule,
    Facts,
    Split,
    SplitRule,
    drop_unknown,
    nonzero,
    share_of,
)

_DAYS = ("since", "test_since", "until")


@dataclasses.dataclass(frozen=True)
class ByTime(DrawingRule):
    """History is up to the (1 - test) quantile of time, the window after it is held out.

    Ratings in the window by users or on items without history are dropped; then `validation` of
    the window is drawn at random, the rest is test. A test row's input is the history only.

    Attributes:
        test: Share of the latest ratings, over all users.
        validation: Share of the held-out window that is validation; the rest is test.
        since: Ratings before this day (2005-09-01, UTC) are dropped; empty: none.
        test_since: The day on which the held-out window starts; empty: given by `test`.
        until: Ratings from this day on are dropped; empty: none.
        seed: Seed of the draw.
        law: How validation is drawn, as of `RandomRatings`.
    """

    name: ClassVar[str] = "time"

    test: float = setting(0.1, "0 or more and less than 1")
    validation: float = setting(0.1, "from 0 to 1")
    since: str = ""
    test_since: str = ""
    until: str = ""
    seed: int = setting(0, "0 or more and less than 2^32")

    def check(self) -> None:
        """Refuses invalid dates."""
        for name in _DAYS:
            day = getattr(self, name)
            try:
                datetime.date.fromisoformat(day or "2000-01-01")
            except ValueError:
                raise SettingError(f"{name}={day} is not a date; write it as 2005-12-01") from None

    @property
    def needs_times(self) -> bool:
        """True: the rule needs times."""
        return True

    def split(self, ratings: Ratings, n_users: int, n_items: int) -> Split:
        """Splits ratings by this rule; see `SplitRule.split`.

        Raises:
            ValueError: nothing is left before the window, or in it.
        """
        inside = ratings.times[self.inside(ratings.times)]
        by_quantile = len(inside) and not self.test_since
        facts = Facts(bound=np.quantile(inside, 1 - self.test) if by_quantile else 0.0)
        part = self._window(ratings.times, facts)
        self.refuse_empty(int((part == HISTORY).sum()), int((part == TEST).sum()))
        known = occurs(ratings.items[part == HISTORY], n_items)
        facts = dataclasses.replace(facts, known_items=known)
        return self.split_users(ratings, n_users, n_items, facts)

    @property
    def whole(self) -> str:
        """See `SplitRule.whole`."""
        drawn = self.validation > 0 and self.law != "hash"
        return f"split={self.name} needs law=hash or validation=0" if drawn else ""

    def inside(self, times: np.ndarray) -> np.ndarray:
        """Whether times are neither before `since` nor from `until` on, bool `[n]`."""
        return (times >= _seconds(self.since, -np.inf)) & (times < _seconds(self.until, np.inf))

    def history(self, ratings: Ratings, facts: Facts) -> np.ndarray:
        """See `SplitRule.history`."""
        return self._window(ratings.times, facts) == HISTORY

    def split_users(self, ratings: Ratings, n_users: int, n_items: int, facts: Facts) -> Split:
        """See `SplitRule.split_users`."""
        part = self._window(ratings.times, facts)
        outside = int((part == DROPPED).sum())
        dropped = drop_unknown(part, ratings, n_users, facts.known_items)
        window = np.flatnonzero(part == TEST)
        drawn = self.drawn(window, self.validation, self.seed, SPAWN_VALIDATION, ratings)
        part[drawn] = VALIDATION
        dropped["outside_since_until"] = outside
        group = np.zeros(n_users, np.int8)
        return Split(part, group, test_history=("history",), dropped=nonzero(dropped))

    def _window(self, times: np.ndarray, facts: Facts) -> np.ndarray:
        """HISTORY, TEST or DROPPED by time alone, int8 `[n]`."""
        late = times >= _seconds(self.test_since) if self.test_since else times > facts.bound
        part = np.where(late, TEST, HISTORY).astype(np.int8)
        part[~self.inside(times)] = DROPPED
        return part

    def describe(self) -> str:
        """A description of the split."""
        window = (
            f"ratings since {self.test_since}"
            if self.test_since
            else f"latest {100 * self.test:g} % by time"
        )
        held_out = f"{window} held out (users and items known in train)"
        days = "".join(f", {n} {day}" for n in ("since", "until") if (day := getattr(self, n)))
        drawn = f"{share_of(self.validation, 'of them')} (seed {self.seed}{self.law_text})"
        return f"{held_out}{days}, {drawn}"

    def refuse_empty(self, n_history: int, n_test: int) -> None:
        """Refuses days that leave no training rating, or none in a requested window.

        Raises:
            ValueError: naming the days.
        """
        for n, what in ((n_history, "before the test window"), (n_test, "in the test window")):
            if not n and (what.startswith("before") or self.test_since):
                days = " ".join(f"{n}={getattr(self, n)}" for n in _DAYS if getattr(self, n))
                raise ValueError(f"--data {days}: there are no ratings {what}; choose other days")


@dataclasses.dataclass(frozen=True)
class ByMonth(SplitRule):
    """The latest calendar month (UTC) that has ratings is test, the one before it validation.

    Ratings in these months by users or on items without history are dropped.

    Attributes:
        validation: If above 0, the month before the latest is validation; 0 holds out only the
            latest.
    """

    name: ClassVar[str] = "month"

    validation: float = setting(0.1, "0 or more")

    @property
    def needs_times(self) -> bool:
        """True: the rule needs times."""
        return True

    def split(self, ratings: Ratings, n_users: int, n_items: int) -> Split:
        """Splits ratings by this rule; see `SplitRule.split`.

        Raises:
            ValueError: nothing is left before them, or the month before the latest has no
                ratings.
        """
        months = ratings.times.astype("datetime64[s]").astype("datetime64[M]")
        last = months.max()
        part = np.where(months == last, TEST, HISTORY).astype(np.int8)
        if self.validation > 0:
            part[months == last - 1] = VALIDATION
        if not (part == HISTORY).any():
            raise ValueError(
                "--data split=month: there are no ratings before the months held out, "
                f"{last} being the latest; hold out only that one with --data validation=0, or "
                "use another split, such as --split=random"
            )
        if self.validation > 0 and not (part == VALIDATION).any():
            raise ValueError(
                f"--data split=month: there are no ratings in {last - 1}, the month "
                f"before the latest, {last}; hold out only that one with --data validation=0"
            )
        known = occurs(ratings.items[part == HISTORY], n_items)
        dropped = drop_unknown(part, ratings, n_users, known)
        group = np.zeros(n_users, np.int8)
        return Split(part, group, dropped=nonzero(dropped), note=f"test month {last}")

    def describe(self) -> str:
        """A description of the split."""
        before = "the month before validation" if self.validation > 0 else "no validation"
        return f"latest calendar month test, {before} (users and items known in train)"


def _seconds(day: str, otherwise: float = 0.0) -> float:
    """Seconds since 1970 at the start of an ISO day (UTC), or `otherwise` for ""."""
    return float(np.datetime64(day, "s").astype(np.int64)) if day else otherwise
