"""`tfrec.splits` of frames: the very parts that are prepared, as rows of the frame."""

import numpy as np
import pandas as pd
import pytest

from tfrec import Dataset, schema, splits
from tfrec.data import records, vocabulary

NAMES = {"user": "customer", "item": "sku", "time": "bought"}


@pytest.fixture(scope="module")
def purchases():
    """Ids whose order as text is not that of numbers; index and days in no order; rare items."""
    random = np.random.default_rng(5)
    pairs = random.permutation(40 * 30)[:600]
    user, item = np.divmod(pairs, 30)
    kept = (user < 34) | (item < 2)  # some users have one or two rows
    days = pd.to_datetime("2001-01-05") + pd.to_timedelta(random.integers(0, 90, 600), "D")
    late = pd.Series(days).where(item > 0, pd.Timestamp("2001-04-04"))  # an item of the last day
    return pd.DataFrame(
        {
            "customer": user * 7 + 1,
            "sku": [f"s{x}" for x in item],
            "bought": late.dt.strftime("%Y-%m-%d").to_numpy(),
        },
        index=random.permutation(600) * 3,
    )[kept]


def stored(prepared):
    """`{(group, part): pairs of raw ids}` of prepared rows."""
    users, items = (
        vocabulary.read(prepared.data_dir / file) for file in (schema.USERS_FILE, schema.ITEMS_FILE)
    )
    found = {}
    for row in records.read_rows(prepared.data_dir, prepared.info):
        for part in schema.PARTS:
            pairs = {(users[row["user"]], items[i]) for i in row[schema.feature_names(part)[0]]}
            found.setdefault((row["group"], part), set()).update(pairs)
    return found


def pairs_of(frame):
    return set(zip(frame["customer"].astype(str), frame["sku"], strict=True))


@pytest.mark.parametrize(
    ("rule", "function", "settings"),
    [
        ("last", splits.last, {}),
        ("last", splits.last, {"validation": False}),
        ("time", splits.by_time, {"test": 0.2, "validation": 0.5, "seed": 2}),
        ("time", splits.by_time, {"test_since": "2001-03-01", "since": "2001-01-10"}),
        ("month", splits.month, {}),
        ("random", splits.random, {"test": 0.2, "seed": 3}),
    ],
)
def test_parts_are_those_that_are_prepared(rule, function, settings, purchases, tmp_path):
    names = {} if rule == "random" else NAMES
    parts = function(purchases, **names, **settings)
    own = {n: float(x) if x is False else x for n, x in settings.items()}
    prepared = Dataset.from_pandas(purchases, **NAMES).split(rule, data_dir=tmp_path / "d", **own)
    want = stored(prepared)
    for name, part in zip(schema.PARTS, parts, strict=True):
        assert pairs_of(part) == want["train", name]
        assert len(part) == len(pairs_of(part))
        assert (len(part) > 0) == (name != "validation" or settings.get(name) is not False)
        pd.testing.assert_frame_equal(part, purchases[purchases.index.isin(part.index)])
    dropped = len(purchases) - sum(map(len, parts))
    assert dropped == sum(prepared.info.dropped.values())
    assert (dropped > 0) == (rule in ("time", "month"))


@pytest.mark.parametrize(
    "settings", [{"test": 6, "validation": 0.2, "seed": 1}, {"fold_in": "time", "test": 0.3}]
)
def test_held_out_users_are_those_that_are_prepared(settings, purchases, tmp_path):
    parts = splits.users(purchases, **NAMES, **settings)
    data = Dataset.from_pandas(purchases, **NAMES)
    want = stored(data.split("users", data_dir=tmp_path / "d", **settings))
    assert pairs_of(parts.train) == want["train", "history"]
    for name in ("validation", "test"):
        held_out = getattr(parts, name)
        assert pairs_of(held_out.fold_in) == want[name, "history"]
        assert pairs_of(held_out.targets) == want[name, name] != set()
    several = [parts.train, *parts.validation, *parts.test]
    assert not pd.concat(several).index.duplicated().any()


def test_validation_of_given_parts_is_that_which_is_prepared(purchases, tmp_path):
    train, test = purchases[100:], purchases[:100]
    parts = splits.given(train, test, validation=0.2, seed=4)
    prepared = Dataset.split_files(
        train, test, validation=0.2, data_dir=tmp_path / "d", seed=4, **NAMES
    )
    for name, part in zip(schema.PARTS, parts, strict=True):
        assert pairs_of(part) == stored(prepared)["train", name]
    assert parts.test is test


def test_what_cannot_be_split_is_refused(purchases):
    for call, message in (
        (lambda: splits.last(purchases), "no column 'user' for user.*user=COLUMN"),
        (lambda: splits.random(purchases, test=1.5), "0 or more and less than 1"),
        (lambda: splits.random(purchases, test="most"), "test='most' is str, not float"),
        (lambda: splits.random(purchases, test=0.999, validation=0.9), "leaves no training row"),
        (lambda: splits.random(purchases[:0]), "the frame is empty"),
        (lambda: splits.users(purchases, **NAMES, test=40), "leave none of the .* users"),
        (lambda: splits.users(purchases, user="customer", item="sku", fold_in="time"), "time=COL"),
        (lambda: splits.by_time(purchases, **NAMES, since="2002-01-01"), "there are no rat"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
