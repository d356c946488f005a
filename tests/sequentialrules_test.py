"""Sequential rules, counted by hand."""

import numpy as np
import tensorflow as tf

from tfrec.models.sequentialrules import SequentialRules, rules_of
from tfrec.schema import DatasetInfo

HISTORIES = np.array([[0, 1, 2, -1], [1, 0, 2, 3], [-1, -1, 2, 1]], np.int32)


def features(items):
    items = np.array(items, np.int32)
    return {
        "user": np.arange(len(items), dtype=np.int32),
        "items": items,
        "values": (items >= 0).astype(np.float32),
    }


def fitted(**settings) -> SequentialRules:
    info = DatasetInfo("toy", "toy", "user", 3, 5, {"train": 9})
    model = SequentialRules.create(info, SequentialRules.Config(**settings))
    rows = features(HISTORIES)
    targets = {"target_items": rows["items"], "target_values": rows["values"]}
    model.fit(tf.data.Dataset.from_tensor_slices((rows, targets)).batch(2))
    return model


def test_rules_are_weighed_by_distance_and_stay_within_a_history():
    due = np.zeros((5, 5))
    for left, right, d in [(0, 1, 1), (1, 2, 1), (0, 2, 2), (1, 0, 1), (0, 2, 1), (2, 3, 1)]:
        due[left, right] += 1 / d
    for left, right, d in [(1, 2, 2), (0, 3, 2), (2, 1, 1)]:
        due[left, right] += 1 / d
    np.testing.assert_allclose(rules_of(HISTORIES, 5, 2).toarray(), due)


def test_the_newest_items_count_most_and_rules_are_shares():
    model = fitted(distance=2, recent=2)
    rules = rules_of(HISTORIES, 5, 2).toarray()
    shares = rules / np.maximum(rules.sum(axis=1, keepdims=True), 1e-9)
    found = model.score(features([[3, 0, 1], [-1, -1, 2], [-1, -1, -1], [-1, -1, 4]]))
    np.testing.assert_allclose(found[0], shares[1] + shares[0] / 2, rtol=1e-6)
    np.testing.assert_allclose(found[1], shares[2], rtol=1e-6)
    assert not found[2].numpy().any()
    assert not found[3].numpy().any()  # nothing follows it in training


def test_the_papers_rules_are_those_of_the_newest_item():
    found = fitted(distance=3, recent=1, normalization=0.0).score(features([[0, 1]]))
    np.testing.assert_allclose(found, rules_of(HISTORIES, 5, 3).toarray()[[1]], rtol=1e-6)
