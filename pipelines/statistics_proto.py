"""Converts counts to tensorflow_metadata's statistics, which TFDV can read and show."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from .statistics import Counts, Numbers

_BUCKETS = 20
_FEW = 50  # distinct values, at most, that get a bucket each
_TOP = 20
_RANKS = 1000

_Histogram = statistics_pb2.Histogram


def dataset(
    name: str,
    counts: Counts,
    texts: Mapping[str, Sequence[str]],
    shares: Mapping[str, float] | None = None,
) -> statistics_pb2.DatasetFeatureStatistics:
    """Statistics of one split.

    Args:
        name: Name of the split, such as "all".
        counts: Counts of its events.
        texts: Texts by code, for the columns of codes.
        shares: Further statistics of the split, by name.
    """
    found = statistics_pb2.DatasetFeatureStatistics(name=name, num_examples=counts.n)
    for column in sorted(counts.codes):
        feature = found.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
        feature.path.step.append(column)
        _fill_codes(feature, counts, column, texts[column])
    for column in sorted(counts.numbers.keys() - counts.texts.keys()):
        numbers = counts.numbers[column]
        kind = "INT" if numbers.whole else "FLOAT"
        feature = found.features.add(type=kind)
        feature.path.step.append(column)
        _fill_common(feature.num_stats.common_stats, numbers.n, counts.n - numbers.n)
        _fill_numbers(feature.num_stats, numbers)
    for column in sorted(counts.texts):
        feature = found.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
        feature.path.step.append(column)
        text = counts.texts[column]
        _fill_common(feature.string_stats.common_stats, text.n, counts.n - text.n)
        feature.string_stats.top_values.add(value=text.example)
    for key, value in sorted((shares or {}).items()):
        _custom(_whole(found), key, value)
    return found


def _whole(found: statistics_pb2.DatasetFeatureStatistics):
    """The feature that holds statistics of the whole split: the first one."""
    return found.features[0] if found.features else found.features.add()


def _custom(feature, name: str, value: float) -> None:
    feature.custom_stats.add(name=name, num=value)


def custom(found: statistics_pb2.DatasetFeatureStatistics) -> dict[str, float]:
    """All statistics given to `dataset` as `shares`, and those of single columns."""
    return {c.name: c.num for f in found.features for c in f.custom_stats if c.HasField("num")}


def _fill_common(common, n: int, missing: int) -> None:
    common.num_non_missing, common.num_missing = n, missing
    common.min_num_values = common.max_num_values = min(1, n)
    common.avg_num_values, common.tot_num_values = float(min(1, n)), n


def _fill_codes(feature, counts: Counts, column: str, texts: Sequence[str]) -> None:
    by_code = counts.codes[column]
    missing = counts.missing[column]
    stats = feature.string_stats
    _fill_common(stats.common_stats, counts.n - missing, missing)
    used = np.flatnonzero(by_code)
    stats.unique = len(used)
    lengths = np.array([len(texts[code]) for code in used.tolist()])
    if counts.n > missing:
        stats.avg_length = float((lengths * by_code[used]).sum() / by_code.sum())
    # By count, then by text, so that the order does not depend on codes.
    order = sorted(used.tolist(), key=lambda code: (-int(by_code[code]), texts[code]))
    for code in order[:_TOP]:
        stats.top_values.add(value=texts[code], frequency=float(by_code[code]))
    for rank, code in enumerate(order[:_RANKS]):
        stats.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=texts[code], sample_count=float(by_code[code])
        )
    whole = all(texts[code].removeprefix("-").isdigit() for code in used.tolist())
    _custom(feature, f"{column}: whole numbers", float(whole))
    per_id = by_code[used]
    if len(per_id):
        values, times = np.unique(per_id, return_counts=True)
        histogram = feature.custom_stats.add(name=f"events per {column}").histogram
        counted = dict(zip(values.astype(float).tolist(), times.tolist(), strict=True))
        _fill_quantiles(histogram, counted)


def _fill_numbers(stats: statistics_pb2.NumericStatistics, numbers: Numbers) -> None:
    if not numbers.n:
        return
    mean = math.fsum(numbers.sums) / numbers.n
    square = math.fsum(numbers.squares) / numbers.n
    stats.mean, stats.std_dev = mean, math.sqrt(max(0.0, square - mean**2))
    stats.min, stats.max, stats.num_zeros = numbers.low, numbers.high, numbers.zeros
    stats.median = _quantiles(numbers.counts, 2)[1]
    _fill_standard(stats.histograms.add(type=_Histogram.STANDARD), numbers)
    _fill_quantiles(stats.histograms.add(), numbers.counts)


def _fill_standard(histogram: _Histogram, numbers: Numbers) -> None:
    """A bucket for each value if there are few, else buckets of equal width."""
    histogram.num_nan = numbers.missing
    if len(numbers.counts) <= _FEW:
        for value in sorted(numbers.counts):
            count = float(numbers.counts[value])
            histogram.buckets.add(low_value=value, high_value=value, sample_count=count)
        return
    values = np.array(sorted(numbers.counts))
    counts, edges = np.histogram(
        values, _BUCKETS, (values[0], values[-1]), weights=[numbers.counts[v] for v in values]
    )
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=count)


def _fill_quantiles(histogram: _Histogram, counts: Mapping[float, int], n: int = 10) -> None:
    histogram.type = _Histogram.QUANTILES
    edges, share = _quantiles(counts, n), sum(counts.values()) / n
    for low, high in itertools.pairwise(edges):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=share)


def _quantiles(counts: Mapping[float, int], n: int) -> list[float]:
    """The smallest of counted values, n - 1 quantiles, and the largest."""
    values = sorted(counts)
    total = np.cumsum([counts[value] for value in values])
    indices = np.searchsorted(total, np.arange(n + 1) / n * total[-1])
    return [values[i] for i in indices]
