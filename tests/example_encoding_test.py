"""Serialized rows: the bytes that protobuf itself writes."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec.data import example_encoding, record_file


def by_protobuf(row):
    feature = {}
    for name, numbers in row.items():
        if not len(numbers):
            continue
        if numbers.dtype == np.float32:
            feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=numbers.tolist()))
        else:
            feature[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=numbers.tolist()))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def test_bytes_are_those_of_protobuf():
    random = np.random.default_rng(0)
    counts = np.array([0, 1, 2, 40, 0, 3000, 127, 128])
    starts = np.concatenate([[0], np.cumsum(counts)])
    n = starts[-1]
    wide = random.integers(0, 63, n)
    lists = {
        "user": np.arange(8),
        "times": (np.int64(1) << wide) + random.integers(-2, 3, n),
        "items": random.integers(0, 20000, n).astype(np.int32),
        "negative": -random.integers(0, 5, n),
        "values": random.normal(size=n).astype(np.float32),
        "a_very_long_name_of_a_feature_" * 6: random.integers(0, 2, n).astype(np.int32),
    }
    bounds = {name: np.arange(9) if name == "user" else starts for name in lists}
    found = list(example_encoding.examples(lists, bounds))
    for r in range(8):
        row = {name: lists[name][bounds[name][r] : bounds[name][r + 1]] for name in lists}
        assert found[r] == by_protobuf(row)


def test_no_rows_are_no_examples():
    assert not list(
        example_encoding.examples({"user": np.zeros(0, np.int64)}, {"user": np.zeros(1, int)})
    )


def test_files_are_those_of_tensorflow(tmp_path):
    pytest.importorskip("google_crc32c")
    random = np.random.default_rng(0)
    due = [random.bytes(size) for size in (0, 1, 9, 128, 3000, 70_000)]
    record_file.write(tmp_path / "own", due)
    record_file._by_tensorflow(tmp_path / "tensorflow", due)
    assert (tmp_path / "own").read_bytes() == (tmp_path / "tensorflow").read_bytes()
    found = tf.data.TFRecordDataset(str(tmp_path / "own"))  # checks the checksums
    assert [record.numpy() for record in found] == list(record_file.read(tmp_path / "own")) == due
    whole = (tmp_path / "own").read_bytes()
    for damaged in (whole[:-1], whole[:-60_000] + b"xyz" + whole[-59_997:], whole[:5], b"x" * 99):
        (tmp_path / "own").write_bytes(damaged)
        with pytest.raises(ValueError, match="truncated or its checksum is wrong"):
            list(record_file.read(tmp_path / "own"))
