"""Readers: batches have the contents of the rows, padded, shuffled and filled as documented."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfrec.config import DataConfig
from tfrec.data import inputs, records
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset

N_USERS, N_ITEMS = 23, 17


def make_raw():
    random = np.random.default_rng(5)
    users, items = np.nonzero(random.random((N_USERS, N_ITEMS)) < 0.5)
    order = random.permutation(len(users))
    frame = pd.DataFrame(
        {
            "user": users[order].astype(str),
            "item": items[order].astype(str),
            "value": random.integers(1, 6, len(order)).astype(np.float32),
            "time": random.integers(1000, 1020, len(order)),
        }
    )
    # Users with a single rating: some have it in train, some in validation or test only.
    singles = [(str(100 + i), str(i % N_ITEMS), 3.0, 1005) for i in range(30)]
    frame = pd.concat([frame, pd.DataFrame(singles, columns=frame.columns)])
    frame["value"] = frame["value"].astype(np.float32)
    return RawDataset(
        name="toy",
        chunks=lambda: iter([frame]),
        fingerprint="f",
        rating_min=1.0,
        rating_max=5.0,
        rating_step=1.0,
        has_times=True,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepares once a configuration; call with the settings to get (data_dir, info)."""
    done = {}

    def get(**settings):
        key = tuple(sorted(settings.items()))
        if key not in done:
            data_dir = tmp_path_factory.mktemp("data") / "d"
            config = DataConfig(**({"test": 0.2, "validation": 0.3, "shards": 3} | settings))
            done[key] = data_dir, prepare(make_raw(), config, data_dir, progress=False)
        return done[key]

    return get


def rows_of(prepared_dir, *parts):
    """The contents of the files: {user: [(item, value), ...] in stable time order}."""
    data_dir, info = prepared_dir
    result = {}
    for row in records.read_rows(data_dir, info):
        entries = []
        for part in parts:
            prefix = "" if part == "history" else f"{part}_"
            columns = (row[prefix + name].tolist() for name in ("times", "items", "values"))
            entries += zip(*columns, strict=True)
        entries.sort(key=lambda entry: entry[0])
        if entries:
            result[row["user"]] = [entry[1:] for entry in entries]
    return result


def lists_of(batches, items="items", values="values"):
    """The contents of the batches, without padding."""
    result = {}
    for features, targets in batches.as_numpy_iterator():
        both = features | targets
        for user, row, numbers in zip(both["user"], both[items], both[values], strict=True):
            assert (numbers[row < 0] == 0).all()
            n = int((row >= 0).sum())
            assert (row[n:] == -1).all()
            if user < 0:
                assert n == 0
                continue
            assert user not in result
            result[int(user)] = list(zip(row[:n].tolist(), numbers[:n].tolist(), strict=True))
    return result


def test_training_rows_are_input_and_target(prepared):
    data_dir, info = prepared()
    expected = rows_of((data_dir, info), "history")
    batches = inputs.histories(data_dir, info, "train", 7, fill=True)
    assert lists_of(batches) == expected
    assert lists_of(batches, "target_items", "target_values") == expected
    assert info.row_counts["train"] == len(expected) < info.n_users


def test_shapes_and_types(prepared):
    data_dir, info = prepared()
    for split in ("train", "train+validation", "validation", "test"):
        (features, targets) = inputs.histories(data_dir, info, split, 4).element_spec
        assert features["user"] == tf.TensorSpec([4], tf.int32)
        assert features["items"] == tf.TensorSpec([4, None], tf.int32)
        assert features["values"] == tf.TensorSpec([4, None], tf.float32)
        assert targets["target_items"] == tf.TensorSpec([4, None], tf.int32)
        assert targets["target_values"] == tf.TensorSpec([4, None], tf.float32)
        (features, targets) = inputs.events(data_dir, info, split, 4).element_spec
        assert features == {"user": tf.TensorSpec([4], tf.int32), "item": features["user"]}
        assert targets == {"value": tf.TensorSpec([4], tf.float32)}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_has_every_row_with_targets_once(prepared, split):
    data_dir, info = prepared()
    batches = inputs.histories(data_dir, info, split, 8)
    targets = rows_of((data_dir, info), split)
    assert lists_of(batches, "target_items", "target_values") == targets
    seen = rows_of((data_dir, info), *{"validation": ["history"], "test": info.test_history}[split])
    assert lists_of(batches) == {user: seen.get(user, []) for user in targets}
    assert {len(features["user"]) for features, _ in batches} == {8}
    assert info.row_counts[split] == len(targets)


def test_test_input_is_what_the_split_allows(prepared):
    assert prepared(split="random")[1].test_history == ("history", "validation")
    data_dir, info = prepared(split="time", test=0.5, validation=0.5)
    history = rows_of((data_dir, info), "history")
    found = lists_of(inputs.histories(data_dir, info, "test", 5))
    assert found == {user: history[user] for user in found}


def test_refit_merges_history_and_validation_in_time_order(prepared):
    data_dir, info = prepared()
    batches = inputs.histories(data_dir, info, "train+validation", 6, fill=True, shuffle=True)
    expected = rows_of((data_dir, info), "history", "validation")
    assert lists_of(batches) == expected
    assert info.row_counts["train+validation"] == len(expected)


