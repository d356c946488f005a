"""Base of attention blocks with learned numbers for distances in positions and gaps in time."""

import keras
import tensorflow as tf

from tfrec.layers.time_gaps import UNKNOWN, of_buckets


class RelativeAttention(keras.layers.Layer):
    """A layer with a number for each distance in positions and for each bucket of gaps in time.

    Args:
        window: Maximum number of positions.
        positions: Whether it has numbers for distances.
        times: Whether it has numbers for gaps.
    """

    def __init__(self, window: int, positions: bool, times: bool, **kwargs):
        super().__init__(**kwargs)
        self.window, self.by_position, self.by_time = window, positions, times

    def build(self, shape):
        start = keras.initializers.TruncatedNormal(stddev=0.02)
        if self.by_position:
            self.distance = self.add_weight((self.window,), start, name="distance")
        if self.by_time:
            self.gap = self.add_weight((UNKNOWN + 1,), start, name="gap")

    def maps(self, x: tf.Tensor, buckets: tf.Tensor | None, last: bool) -> list[tf.Tensor]:
        """The numbers of each pair of query and key: by distance, then by gap.

        Args:
            x: `[batch, L, width]`.
            buckets: int32 `[batch, L, L]` of `time_gaps.gap_buckets`; None: all gaps are unknown.
            last: Whether the last position is the only query.

        Returns:
            Up to two tensors `[batch or 1, queries, L]`; those of keys after the query are unused.
        """
        length, found = tf.shape(x)[1], []
        queries = tf.range(length)[-1:] if last else tf.range(length)
        if self.by_position:
            distances = tf.maximum(queries[:, tf.newaxis] - tf.range(length), 0)
            found.append(tf.cast(tf.gather(self.distance, distances), x.dtype)[tf.newaxis])
        if self.by_time and buckets is None:
            buckets = tf.fill([1, tf.size(queries), length], UNKNOWN)
        elif self.by_time and last:
            buckets = buckets[:, -1:]
        if self.by_time:
            found.append(of_buckets(tf.cast(self.gap, x.dtype), buckets))
        return found
