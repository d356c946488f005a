"""Splits: the part of each rating, and published protocols reproduced exactly."""

import dataclasses
import io
import os
import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest

from tfrec.config import DataConfig
from tfrec.data import protocol, stages, vocabulary
from tfrec.data.ratings import Ratings, collect, drop_duplicates
from tfrec.data.stages import Interactions
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.split_rules import HISTORY, RULES, TEST, VALIDATION, ByTime, HeldOutUsers, LastOut


def make(n_users=40, n_items=30, share=0.5, seed=0):
    """Random ratings in shuffled file order, with many equal times."""
    random = np.random.default_rng(seed)
    users, items = np.nonzero(random.random((n_users, n_items)) < share)
    order = random.permutation(len(users))
    return Ratings(
        users[order].astype(np.int32),
        items[order].astype(np.int32),
        random.integers(1, 6, len(order)).astype(np.float32),
        random.integers(0, 20, len(order)),
    )


def run(data, n_users=40, n_items=30, **settings):
    return DataConfig(**settings).rule.split(data, n_users, n_items)


def test_random_shares_and_seeds():
    data = make()
    n = len(data)
    part = run(data, split="random", test=0.1, validation=0.2).part
    assert (part == TEST).sum() == round(0.1 * n)
    assert (part == VALIDATION).sum() == round(0.2 * (n - round(0.1 * n)))
    again = run(data, split="random", test=0.1, validation=0.2).part
    assert (part == again).all()
    assert (part != run(data, split="random", test=0.1, validation=0.2, seed=1).part).any()


def test_random_test_does_not_depend_on_validation():
    data = make()
    parts = [run(data, split="random", test=0.2, validation=v).part for v in (0, 0.1, 0.5, 0.9)]
    for part in parts:
        assert ((part == TEST) == (parts[0] == TEST)).all()
    assert not (parts[0] == VALIDATION).any()


def test_folds_keep_the_shipped_test_file():
    data = make()
    test = np.arange(len(data)) % 5 == 0
    data = Ratings(data.users, data.items, data.values, data.times, test)
    result = run(data, split="folds", validation=0.1)
    assert ((result.part == TEST) == test).all()
    assert (result.part == VALIDATION).sum() == round(0.1 * (~test).sum())


def test_folds_without_a_fold_is_an_error():
    with pytest.raises(ValueError, match="split=folds needs the files of fold 'u2'"):
        run(make(), split="folds", fold="u2")


def test_time_drops_what_train_does_not_know():
    # Two users, three items; times 0..9 and a cut at the .6 quantile (5.4).
    users = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
    items = np.array([0, 1, 0, 1, 0, 1, 1, 2, 0, 0])
    data = Ratings(users, items, np.ones(10, np.float32), np.arange(10))
    result = run(data, 2, 3, split="time", test=0.4, validation=0)
    assert result.part.tolist() == [0, 0, 0, 0, 0, 0, 2, -1, -1, 2]
    assert result.dropped == {"item_not_in_train": 1, "user_not_in_train": 1}
    assert result.test_history == ("history",)


def test_time_reproduces_the_9559_items_of_ml_latest_small():
    root = os.environ.get("TFREC_DATA", pathlib.Path(__file__).parents[1] / ".." / "shared/data")
    path = pathlib.Path(root) / "ml-latest-small.zip"
    if not path.exists():
        pytest.skip(f"no {path.name}")
    with zipfile.ZipFile(path) as archive:
        frame = pd.read_csv(io.BytesIO(archive.read("ml-latest-small/ratings.csv")))
    frame.columns = ["user", "item", "value", "time"]
    frame = frame.astype({"user": str, "item": str})
    data, users, items = collect([frame])
    result = run(data, len(users), len(items), split="time", test=0.02, validation=1.0)
    train = result.part == HISTORY
    assert train.sum() == 98_819
    assert len(np.unique(data.users[train])) == 595
    assert len(np.unique(data.items[train])) == 9_559
    assert (result.part == VALIDATION).sum() == 188
    assert not (result.part == TEST).any()