def test_held_out_users_are_read_from_their_group(prepared):
    data_dir, info = prepared(split="users", test=6, validation=5, min_user_ratings=5)
    groups = {"train": set(), "validation": set(), "test": set()}
    for row in records.read_rows(data_dir, info):
        groups[row["group"]].add(row["user"])
    for split in ("train", "validation", "test"):
        found = lists_of(inputs.histories(data_dir, info, split, 4, fill=True))
        assert set(found) == groups[split]
    refit = lists_of(inputs.histories(data_dir, info, "train+validation", 4, fill=True))
    everything = rows_of((data_dir, info), "history", "validation")
    assert refit == {user: everything[user] for user in groups["train"] | groups["validation"]}
    n_events = sum(map(len, refit.values()))
    values = [t["value"] for _, t in inputs.events(data_dir, info, "train+validation", 1)]
    assert len(values) == n_events


def test_training_drops_the_remainder_and_clamps(prepared):
    data_dir, info = prepared()
    n = info.row_counts["train"]
    sizes = [len(f["user"]) for f, _ in inputs.histories(data_dir, info, "train", 7)]
    assert sizes == [7] * (n // 7)
    sizes = [len(f["user"]) for f, _ in inputs.histories(data_dir, info, "train", 10_000)]
    assert sizes == [n]
    sizes = [len(f["user"]) for f, _ in inputs.events(data_dir, info, "train", 10**6)]
    assert sizes == [info.n_ratings["train"]]


def order_of(batches):
    return [int(user) for features, _ in batches for user in features["user"]]


def test_epochs_differ_and_can_be_resumed(prepared):
    data_dir, info = prepared()
    for reader in (inputs.histories, inputs.events):

        def order(epoch, seed=0, reader=reader):
            return order_of(
                reader(data_dir, info, "train", 1, shuffle=True, seed=seed, epoch=epoch)
            )

        assert order(3) == order(3)
        assert order(3, seed=1) == order(3, seed=1) != order(3)
        assert order(3) != order(4) != order(5)
        assert order(0, seed=1) != order(1, seed=0)
        assert sorted(order(3)) == sorted(order(4))
    plain = inputs.histories(data_dir, info, "train", 1)
    assert order_of(plain) == order_of(plain)


def test_a_dataset_read_twice_gives_one_order(prepared):
    data_dir, info = prepared()
    batches = inputs.histories(data_dir, info, "train", 1, shuffle=True)
    assert order_of(batches) == order_of(batches)


@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_of_similar_length_share_batches(prepared, split):
    data_dir, info = prepared()
    shuffle = split == "train"
    plain = inputs.histories(data_dir, info, split, 5, shuffle=shuffle, fill=True)
    sorted_in = inputs.histories(data_dir, info, split, 5, shuffle=shuffle, by_length=6, fill=True)
    assert lists_of(sorted_in) == lists_of(plain)
    assert padding_of(sorted_in) < padding_of(plain)
    again = inputs.histories(data_dir, info, split, 5, shuffle=shuffle, by_length=6, fill=True)
    assert order_of(sorted_in) == order_of(again)


def test_epochs_and_seeds_have_other_batches_of_similar_length(prepared):
    data_dir, info = prepared()
    numbers = {"shuffle": True, "by_length": 6}
    orders = [
        order_of(inputs.histories(data_dir, info, "train", 5, seed=seed, epoch=epoch, **numbers))
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    assert len(set(map(tuple, orders))) == 4


def padding_of(batches):
    return sum(int((f["items"] < 0).sum()) for f, _ in batches.as_numpy_iterator())


def events_of(batches):
    found = []
    for features, targets in batches.as_numpy_iterator():
        columns = features["user"], features["item"], targets["value"]
        found += zip(*(column.tolist() for column in columns), strict=True)
    return found


@pytest.mark.parametrize("split", ["train", "train+validation", "validation", "test"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_events_are_the_targets_one_by_one(prepared, split, shuffle):
    data_dir, info = prepared()
    parts = {"train": ["history"]}.get(split, split.replace("train", "history").split("+"))
    rows = rows_of((data_dir, info), *parts)
    expected = sorted((user, item, value) for user, row in rows.items() for item, value in row)
    found = events_of(inputs.events(data_dir, info, split, 16, shuffle=shuffle, fill=True))
    assert len(found) % 16 == 0
    filling = found[len(expected) :]
    if not shuffle:
        assert filling == [(-1, -1, 0.0)] * len(filling)
    assert sorted(event for event in found if event[0] >= 0) == expected


def test_events_mix_rows(prepared):
    data_dir, info = prepared()
    first = next(iter(inputs.events(data_dir, info, "train", 32, shuffle=True)))[0]["user"]
    assert len(set(first.numpy().tolist())) > 8


def test_events_of_item_rows_have_users_and_items(prepared):
    by_user = events_of(inputs.events(*prepared(), "test", 8))
    by_item = events_of(inputs.events(*prepared(rows="item"), "test", 8))
    assert sorted(by_user) == sorted(by_item)
    data_dir, info = prepared(rows="item")
    rows = lists_of(inputs.histories(data_dir, info, "test", 8), "target_items", "target_values")
    turned = sorted((user, item, value) for item, row in rows.items() for user, value in row)
    assert turned == sorted(event for event in by_user if event[0] >= 0)


def test_distributed_over_two_workers_by_data(prepared):
    data_dir, info = prepared()
    batches = inputs.histories(data_dir, info, "train", 4)
    policy = batches.options().experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.DATA


def test_errors_name_what_is_missing(prepared):
    data_dir, info = prepared(validation=0)
    with pytest.raises(ValueError, match="toy has no validation ratings"):
        inputs.histories(data_dir, info, "validation", 4)
    with pytest.raises(ValueError, match="split 'valid': known: train"):
        inputs.events(data_dir, info, "valid", 4)
    assert inputs.histories(data_dir, info, "train+validation", 4)
