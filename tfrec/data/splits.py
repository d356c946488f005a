"""The splits: functions from arrays of ratings to the part of the row each one goes to.

All are seeded and see users as positions in sorted order of their ids and ratings in file
order, so they do not depend on how the source was cut into chunks.
"""

import dataclasses

import numpy as np

from tfrec.config import DataConfig
from tfrec.data.ratings import Ratings, occurs

HISTORY, VALIDATION, TEST, DROPPED = 0, 1, 2, -1  # part codes: positions in schema.PARTS
_SPAWN_TEST, _SPAWN_VALIDATION = 0, 1  # independent streams of one seed
_MIN_FOLD_IN = 5  # held-out users with fewer ratings have no targets (Liang et al.)
DAYS = ("since", "test_since", "until")  # settings of the time split
_MIN_LAST = 3  # ratings a user needs to give some away


@dataclasses.dataclass(frozen=True)
class Split:
    """Where each rating goes.

    Attributes:
        part: int8 `[n]`, HISTORY, VALIDATION, TEST or DROPPED.
        group: int8 `[n_users]`, the file group of the user's row, an index into `groups`.
        groups: Names of the file groups.
        test_history: Parts that a test row may see as input.
        dropped: Ratings left out, by reason.
        note: Ends the protocol sentence with what only the data could tell; may be empty.
    """

    part: np.ndarray
    group: np.ndarray
    groups: tuple[str, ...] = ("train",)
    test_history: tuple[str, ...] = ("history", "validation")
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    note: str = ""


def split(ratings: Ratings, config: DataConfig, n_users: int, n_items: int) -> Split:
    """Splits `ratings` as `config.split` says.

    Args:
        ratings: In file order; `users` are positions in sorted order of the raw ids.
        config: How to split; `protocol.check` has found nothing wrong with it.
        n_users: Number of users.
        n_items: Number of items.

    Raises:
        ValueError: settings that this split cannot work with.
    """
    return SPLITS[config.split](ratings, config, n_users, n_items)


def random_split(ratings: Ratings, config: DataConfig, n_users: int, n_items: int) -> Split:
    """Test is a uniform share of all ratings, validation a uniform share of the others.

    Test is drawn first and from a stream of its own, so it is the same for every `validation`.
    """
    part = np.zeros(len(ratings), np.int8)
    part[_draw(_numbers(len(ratings)), config.test, config.seed, _SPAWN_TEST)] = TEST
    rest = np.flatnonzero(part == HISTORY)
    part[_draw(rest, config.validation, config.seed, _SPAWN_VALIDATION)] = VALIDATION
    return Split(part, np.zeros(n_users, np.int8))


def folds_split(ratings: Ratings, config: DataConfig, n_users: int, n_items: int) -> Split:
    """Test is the shipped test file, validation a uniform share of the shipped train file.

    Where the fold ships validation ratings too, they are the validation. They come from the same
    window as the test, so a test row's input is the history only.

    Raises:
        ValueError: the source was not loaded with a fold.
    """
    if ratings.test is None:
        raise ValueError(
            f"--data split=folds needs the files of fold {config.fold!r}, but {config.dataset} was "
            "read without a fold; use --data split=random or a data set that ships folds"
        )
    part = np.array([HISTORY, TEST, VALIDATION], np.int8)[ratings.test.astype(np.int8)]
    if (part == VALIDATION).any():
        return Split(part, np.zeros(n_users, np.int8), test_history=("history",))
    rest = np.flatnonzero(part == HISTORY)
    part[_draw(rest, config.validation, config.seed, _SPAWN_VALIDATION)] = VALIDATION
    return Split(part, np.zeros(n_users, np.int8))


