"""The statistics as one static page: tables and plots with axes, titles beside ids."""

import datetime
from collections.abc import Callable, Mapping

from tensorflow_metadata.proto.v0 import statistics_pb2

from tfrec import pages
from tfrec.pages import Details, Panels, Plot, Section, Table, chart

from . import statistics_proto

_TOP = 10  # most frequent ids


def page(
    title: str,
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    titles: Mapping[str, str] | None = None,
) -> str:
    """The page's HTML.

    Args:
        title: Its heading.
        statistics: A data set a split.
        titles: Of items, by raw id.
    """
    sections = [
        Section(f"{dataset.name}: {dataset.num_examples:,} events", _blocks(dataset, titles or {}))
        for dataset in statistics.datasets
    ]
    lead = "What the events of a span hold, counted before anything is learnt from them."
    return pages.render(pages.Page(f"Statistics of {title}", sections, lead))


def _blocks(
    dataset: statistics_pb2.DatasetFeatureStatistics, titles: Mapping[str, str]
) -> list[pages.blocks.Block]:
    """The whole in a table, then each feature."""
    found = sorted(statistics_proto.custom(dataset).items())
    shown = [(name, f"{value:,.4g}") for name, value in found]
    blocks = [Table("The whole", ("what", "value"), shown)] if shown else []
    return [*blocks, *(_feature(feature, titles) for feature in dataset.features)]


def _feature(feature: statistics_pb2.FeatureNameStatistics, titles: Mapping[str, str]) -> Details:
    name = ".".join(feature.path.step)
    kind = statistics_pb2.FeatureNameStatistics.Type.Name(feature.type).lower()
    if feature.HasField("num_stats"):
        blocks = _of_numbers(name, feature.num_stats)
    elif feature.HasField("string_stats"):
        blocks = _of_ids(name, feature, titles if name == "item" else {})
    else:
        blocks = []
    return Details(f"{name} ({kind})", [Panels(blocks)])


def _of_numbers(name: str, stats: statistics_pb2.NumericStatistics) -> list[pages.blocks.Block]:
    """Moments, deciles and a histogram."""
    show = _date if name == "time" else _number
    rows = [
        ("missing", f"{stats.common_stats.num_missing:,}"),
        *((what, show(getattr(stats, what))) for what in ("min", "median", "max", "mean")),
        ("deviation", _days(stats.std_dev) if name == "time" else f"{stats.std_dev:,.4g}"),
        ("zeros", f"{stats.num_zeros:,}"),
    ]
    blocks: list[pages.blocks.Block] = []
    for histogram in stats.histograms:
        if histogram.type == statistics_pb2.Histogram.STANDARD:
            blocks.append(Plot(_bars(name, histogram, show)))
        elif histogram.buckets:
            rows.append(("deciles", _deciles(histogram, show)))
    return [Table(name, ("what", "value"), rows, is_text=True), *blocks]


def _of_ids(
    name: str, feature: statistics_pb2.FeatureNameStatistics, titles: Mapping[str, str]
) -> list[pages.blocks.Block]:
    """How many ids there are, the most frequent ones, and how the events spread over ids."""
    stats = feature.string_stats
    top = stats.top_values[:_TOP]
    rows = [
        (v.value, *([titles.get(v.value, "")] if titles else []), f"{v.frequency:,.0f}")
        for v in top
    ]
    head = (name, *(["title"] if titles else []), "events")
    notes = [f"{stats.common_stats.num_missing:,} missing, {stats.unique:,} different"]
    notes += [
        f"{found.name}, deciles: {_deciles(found.histogram, _number)}"
        for found in feature.custom_stats
        if found.HasField("histogram")
    ]
    note = "; ".join(notes) + "."
    caption = f"Most frequent: {name}"
    table = Table(caption, head, rows, is_text=bool(titles), note=note)
    buckets = stats.rank_histogram.buckets
    if len(buckets) < 2:
        return [table]
    points = [b.low_rank + 1 for b in buckets], [b.sample_count for b in buckets]
    label = f"{name}s, the most frequent first"
    drawn = chart.lines(f"Events by {name}", {name: points}, label, "events", (True, True))
    return [table, Plot(drawn)]


def _bars(
    name: str, histogram: statistics_pb2.Histogram, show: Callable[[float], str]
) -> chart.Chart:
    """A bar a bucket, labelled by its value, or by where it begins."""
    labels = [show(bucket.low_value) for bucket in histogram.buckets]
    counts = [bucket.sample_count for bucket in histogram.buckets]
    return chart.bars(f"Events by {name}", labels, {"events": counts}, name, "events")


def _deciles(histogram: statistics_pb2.Histogram, show: Callable[[float], str]) -> str:
    """The ends of the buckets."""
    edges = [histogram.buckets[0].low_value] if histogram.buckets else []
    edges += [bucket.high_value for bucket in histogram.buckets]
    return ", ".join(map(show, edges))


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:,.4g} days"


def _number(value: float) -> str:
    return f"{value:,.6g}"


def _date(seconds: float) -> str:
    try:
        return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):  # no date, such as milliseconds
        return f"{seconds:,.0f}"
