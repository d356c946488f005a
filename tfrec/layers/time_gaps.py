"""Gaps between times in logarithmic buckets, and a bias of attention by them."""

import tensorflow as tf

from tfrec.schema import NO_TIME

STEP = 0.301  # of the buckets, in natural logarithms: a gap 1.35 times as long is one bucket on
UNKNOWN = 129  # the bucket where a time is not known; the others are 0 to 128


def gap_buckets(asked: tf.Tensor, times: tf.Tensor) -> tf.Tensor:
    """The bucket of each gap d: min(128, floor(ln(max(1, |d|)) / .301)) (HSTU's authors' code).

    With times in seconds the buckets 0 to 3 are gaps up to three seconds, 37 a day, 57 a year.
    Times in another unit shift all buckets alike, milliseconds by 23.

    Args:
        asked: The time at which each query asks, int64 `[batch, Q]`.
        times: The time of each key, int64 `[batch, K]`.

    Returns:
        int32 `[batch, Q, K]`; `UNKNOWN` where one of the times is `NO_TIME`.
    """
    asked, times = asked[:, :, tf.newaxis], times[:, tf.newaxis, :]
    gaps = tf.cast(tf.maximum(tf.abs(asked - times), 1), tf.float32)
    buckets = tf.minimum(tf.cast(tf.math.log(gaps) / STEP, tf.int32), UNKNOWN - 1)
    unknown = tf.constant(NO_TIME, tf.int64)
    return tf.where((asked == unknown) | (times == unknown), UNKNOWN, buckets)


@tf.custom_gradient
def of_buckets(table: tf.Tensor, buckets: tf.Tensor):
    """The entries of a small table, `[size]`, for int32 buckets of any shape.

    As `tf.gather`, whose gradient is a list of one row for each bucket; optimizers would sort
    these millions of rows to add them up.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        flat = tf.cast(tf.reshape(upstream, [-1]), tf.float32)
        sums = tf.math.unsorted_segment_sum(flat, tf.reshape(buckets, [-1]), tf.shape(table)[0])
        return tf.cast(sums, table.dtype), None

    return tf.gather(table, buckets), gradient
