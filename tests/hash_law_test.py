"""Draws by a hash of user, item and seed: `--data law=hash`."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from tfrec import splits
from tfrec.config import DataConfig
from tfrec.split_rules import RULES, hash_law


@pytest.fixture(scope="module")
def clicks():
    random = np.random.default_rng(3)
    pairs = random.permutation(300 * 100)[:20_000]
    user, item = np.divmod(pairs, 100)
    return pd.DataFrame(
        {"user": [f"u{n}" for n in user], "item": item, "time": random.integers(0, 10**6, 20_000)}
    )


def pair_of(user, item):
    """In plain integers, from the module's documentation."""

    def mix(x):
        z = (x + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    def hash_of(raw_id):
        return int.from_bytes(hashlib.blake2b(raw_id.encode(), digest_size=8).digest(), "little")

    def draw(seed, stream):
        return (mix(mix(pair ^ seed) ^ stream) >> 11) / 2**53

    pair = mix(mix(hash_of(user)) ^ hash_of(item))
    return pair, draw


def test_the_hash_is_the_documented_one():
    users, items = ["7", "Zoë", "a b"], ["7", "sku-1", "猫"]
    pairs = hash_law.of_pairs(hash_law.of_ids(users), hash_law.of_ids(items))
    for at, (user, item) in enumerate(zip(users, items, strict=True)):
        pair, draw = pair_of(user, item)
        assert int(pairs[at]) == pair
        for seed, stream in ((0, 0), (2**32 - 1, 1)):
            assert hash_law.uniform(pairs, seed, stream)[at] == draw(seed, stream)
    assert f"{pair_of('7', '7')[1](0, 0):.12f}" == "0.594527848602"


def test_parts_do_not_depend_on_order_or_on_other_ratings(clicks):
    settings = {"test": 0.2, "validation": 0.1, "seed": 4, "law": "hash"}
    parts = splits.random(clicks, **settings)
    others = clicks.sample(frac=0.5, random_state=0)  # half of them, in another order
    for part, again in zip(parts, splits.random(others, **settings), strict=True):
        assert set(again.index) == set(part.index) & set(others.index)
    for share, part in zip((0.72, 0.08, 0.2), parts, strict=True):
        assert abs(len(part) - 20_000 * share) < 5 * (20_000 * share * (1 - share)) ** 0.5
    other = splits.random(clicks, **settings | {"seed": 5})
    both = len(set(other.test.index) & set(parts.test.index))
    assert abs(both - 800) < 5 * 28  # independent draws
    without = splits.random(clicks, **settings | {"validation": 0})
    assert without.test.index.equals(parts.test.index)


def test_duplicates_are_in_one_part(clicks):
    twice = pd.concat([clicks, clicks], ignore_index=True)
    for part in splits.random(twice, law="hash", test=0.3):
        assert (part.groupby(["user", "item"]).size() == 2).all()


def test_a_window_of_time_is_drawn_from_by_hash(clicks):
    parts = splits.by_time(clicks, law="hash", test=0.3, validation=0.5, seed=2)
    window = pd.concat(parts[1:])
    pairs = [pair_of(u, str(i))[1](2, 1) for u, i in zip(window.user, window.item, strict=True)]
    assert set(parts.validation.index) == set(window.index[np.array(pairs) < 0.5])


def test_protocol_and_settings_name_the_law(clicks):
    config = DataConfig(law="hash", seed=7)
    assert "(seed 7, by hash of user and item)" in config.rule.describe()
    assert "hash" not in DataConfig(seed=7).rule.describe()
    assert {name for name, rule in RULES.items() if hasattr(rule, "law")} == {
        *("random", "folds", "time")
    }
    with pytest.raises(ValueError, match="law=hash is for split=random, folds, time"):
        DataConfig(split="last", law="hash")
    with pytest.raises(ValueError, match="law"):
        splits.random(clicks, law="dice")


def test_prepared_parts_are_those_of_the_frame(clicks, tmp_path):
    from tfrec import Dataset

    prepared = Dataset.from_pandas(clicks).split("random", data_dir=tmp_path / "d", law="hash")
    parts = splits.random(clicks, law="hash")
    n = prepared.info.n_ratings
    assert (n["train"], n["validation"], n["test"]) == tuple(map(len, parts))