def liang(users, items, seed, n_heldout):
    """The users' groups and the targets as in the code of Liang et al., with pandas."""
    frame = pd.DataFrame({"user": users, "item": items})
    unique = np.unique(users)
    np.random.seed(seed)
    unique = unique[np.random.permutation(unique.size)]
    groups = unique[: -2 * n_heldout], unique[-2 * n_heldout : -n_heldout], unique[-n_heldout:]
    known = set(frame.item[frame.user.isin(groups[0])])
    targets = []
    for group in groups[1:]:
        rows = frame[frame.user.isin(group) & frame.item.isin(known)]
        np.random.seed(seed)
        for _, one in rows.groupby("user"):
            if len(one) >= 5:
                idx = np.zeros(len(one), dtype="bool")
                picks = np.random.choice(len(one), size=int(0.2 * len(one)), replace=False)
                idx[picks.astype("int64")] = True
                targets.append(set(one[idx].index))
            else:
                targets.append(set())
    return groups, set().union(*targets)


def test_users_is_the_split_of_liang_et_al():
    data = make(60, 50, 0.3)
    result = run(data, 60, 50, split="users", test=10, validation=10, seed=98765)
    groups, targets = liang(data.users, data.items, 98765, 10)
    for code, members in enumerate(groups):
        assert set(np.flatnonzero(result.group == code)) == set(members)
    assert set(np.flatnonzero(result.part > 0)) == targets
    assert len(targets) > 20


def test_users_parts_follow_their_group():
    data = make(share=0.2)
    result = run(data, split="users", test=0.25, validation=5)
    assert np.bincount(result.group).tolist() == [25, 5, 10]
    for code in (VALIDATION, TEST):
        assert (result.group[data.users[result.part == code]] == code).all()
    train_items = set(data.items[(result.group[data.users] == 0)])
    assert set(data.items[result.part >= 0]) == train_items
    assert result.groups == ("train", "validation", "test")


def test_users_with_few_ratings_have_no_targets():
    users = np.repeat(np.arange(10), 4).astype(np.int32)
    items = np.tile(np.arange(4), 10).astype(np.int32)
    data = Ratings(users, items, np.ones(40, np.float32), np.arange(40))
    for fold_in in ("random", "time"):
        result = run(data, 10, 4, split="users", test=3, validation=3, fold_in=fold_in)
        assert not result.part.any()


def test_users_fold_in_by_time_takes_the_first_share_in_stable_order():
    users = np.repeat(np.arange(6), 6).astype(np.int32)
    items = np.tile(np.arange(6), 6).astype(np.int32)
    times = np.tile([5, 1, 1, 9, 9, 0], 6)  # stable order of items: 5 1 2 0 3 4
    data = Ratings(users, items, np.ones(36, np.float32), times)
    result = run(data, 6, 6, split="users", test=2, validation=2, fold_in="time", fold_in_share=0.7)
    held_out = result.group[data.users] > 0
    assert sorted(data.items[result.part > 0]) == [3] * 4 + [4] * 4  # int(.7 * 6) = 4 are input
    assert held_out[result.part > 0].all()


def test_held_out_users_must_leave_some_to_train_on():
    with pytest.raises(ValueError, match="20 \\+ 20 held-out users leave none of the 40 users"):
        run(make(), split="users", test=20, validation=20)


def test_last_holds_out_by_time_then_file_order():
    users = np.array([0, 1, 0, 0, 1, 2, 0, 2, 2], np.int32)
    times = np.array([7, 1, 7, 3, 1, 5, 2, 5, 5])
    data = Ratings(users, np.arange(9, dtype=np.int32), np.ones(9, np.float32), times)
    result = run(data, 3, 9, split="last", validation=1)
    # user 0: order 6 3 0 2; user 1 has two ratings; user 2: order 5 7 8
    assert result.part.tolist() == [1, 0, 2, 0, 0, 0, 0, 1, 2]
    assert "1 users with fewer than 3 ratings" in result.note
    assert run(data, 3, 9, split="last", validation=0).part.tolist() == [0, 0, 2, 0, 0, 0, 0, 0, 2]


