"""The splits as functions of frames, without TensorFlow and without files.

    train, validation, test = tfrec.splits.last(orders, user="customer", time="bought_at")

Parts are rows of the given frame, in its order and with its index. With equal settings and seed
they are the parts that `Dataset.split` prepares; its filters and its check for duplicates are not
applied.
The rules themselves, such as `tfrec.splits.LastOut`, are arguments of `Dataset.split`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tfrec.data import ratings
from tfrec.datasets import frame as frames
from tfrec.ratings import Ratings
from tfrec.split_rules import (
    HISTORY,
    TEST,
    VALIDATION,
    ByMonth,
    ByTime,
    GivenFiles,
    HeldOutUsers,
    LastOut,
    RandomRatings,
    Split,
    SplitRule,
)

__all__ = [
    "ByMonth",
    "ByTime",
    "GivenFiles",
    "HeldOut",
    "HeldOutUsers",
    "LastOut",
    "Parts",
    "RandomRatings",
    "UserParts",
    "by_time",
    "given",
    "last",
    "month",
    "random",
    "users",
]


class Parts(NamedTuple):
    """Rows for training, for validation (may be empty) and for test."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame


class HeldOut(NamedTuple):
    """Rows of held-out users: the input of a model, and its targets."""

    fold_in: pd.DataFrame
    targets: pd.DataFrame


class UserParts(NamedTuple):
    """Parts of a split by users: no user is in two of them."""

    train: pd.DataFrame
    validation: HeldOut
    test: HeldOut


def random(
    frame: pd.DataFrame,
    *,
    test: float = 0.1,
    validation: float = 0.1,
    seed: int = 0,
    law: str = "permutation",
    user: str = "user",
    item: str = "item",
) -> Parts:
    """Splits rows at random.

    Args:
        frame: One interaction a row; with law="permutation" its columns are not used.
        test: Share of all rows.
        validation: Share of the remaining rows; 0 for none.
        seed: Seed of both draws. Test rows do not depend on `validation`.
        law: "permutation", exactly these shares; or "hash": each row is drawn by a hash of its
            user, its item and the seed, whatever the order and the other rows.
        user: Column of users.
        item: Column of items.

    Raises:
        ValueError: an invalid share or law, a column is missing, or no row is left to train on.
    """
    rule = RandomRatings(test, validation, seed, law=law)
    read = _read(frame, user, item, rule=rule) if rule.needs_pairs else _without_ids(len(frame))
    return _parts(frame, _split(read, rule))


def given(
    train: pd.DataFrame, test: pd.DataFrame, *, validation: float = 0.1, seed: int = 0
) -> Parts:
    """Draws validation rows from the training rows of a given split.

    Args:
        train: Training rows.
        test: Test rows, returned as they are.
        validation: Share of `train`, drawn at random; 0 for none.
        seed: Seed of the draw.

    Raises:
        ValueError: an invalid share, or no row is left to train on.
    """
    of_test = np.repeat(np.array([0, 1], np.int8), [len(train), len(test)])
    rule = GivenFiles("given", validation, seed)
    split = _split(_without_ids(len(of_test), of_test), rule)
    part = split.part[: len(train)]
    return Parts(train[part == HISTORY], train[part == VALIDATION], test)


def last(
    frame: pd.DataFrame,
    *,
    user: str = "user",
    item: str = "item",
    time: str = "time",
    validation: bool = True,
) -> Parts:
    """Leave-one-out: the last row of each user is test, the one before it validation.

    Users with fewer than 3 rows are only in train. Rows with equal times are in the frame's
    order; shuffle it for another one.

    Args:
        frame: A row an interaction.
        user: Column of users.
        item: Column of items.
        time: Column of times: seconds since 1970, datetimes or ISO texts.
        validation: Whether to hold out the last but one.

    Raises:
        ValueError: a column or a value is missing.
    """
    read = _read(frame, user, item, time)
    return _parts(frame, _split(read, LastOut(float(validation))))


