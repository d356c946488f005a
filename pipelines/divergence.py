"""The divergence of two histograms of numbers."""

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

_Histogram = statistics_pb2.Histogram


def histogram(
    stats: statistics_pb2.DatasetFeatureStatistics, name: str
) -> statistics_pb2.Histogram | None:
    """A column's histogram, or None if it has no numbers."""
    for feature in stats.features:
        if list(feature.path.step) == [name]:
            for found in feature.num_stats.histograms:
                if found.type == _Histogram.STANDARD and found.buckets:
                    return found
    return None


def jensen_shannon(a: _Histogram, b: _Histogram) -> float:
    """The Jensen-Shannon divergence in bits: 0 for equal, 1 for disjoint distributions.

    Within a bucket numbers are assumed uniform; a bucket of width 0 is a single number.
    """
    edges = np.unique([x for h in (a, b) for k in h.buckets for x in (k.low_value, k.high_value)])
    p, q = (_masses(h, edges) for h in (a, b))
    return (_information(p, (p + q) / 2) + _information(q, (p + q) / 2)) / 2


def _masses(histogram: _Histogram, edges: np.ndarray) -> np.ndarray:
    """Probabilities at the edges and between them, `[2 * n - 1]`."""
    at, between = np.zeros(len(edges)), np.zeros(len(edges) - 1)
    for bucket in histogram.buckets:
        low, high = np.searchsorted(edges, (bucket.low_value, bucket.high_value))
        if low == high:
            at[low] += bucket.sample_count
        else:
            widths = np.diff(edges[low : high + 1])
            between[low:high] += bucket.sample_count * widths / widths.sum()
    masses = np.concatenate([at, between])
    return masses / masses.sum()


def _information(p: np.ndarray, q: np.ndarray) -> float:
    """Sum of p log2(p / q)."""
    used = p > 0
    return float(np.sum(p[used] * np.log2(p[used] / q[used])))