def test_ties_in_random_order_hold_out_any_of_the_latest_ratings():
    users, times = np.repeat(np.arange(200, dtype=np.int32), 4), np.tile([1, 2, 2, 2], 200)
    data = Ratings(users, np.arange(800, dtype=np.int32), np.ones(800, np.float32), times)
    found = Interactions(data, [f"{i:03}" for i in range(200)], [f"{i:03}" for i in range(800)])
    config = DataConfig(split="last", tie_order="random", seed=5)
    parts = [stages.split(found, config) for _ in range(2)]
    assert np.array_equal(*(p.part for p in parts))
    tested = parts[0].kept.ratings.items[parts[0].part == TEST] % 4
    counts = np.bincount(tested, minlength=4)
    assert counts[0] == 0 and counts[1:].min() > 40
    in_file_order = stages.split(found, DataConfig(split="last"))
    assert set(in_file_order.kept.ratings.items[in_file_order.part == TEST] % 4) == {3}
    assert "ties in random order (seed 5)" in config.rule.describe()


@pytest.mark.parametrize("name", ["random", "time", "users", "last"])
def test_every_rating_is_in_one_part(name):
    data = make()
    numbers = {"test": 8, "validation": 8} if name == "users" else {}
    result = run(data, split=name, **numbers)
    assert len(result.part) == len(data)
    assert set(np.unique(result.part)) <= {-1, 0, 1, 2}
    assert (result.part == -1).sum() == sum(result.dropped.values())
    assert (result.part == TEST).sum() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "randon"}, "--data split=randon is unknown; did you mean 'random'"),
        ({"rows": "users"}, "--data rows=users is unknown; did you mean 'user'"),
        ({"duplicates": "lst"}, "--data duplicates=lst is unknown; did you mean 'last'"),
        (
            {"split": "users", "fold_in": "tme"},
            "--data fold_in=tme is unknown; did you mean 'time'",
        ),
        ({"split": "users", "rows": "item"}, "--data rows=item cannot go with split=users"),
        ({"test": 1}, "--data test=1 must be 0 or more and less than 1, with split=random"),
        ({"validation": 5}, "--data validation=5 must be 0 or more and less than 1, with"),
        ({"split": "folds", "validation": 1}, "validation=1 must be 0 or more and less than 1"),
        ({"split": "folds", "test": 0.2}, "test=0.2 is for split=random, time, users, not split=f"),
        ({"split": "time", "test": 2}, "--data test=2 must be 0 or more and less than 1"),
        ({"split": "time", "validation": 1.5}, "--data validation=1.5 must be from 0 to 1"),
        (
            {"split": "time", "until": "1 May"},
            "--data until=1 May is not a date; write it as 2005-12",
        ),
        ({"split": "users", "test": 2.5}, "--data test=2.5 must be a whole number, or a share be"),
        ({"since": "2005-09-01"}, "--data since=2005-09-01 is for split=time, not split=random"),
        ({"split": "last", "fold_in": "time"}, "fold_in=time is for split=users, not split=last"),
    ],
)
def test_wrong_settings_name_the_flag(settings, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**settings)


def test_a_rule_holds_its_own_settings():
    config = DataConfig(split="users", test=5, fold_in="time", seed=3)
    assert config.rule == HeldOutUsers(test=5, fold_in="time", seed=3)
    assert config.rule.needs_times
    assert DataConfig(split="last", tie_order="random", seed=3).rule == LastOut(
        tie_order="random", seed=3
    )
    assert DataConfig(split="time", until="2005-01-01").rule == ByTime(until="2005-01-01")
    with pytest.raises(ValueError, match="^--data test=1 must be 0 or more and less than 1$"):
        ByTime(test=1)
    flat = {f.name for f in dataclasses.fields(DataConfig) if "of_split" in f.metadata} | {"seed"}
    assert flat == {f.name for rule in RULES.values() for f in dataclasses.fields(rule)}
    for rule in RULES.values():  # flags and files have one default for all
        for field in dataclasses.fields(rule):
            assert field.default == getattr(DataConfig, field.name)


