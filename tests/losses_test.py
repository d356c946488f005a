import numpy as np
import pytest
import tensorflow as tf

from tfrec import losses
from tfrec.layers.densify import densify

ITEMS = tf.constant([[0, 2, -1], [1, -1, -1]])
VALUES = tf.constant([[5.0, 3.0, 0.0], [1.0, 0.0, 0.0]])
SCORES = tf.constant([[4.0, 1.0, 3.5], [2.0, 3.0, 3.0]])


def test_densify_spreads_and_leaves_the_rest_zero():
    np.testing.assert_array_equal(densify(ITEMS, VALUES, 4), [[5, 0, 3, 0], [0, 1, 0, 0]])
    assert densify(tf.fill([2, 1], -1), tf.zeros([2, 1]), 3).numpy().sum() == 0


def test_pooled_mmse_is_the_worked_value_of_reference_section_1():
    rows = losses.squared_error(SCORES, ITEMS, VALUES)
    np.testing.assert_allclose(rows, [1.25, 4.0])
    pooled = losses.pooled(rows, tf.constant([2.0, 1.0]))
    assert float(tf.reduce_mean(pooled)) == pytest.approx(1.75)


def test_unobserved_entries_get_no_gradient():
    with tf.GradientTape() as tape:
        tape.watch(SCORES)
        loss = tf.reduce_sum(losses.squared_error(SCORES, ITEMS, VALUES))
    gradient = tape.gradient(loss, SCORES)
    np.testing.assert_allclose(gradient, [[-2, 0, 1], [0, 4, 0]])


def test_pooling_counts_the_ratings_of_all_replicas(mirrored):
    """Replica 0 has two ratings, replica 1 has one: each is divided by all three."""

    def step():
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = tf.cond(index == 0, lambda: tf.constant([1.25]), lambda: tf.constant([4.0]))
        count = tf.cond(index == 0, lambda: tf.constant([2.0]), lambda: tf.constant([1.0]))
        return tf.reduce_mean(losses.pooled(rows, count)) / 2

    per_replica = tf.function(lambda: mirrored.run(step))()
    total = mirrored.reduce("SUM", per_replica, axis=None)
    assert float(total) == pytest.approx(1.75)