def time_split(ratings: Ratings, config: DataConfig, n_users: int, n_items: int) -> Split:
    """History is up to the (1 - test) quantile of time, the window after it is held out.

    With `test_since` the window starts on that day instead; ratings before `since` and from
    `until` on are dropped. Ratings in the window by users or on items without history are
    dropped, too; then `validation` of the window is drawn at random, the rest is test. A test
    row's input is the history only.

    Raises:
        ValueError: nothing is left before the window, or in it.
    """
    times = ratings.times
    outside = (times < seconds(config.since, -np.inf)) | (times >= seconds(config.until, np.inf))
    if config.test_since:
        held_out = times >= seconds(config.test_since)
    else:
        inside = times[~outside]
        held_out = times > (np.quantile(inside, 1 - config.test) if len(inside) else 0)
    part = np.where(held_out, TEST, HISTORY).astype(np.int8)
    part[outside] = DROPPED
    _refuse_empty(part, config)
    dropped = _drop_unknown(part, ratings, n_users, n_items)
    window = np.flatnonzero(part == TEST)
    part[_draw(window, config.validation, config.seed, _SPAWN_VALIDATION)] = VALIDATION
    dropped["outside_since_until"] = int(outside.sum())
    group = np.zeros(n_users, np.int8)
    return Split(part, group, test_history=("history",), dropped=_nonzero(dropped))


def month_split(ratings: Ratings, config: DataConfig, n_users: int, n_items: int) -> Split:
    """The latest calendar month (UTC) that has ratings is test, the one before it validation.

    Without `validation` only the latest is held out. Ratings in these months by users or on
    items without history are dropped.

    Raises:
        ValueError: nothing is left before them, or the month before the latest has no ratings.
    """
    months = ratings.times.astype("datetime64[s]").astype("datetime64[M]")
    last = months.max()
    part = np.where(months == last, TEST, HISTORY).astype(np.int8)
    if config.validation > 0:
        part[months == last - 1] = VALIDATION
    if not (part == HISTORY).any():
        raise ValueError(
            f"--data split=month: {config.dataset} has no ratings before the months held out, "
            f"{last} being the latest; hold out that one alone with --data validation=0, or use "
            "another split, such as --split=random"
        )
    if config.validation > 0 and not (part == VALIDATION).any():
        raise ValueError(
            f"--data split=month: {config.dataset} has no ratings in {last - 1}, the month "
            f"before the latest, {last}; hold out that one alone with --data validation=0"
        )
    dropped = _drop_unknown(part, ratings, n_users, n_items)
    note = f"test month {last}"
    return Split(part, np.zeros(n_users, np.int8), dropped=_nonzero(dropped), note=note)


def users_split(ratings: Ratings, config: DataConfig, n_users: int, n_items: int) -> Split:
    """Holds out whole users (Liang et al., 2018, to the number).

    `RandomState(seed)` permutes the users in sorted order of their ids: the last `test` are
    test users, the `validation` before them validation users. Items that no training user
    rated are dropped. Then each held-out user's ratings are cut:

    * fold_in=random: a new `RandomState(seed)` for each of the two groups; user after user, in
      order of position, int((1 - fold_in_share) * n) of his n ratings, counted in file order,
      are targets. Users with fewer than 5 ratings draw nothing and have no targets.
    * fold_in=time (Sachdeva et al., 2019): the first int(fold_in_share * n) by (time, file
      order) are input, the others targets; again none with fewer than 5 ratings.

    Raises:
        ValueError: `test` and `validation` leave no training user.
    """
    group = _held_out_users(config, n_users)
    of_rating = group[ratings.users]
    known = occurs(ratings.items[of_rating == 0], n_items)[ratings.items]
    part = np.where(known, HISTORY, DROPPED).astype(np.int8)
    for code in (VALIDATION, TEST):
        events = np.flatnonzero((of_rating == code) & known)
        part[_targets(events, ratings, config)] = code
    return Split(
        part,
        group,
        groups=("train", "validation", "test"),
        test_history=("history",),
        dropped=_nonzero({"item_not_in_train": int((~known).sum())}),
    )


def last_split(ratings: Ratings, config: DataConfig, n_users: int, n_items: int) -> Split:
    """Leave-one-out: the last rating by (time, file order) is test, the one before validation.

    Without `validation` only the last is held out. Users with fewer than 3 ratings give
    nothing away; the note counts them.
    """
    order, start, count = _by_user(np.arange(len(ratings)), ratings, by_time=True)
    end = (start + count)[count >= _MIN_LAST]
    part = np.zeros(len(ratings), np.int8)
    part[order[end - 1]] = TEST
    if config.validation > 0:
        part[order[end - 2]] = VALIDATION
    n_short = int((count < _MIN_LAST).sum())
    note = f"{n_short} users with fewer than {_MIN_LAST} ratings in train only" if n_short else ""
    return Split(part, np.zeros(n_users, np.int8), note=note)