@pytest.mark.parametrize(
    "settings",
    [
        {"test": 0, "validation": 0},
        {"split": "time", "validation": 1},
        {"split": "users", "test": 750, "validation": 0.1},
        {"split": "last", "validation": 1},
    ],
)
def test_settings_at_the_edge_are_fine(settings):
    assert DataConfig(**settings).rule.name == settings.get("split", "random")


def test_duplicates():
    frame = pd.DataFrame(
        {
            "user": ["a", "b", "a", "a"],
            "item": ["x", "x", "y", "x"],
            "value": np.float32([1, 2, 3, 4]),
            "time": [9, 1, 1, 2],
        }
    )
    data, users, items = collect([frame[:2], frame[2:]])
    with pytest.raises(ValueError, match="'a' rated item 'x' twice: rating 1, and rating 4 .*: 1"):
        drop_duplicates(data, "error", users, items)
    with pytest.raises(ValueError, match="--data duplicates=last"):
        drop_duplicates(data, "error", users, items)
    kept, n = drop_duplicates(data, "last", users, items)  # last by time: the first in the file
    assert (kept.values.tolist(), n) == ([1, 2, 3], 1)
    kept, n = drop_duplicates(data, "first", users, items)
    assert (kept.values.tolist(), n) == ([2, 3, 4], 1)


def test_bad_ratings_are_named():
    frame = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "value": [1.0, 2], "time": 0})
    with pytest.raises(ValueError, match="rating 4: value nan is not a finite number"):
        collect([frame, frame.assign(value=[1.0, np.nan])])
    with pytest.raises(ValueError, match="rating 3: the item id is missing"):
        collect([frame, frame.assign(item=[None, "y"])])
    with pytest.raises(ValueError, match="'a\\\\nb' is empty or has a line break"):
        collect([frame.assign(user=["a\nb", "c"])])
    with pytest.raises(ValueError, match="no ratings"):
        collect([frame[:0]])


def test_ids_sort_as_numbers_if_all_are():
    used = np.array([True, True, False, True])
    ids, positions = vocabulary.select(["10", "9", "8", "-1"], used)
    assert ids == ["-1", "9", "10"]
    assert positions.tolist() == [2, 1, -1, 0]
    assert vocabulary.select(["10", "9", "b", "x"], np.ones(4, bool))[0] == ["10", "9", "b", "x"]


def raw_dataset(name, **changes):
    known = {"fingerprint": "f", "rating_min": 1, "rating_max": 5}
    return RawDataset(name=name, chunks=lambda: iter([]), **known, **changes)


def test_protocol_in_words():
    raw = raw_dataset("ml-1m")
    assert protocol.describe(DataConfig(), raw) == (
        "ml-1m, random 90/10 by rating (seed 0), validation 10 % of train, rows by user"
    )
    config = DataConfig(
        split="users", test=750, validation=750, fold_in="time", min_rating=4, max_user_ratings=1000
    )
    sentence = protocol.describe(config, raw)
    assert "750 test, 750 validation, earliest 80 % of each as input" in sentence
    assert "ratings >= 4, users with <= 1000 ratings" in sentence


@pytest.mark.parametrize("name", ["random", "folds", "time", "users", "last"])
def test_every_split_is_described(name):
    raw = raw_dataset("x")
    assert protocol.describe(DataConfig(split=name), raw).startswith("x, ")


