"""Throughput of the steps, and how long they wait for batches."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf


class Meter:
    """Fetches batches for steps that run in a graph; counts examples and waiting time.

    Args:
        strategy: The strategy whose replicas share the batches.
        timed: Whether waiting is measured; deterministic operations cannot read the clock.
    """

    def __init__(self, strategy: tf.distribute.Strategy, timed: bool = True):
        self.strategy, self.timed = strategy, timed
        with tf.device("CPU:0"):
            self._examples = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def reset(self) -> None:
        """Resets both counts to 0."""
        self._examples.assign(0)
        self._waited.assign(0.0)

    def next(self, batches: Iterator) -> Any:
        """The next batch of `batches`, whose features have `user`; called in a graph."""
        batch = self._timed_next(batches) if self.timed else next(batches)
        users = self.strategy.experimental_local_results(batch[0]["user"])
        real = tf.add_n([tf.math.count_nonzero(u >= 0) for u in users])
        workers = self.strategy.num_replicas_in_sync // len(users)
        self._examples.assign_add(real * workers)
        return batch

    def _timed_next(self, batches: Iterator) -> Any:
        """The next batch; adds the seconds until it is available."""
        start = tf.timestamp()
        with tf.control_dependencies([start]):
            batch = next(batches)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            end = tf.timestamp()
        self._waited.assign_add(end - start)
        return batch

    @property
    def examples(self) -> int:
        """Rows (or events) of the batches since `reset`, of all replicas."""
        return int(self._examples)

    @property
    def waited(self) -> float:
        """Seconds spent waiting for batches since `reset`."""
        return float(self._waited)
