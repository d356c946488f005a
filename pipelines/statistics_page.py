"""The statistics as a static page: tables and bars, no scripts."""

import datetime
import html

from tensorflow_metadata.proto.v0 import statistics_pb2

from . import statistics_proto

_STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse}"
    "td,th{padding:2px 10px;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}rect{fill:#48a}h3{margin:1.2em 0 .3em}"
)
_WIDTH, _HEIGHT = 360, 70


def page(title: str, statistics: statistics_pb2.DatasetFeatureStatisticsList) -> str:
    """The page's HTML."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for dataset in statistics.datasets:
        parts.append(f"<h2>{html.escape(dataset.name)}: {dataset.num_examples:,} events</h2>")
        parts.append(_table(sorted(_shown(dataset).items()), ("", "")))
        for feature in dataset.features:
            parts += _feature(feature)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _shown(dataset: statistics_pb2.DatasetFeatureStatistics) -> dict[str, str]:
    return {name: f"{value:,.4g}" for name, value in statistics_proto.custom(dataset).items()}


def _feature(feature: statistics_pb2.FeatureNameStatistics) -> list[str]:
    name = ".".join(feature.path.step)
    kind = statistics_pb2.FeatureNameStatistics.Type.Name(feature.type)
    parts = [f"<h3>{html.escape(name)} ({kind})</h3>"]
    if feature.HasField("num_stats"):
        stats = feature.num_stats
        show = _date if name == "time" else _number
        row = [stats.min, stats.median, stats.max, stats.mean]
        row = [*map(show, row), f"{stats.std_dev:,.4g}", f"{stats.num_zeros:,}"]
        head = ("missing", "min", "median", "max", "mean", "deviation", "zeros")
        parts.append(_table([[f"{stats.common_stats.num_missing:,}", *row]], head))
        for histogram in stats.histograms:
            if histogram.type == statistics_pb2.Histogram.STANDARD:
                parts.append(_bars(histogram, show))
            else:
                edges = [histogram.buckets[0].low_value] if histogram.buckets else []
                edges += [bucket.high_value for bucket in histogram.buckets]
                parts.append(f"<p>deciles: {', '.join(map(show, edges))}</p>")
    elif feature.HasField("string_stats"):
        stats = feature.string_stats
        parts.append(
            f"<p>missing {stats.common_stats.num_missing:,}, {stats.unique:,} different</p>"
        )
        top = [(v.value, f"{v.frequency:,.0f}") for v in stats.top_values[:10]]
        parts.append(_table(top, ("most frequent", "events")))
        for found in feature.custom_stats:
            if found.HasField("histogram"):
                edges = [bucket.high_value for bucket in found.histogram.buckets]
                parts.append(f"<p>{found.name}, deciles: {', '.join(map(_number, edges))}</p>")
    return parts


def _table(rows, head: tuple[str, ...]) -> str:
    lines = [f"<tr>{''.join(f'<th>{html.escape(name)}</th>' for name in head)}</tr>"]
    for row in rows:
        lines.append(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _bars(histogram: statistics_pb2.Histogram, show) -> str:
    """Bars from left to right; titles show range and count."""
    highest = max((b.sample_count for b in histogram.buckets), default=0) or 1
    width = _WIDTH / max(1, len(histogram.buckets))
    bars = []
    for index, bucket in enumerate(histogram.buckets):
        height = _HEIGHT * bucket.sample_count / highest
        label = f"{show(bucket.low_value)} to {show(bucket.high_value)}: {bucket.sample_count:,.0f}"
        bars.append(
            f'<rect x="{index * width:.1f}" y="{_HEIGHT - height:.1f}" '
            f'width="{max(1, width - 1):.1f}" height="{height:.1f}"><title>{label}</title></rect>'
        )
    return f'<svg width="{_WIDTH}" height="{_HEIGHT}">{"".join(bars)}</svg>'


def _number(value: float) -> str:
    return f"{value:,.6g}"


def _date(seconds: float) -> str:
    try:
        return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):  # no date, such as milliseconds
        return f"{seconds:,.0f}"