def at(*days):
    """A rating of user n % 2 on item n // 2 of each day."""
    n = np.arange(len(days), dtype=np.int32)
    times = np.array(days, "datetime64[s]").astype(np.int64)
    return Ratings(n % 2, n // 2 % 2, np.ones(len(days), np.float32), times)


DAYS = ("2005-08-31", "2005-09-01", "2005-11-30", "2005-11-30", "2005-12-01", "2005-12-31",
        "2005-12-31T23:59:59", "2006-01-01")  # fmt: skip


def test_time_windows_are_days():
    """DeepRec's three months: training from September, test in December."""
    settings = {"split": "time", "test_since": "2005-12-01", "validation": 0}
    found = run(at(*DAYS), 2, 2, **settings, since="2005-09-01", until="2006-01-01")
    assert found.part.tolist() == [-1, 0, 0, 0, 2, 2, 2, -1]
    assert found.dropped == {"outside_since_until": 2}
    assert run(at(*DAYS), 2, 2, **settings).part.tolist() == [0] * 4 + [2] * 4
    half = run(at(*DAYS), 2, 2, **settings | {"validation": 0.5}).part
    assert [(half == p).sum() for p in (HISTORY, VALIDATION, TEST)] == [4, 2, 2]
    share = run(at(*DAYS), 2, 2, split="time", until="2005-12-01", test=0.25, validation=0).part
    assert share.tolist() == [0, 0, 0, 0, -1, -1, -1, -1]  # two share the last second


def test_time_windows_drop_users_without_training():
    data = at("2005-08-31", "2005-09-01", "2005-12-01", "2005-12-01")
    found = run(data, 2, 2, split="time", since="2005-09-01", test_since="2005-12-01")
    assert found.part.tolist() == [-1, 0, -1, -1]
    assert found.dropped["user_not_in_train"] == found.dropped["item_not_in_train"] == 1


def test_months_are_of_the_calendar():
    days = ("2015-03-31", "2015-03-31", "2015-04-01", "2015-04-30", "2015-05-31")
    found = run(at(*days), 2, 2, split="month", validation=1)
    assert found.part.tolist() == [0, 0, -1, -1, 2]  # item 1 is not in train
    assert found.test_history == ("history", "validation")
    assert found.note == "test month 2015-05"
    assert run(at(*days), 2, 2, split="month", validation=0).part.tolist() == [0, 0, 0, 0, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"split": "month"},
            "there are no ratings in 2005-10, the month before .*, 2005-11;.*validation=0",
        ),
        (
            {"split": "time", "test_since": "2007-01-01"},
            "test_since=2007.*no ratings in the test wi",
        ),
        ({"split": "time", "test_since": "2001-01-01"}, "2001.*no ratings before the test window"),
        ({"split": "time", "since": "2008-01-01"}, "--data since=2008-01-01: .*no ratings before"),
    ],
)
def test_windows_without_ratings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        run(at("2005-09-01", "2005-11-30"), 2, 2, **settings)
    with pytest.raises(ValueError, match="no ratings before the months held out, 2005-11 being"):
        run(at("2005-11-01", "2005-11-30"), 2, 2, split="month", validation=0)


def test_protocols_by_time_give_their_days():
    raw = raw_dataset("x")
    days = {"since": "2005-09-01", "test_since": "2005-12-01", "until": "2006-01-01"}
    assert protocol.describe(DataConfig(split="time", validation=0.5, **days), raw) == (
        "x, ratings since 2005-12-01 held out (users and items known in train), since 2005-09-01, "
        "until 2006-01-01, validation 50 % of them (seed 0), rows by user"
    )
    assert protocol.describe(DataConfig(split="month", validation=0), raw) == (
        "x, latest calendar month test, no validation (users and items known in train), "
        "rows by user"
    )


def test_splits_by_time_need_times():
    raw = raw_dataset("x", has_times=False)
    with pytest.raises(ValueError, match="split=last needs times, but x has none"):
        protocol.check_source(DataConfig(split="last"), raw)
    protocol.check_source(DataConfig(split="users", test=1), raw)