SPLITS = {
    "random": random_split,
    "folds": folds_split,
    "time": time_split,
    "month": month_split,
    "users": users_split,
    "last": last_split,
}


def seconds(day: str, otherwise: float = 0.0) -> float:
    """Seconds since 1970 at the start of an ISO day (UTC), or `otherwise` for ""."""
    return float(np.datetime64(day, "s").astype(np.int64)) if day else otherwise


def _refuse_empty(part: np.ndarray, config: DataConfig) -> None:
    """Refuses days that leave no training rating, or nothing in a window that was asked for."""
    for code, what in ((HISTORY, "before the test window"), (TEST, "in the test window")):
        if not (part == code).any() and (code == HISTORY or config.test_since):
            days = " ".join(f"{n}={getattr(config, n)}" for n in DAYS if getattr(config, n))
            raise ValueError(
                f"--data {days}: {config.dataset} has no ratings {what}; choose other days"
            )


def _drop_unknown(part: np.ndarray, ratings: Ratings, n_users: int, n_items: int) -> dict[str, int]:
    """Marks held-out ratings by users or on items without history as DROPPED; counts them."""
    history, held_out = part == HISTORY, np.flatnonzero(part > HISTORY)
    known_user = occurs(ratings.users[history], n_users)[ratings.users[held_out]]
    known_item = occurs(ratings.items[history], n_items)[ratings.items[held_out]]
    part[held_out[~(known_user & known_item)]] = DROPPED
    return {
        "user_not_in_train": int((~known_user).sum()),
        "item_not_in_train": int((known_user & ~known_item).sum()),
    }


def _held_out_users(config: DataConfig, n_users: int) -> np.ndarray:
    """The group of each user, int8 `[n_users]`."""
    n_test, n_validation = (
        round(n * n_users) if n < 1 else int(n) for n in (config.test, config.validation)
    )
    if n_test + n_validation >= n_users:
        raise ValueError(
            f"--data test={config.test:g} validation={config.validation:g}: {n_test} + "
            f"{n_validation} held-out users leave none of the {n_users} users to train on"
        )
    permutation = np.random.RandomState(config.seed).permutation(n_users)
    n_train = n_users - n_validation - n_test
    group = np.zeros(n_users, np.int8)
    group[permutation[n_train : n_train + n_validation]] = VALIDATION
    group[permutation[n_train + n_validation :]] = TEST
    return group


def _targets(events: np.ndarray, ratings: Ratings, config: DataConfig) -> np.ndarray:
    """Which of the held-out users' `events` are targets (see `users_split`)."""
    by_time = config.fold_in == "time"
    order, starts, counts = _by_user(events, ratings, by_time)
    random = np.random.RandomState(config.seed)
    share = round(1 - config.fold_in_share, 12)  # 1 - .8 is .19999999999999996
    chosen = [np.zeros(0, np.int64)]
    for start, n in zip(starts.tolist(), counts.tolist(), strict=True):
        if n < _MIN_FOLD_IN:
            continue
        if by_time:
            chosen.append(order[start + int(config.fold_in_share * n) : start + n])
        else:
            picks = random.choice(n, size=int(share * n), replace=False)
            chosen.append(order[start + picks])
    return np.concatenate(chosen)


def _by_user(
    events: np.ndarray, ratings: Ratings, by_time: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orders `events` by user, then file order or (time, file order); start and count a user."""
    users = ratings.users[events]
    keys = (ratings.times[events], users) if by_time else (users,)
    order = events[np.lexsort(keys)]
    _, starts, counts = np.unique(ratings.users[order], return_index=True, return_counts=True)
    return order, starts, counts


def _draw(candidates: np.ndarray, share: float, seed: int, spawn: int) -> np.ndarray:
    """Draws round(share * n) of the candidates without replacement."""
    generator = np.random.default_rng([seed, spawn])
    if len(candidates) < 2**31:  # half the memory, the same draws
        candidates = candidates.astype(np.int32, copy=False)
    return generator.permutation(candidates)[: round(share * len(candidates))]


def _numbers(n: int) -> np.ndarray:
    """0 to n - 1, in four bytes each where that is enough."""
    return np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)


def _nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {reason: n for reason, n in counts.items() if n}