def by_time(
    frame: pd.DataFrame,
    *,
    user: str = "user",
    item: str = "item",
    time: str = "time",
    test: float = 0.1,
    validation: float = 0.1,
    since: str = "",
    test_since: str = "",
    until: str = "",
    seed: int = 0,
    law: str = "permutation",
) -> Parts:
    """Holds out the latest rows; those of users or items without a training row are in no part.

    Args:
        frame: A row an interaction.
        user: Column of users.
        item: Column of items.
        time: Column of times: seconds since 1970, datetimes or ISO texts.
        test: Share of the rows that is held out, unless `test_since` is given.
        validation: Share of the held-out rows that is drawn for validation; the rest is test.
        since: Rows before this day (2005-09-01, UTC) are in no part; "": none.
        test_since: The day on which the held-out rows start; "": given by `test`.
        until: Rows from this day on are in no part; "": none.
        seed: Seed of the draw.
        law: As in `random`.

    Raises:
        ValueError: a column or a value is missing, or no row is left to train or test on.
    """
    rule = ByTime(test, validation, since, test_since, until, seed, law=law)
    return _parts(frame, _split(_read(frame, user, item, time, rule), rule))


def month(
    frame: pd.DataFrame,
    *,
    user: str = "user",
    item: str = "item",
    time: str = "time",
    validation: bool = True,
) -> Parts:
    """The latest calendar month (UTC) is test, the one before it validation.

    Held-out rows of users or items without a training row are in no part.

    Args:
        frame: A row an interaction.
        user: Column of users.
        item: Column of items.
        time: Column of times: seconds since 1970, datetimes or ISO texts.
        validation: Whether to hold out the month before the latest.

    Raises:
        ValueError: a column or a value is missing, or a month has no rows.
    """
    read = _read(frame, user, item, time)
    return _parts(frame, _split(read, ByMonth(float(validation))))


def users(
    frame: pd.DataFrame,
    *,
    user: str = "user",
    item: str = "item",
    time: str | None = None,
    test: float = 0.1,
    validation: float = 0.1,
    fold_in: str = "random",
    fold_in_share: float = 0.8,
    seed: int = 0,
) -> UserParts:
    """Holds out whole users, as in Liang et al. (WWW 2018).

    The `fold_in` rows of a held-out user are the input of a model, the `targets` are to be
    predicted. Users with fewer than 5 rows have no targets. Held-out rows of items without a
    training row are in no part.

    Args:
        frame: A row an interaction.
        user: Column of users.
        item: Column of items.
        time: Column of times, needed if `fold_in` is "time".
        test: Number of test users, or below 1 their share.
        validation: Number of validation users, or their share.
        fold_in: Rows of a held-out user that are input: "random" or "time", the earliest.
        fold_in_share: Share of the rows that is input.
        seed: Seed of the draws.

    Raises:
        ValueError: a column or a value is missing, or no user is left to train on.
    """
    if fold_in == "time" and time is None:
        raise ValueError("fold_in='time' needs times: give the column with time=COLUMN")
    read = _read(frame, user, item, time)
    split = _split(read, HeldOutUsers(test, validation, fold_in, fold_in_share, seed))
    group = split.group[read.users]

    def held_out(code: int) -> HeldOut:
        input_rows = (group == code) & (split.part == HISTORY)
        return HeldOut(frame[input_rows], frame[(group == code) & (split.part == code)])

    train = frame[(group == HISTORY) & (split.part == HISTORY)]
    return UserParts(train, held_out(VALIDATION), held_out(TEST))


def _read(
    frame: pd.DataFrame,
    user: str,
    item: str,
    time: str | None = None,
    rule: SplitRule | None = None,
) -> Ratings:
    """The frame as `Ratings` for a rule, with positions in sorted order of the ids as text."""
    columns = {"user": user, "item": item, "time": time}
    found, user_ids, item_ids = ratings.collect(frames.chunks(frame, columns))
    found, user_ids, item_ids = ratings.to_positions(found, user_ids, item_ids)
    return found if rule is None else ratings.with_pairs(found, user_ids, item_ids, rule)


def _without_ids(n: int, test: np.ndarray | None = None) -> Ratings:
    """Ratings without ids, and optionally with given parts."""
    none = np.zeros(n, np.int32)
    return Ratings(none, none, none, none, test)


def _split(found: Ratings, rule: SplitRule) -> Split:
    """The part of each row.

    Raises:
        ValueError: no row is left to train on.
    """
    if not len(found):
        raise ValueError("the frame is empty: it has no rows")
    split = rule.split(found, int(found.users.max()) + 1, int(found.items.max()) + 1)
    if not ((split.part == HISTORY) & (split.group[found.users] == 0)).any():
        raise ValueError("the split leaves no training row; lower test and validation")
    return split


def _parts(frame: pd.DataFrame, split: Split) -> Parts:
    codes = (HISTORY, VALIDATION, TEST)
    return Parts(*(frame[split.part == code] for code in codes))
