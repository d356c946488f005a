"""Checks of events by their statistics; each anomaly is described in one sentence."""

from collections.abc import Mapping

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from . import divergence, schema_gen, spans
from . import statistics_proto as protos

REPEATED = 0.5  # share of events that two spans may have in common
_SMALL = 200  # events; distributions of fewer are not compared

_Stats = statistics_pb2.DatasetFeatureStatistics
_Kind = anomalies_pb2.AnomalyInfo
_TYPES = {
    statistics_pb2.FeatureNameStatistics.INT: schema_pb2.INT,
    statistics_pb2.FeatureNameStatistics.FLOAT: schema_pb2.FLOAT,
    statistics_pb2.FeatureNameStatistics.STRING: schema_pb2.BYTES,
}
_WORDS = {schema_pb2.INT: "whole numbers", schema_pb2.FLOAT: "numbers", schema_pb2.BYTES: "text"}


class Found:
    """The anomalies found so far."""

    def __init__(self):
        self.anomalies = anomalies_pb2.Anomalies(
            anomaly_name_format=anomalies_pb2.Anomalies.SERIALIZED_PATH
        )

    def add(self, where: str, feature: str, kind: str, short: str, sentence: str) -> None:
        """Adds an anomaly.

        Args:
            where: The span or split.
            feature: Name of the column; "" for the whole.
            kind: Name of an `AnomalyInfo.Type`.
            short: A description of two or three words.
            sentence: The full description, with numbers.
        """
        info = self.anomalies.anomaly_info[f"{where}: {feature or 'events'}: {short}"]
        info.severity = _Kind.ERROR
        info.short_description, info.description = short, f"{where}: {sentence}"
        if feature:
            info.path.step.append(feature)
        info.reason.add(
            type=_Kind.Type.Value(kind), short_description=short, description=info.description
        )


def of_split(found: Found, where: str, stats: _Stats, schema: schema_pb2.Schema) -> None:
    """Checks one split's columns against the schema."""
    if stats.num_examples < schema.dataset_constraints.min_examples_count:
        n, least = stats.num_examples, schema.dataset_constraints.min_examples_count
        found.add(
            where, "", "DATASET_LOW_NUM_EXAMPLES", "too few events",
            f"it has {n:,} events, at least {least:,} are needed",
        )  # fmt: skip
    features = {feature.path.step[0]: feature for feature in stats.features if feature.path.step}
    for name in sorted(features.keys() - {feature.name for feature in schema.feature}):
        found.add(
            where, name, "SCHEMA_NEW_COLUMN", "new column",
            f"the column {name} is not in the schema",
        )  # fmt: skip
    for feature in schema.feature:
        if feature.name in features:
            _of_feature(found, where, features[feature.name], feature)
        elif feature.HasField("presence"):
            found.add(
                where, feature.name, "FEATURE_TYPE_NOT_PRESENT", "missing column",
                f"the column {feature.name} is missing",
            )  # fmt: skip


def _of_feature(found: Found, where: str, stats, feature: schema_pb2.Feature) -> None:
    name, type_ = feature.name, _TYPES[stats.type]
    if type_ != feature.type and (type_, feature.type) != (schema_pb2.INT, schema_pb2.FLOAT):
        example = stats.string_stats.top_values[0].value if stats.HasField("string_stats") else ""
        found.add(
            where, name, "UNEXPECTED_DATA_TYPE", "other type",
            f"{name} is {_WORDS[type_]}{f', such as {example!r}' if example else ''}, and must be "
            f"{_WORDS[feature.type]}",
        )  # fmt: skip
        return
    is_text = stats.HasField("string_stats")
    common = stats.string_stats.common_stats if is_text else stats.num_stats.common_stats
    total = common.num_non_missing + common.num_missing
    least = feature.presence.min_fraction if feature.HasField("presence") else 0.0
    if common.num_non_missing < least * total:
        found.add(
            where, name, "FEATURE_TYPE_LOW_FRACTION_PRESENT", "missing values",
            f"{name} is missing in {common.num_missing:,} of {total:,} events",
        )  # fmt: skip
    if is_text and schema_gen.INTEGERS in feature.annotation.tag:
        whole = {c.name: c.num for c in stats.custom_stats}.get(f"{name}: whole numbers", 1.0)
        if not whole:
            texts = [v.value for v in stats.string_stats.top_values]
            odd = next((t for t in texts if not t.removeprefix("-").isdigit()), "")
            found.add(
                where, name, "UNEXPECTED_DATA_TYPE", "other ids",
                f"{name} ids are no longer whole numbers{f': {odd!r}' if odd else ''}",
            )  # fmt: skip
    if common.num_non_missing and not is_text:
        _domain(found, where, stats.num_stats, feature)


def _domain(found: Found, where: str, stats, feature: schema_pb2.Feature) -> None:
    """Checks the smallest and the largest number against the schema's domain, and guesses why."""
    kind = feature.WhichOneof("domain_info")
    if kind not in ("float_domain", "int_domain"):
        return
    name, domain = feature.name, getattr(feature, kind)
    low, high, is_float = domain.min, domain.max, kind == "float_domain"
    if stats.min < low:
        kind = "FLOAT_TYPE_SMALL_FLOAT" if is_float else "INT_TYPE_SMALL_INT"
        found.add(
            where, name, kind, "too small",
            f"{name} goes down to {stats.min:g}, least allowed is {low:g}",
        )  # fmt: skip
    if stats.max > high:
        kind = "FLOAT_TYPE_BIG_FLOAT" if is_float else "INT_TYPE_BIG_INT"
        found.add(
            where, name, kind, "too large",
            f"{name} goes up to {stats.max:g}, most allowed is {high:g}"
            + _guess(name, stats.median, low, high),
        )  # fmt: skip


def _guess(name: str, median: float, low: float, high: float) -> str:
    if name == "time" and low <= median / 1e3 <= high:
        return ": times must be seconds since 1970, these look like milliseconds"
    if name == "value" and low <= median / 10 <= high:
        return ": these look like ratings times ten"
    return ""


def unknown_items(
    found: Found,
    where: str,
    span: spans.Span,
    splits: Mapping[str, _Stats],
    known: set[str],
    schema: schema_pb2.Schema,
) -> None:
    """Checks the share of events on items that are neither in the side table nor earlier spans."""
    feature = next((f for f in schema.feature if f.name == "item"), None)
    least = feature.distribution_constraints.min_domain_mass if feature else 0.0
    for stats in splits.values():
        shares = protos.custom(stats)
        in_table = shares.get("item: share in side table")
        if in_table is not None:
            share, what = in_table, "the side table"
        elif known:
            share, what = _share_known(span, known), "the spans before"
        else:
            continue
        if share < least:
            found.add(
                where, "item", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "unknown items",
                f"{100 * (1 - share):.0f} % of its events are on items that are not in {what}, "
                f"most allowed is {100 * (1 - least):.0f} %",
            )  # fmt: skip


def _share_known(span: spans.Span, known: set[str]) -> float:
    """The share of a span's events whose item is known."""
    if "item" not in span.coded:
        return 1.0
    is_known = np.array([text in known for text in span.texts("item")] + [False])
    hits = []
    for file in span.files:
        frame = spans.read_chunk(file)
        span.check_codes("item", frame, len(is_known) - 1)
        hits.append(is_known[frame["item"]])
    return float(np.concatenate(hits).mean()) if span.about["n"] else 1.0


def repeated(found: Found, where: str, other: int, share: float) -> None:
    """Checks that a span does not share too many events with an earlier one."""
    if share > REPEATED:
        found.add(
            where, "", "DATASET_HIGH_NUM_EXAMPLES", "repeated span",
            f"about {100 * share:.0f} % of its events are those of span {other} again",
        )  # fmt: skip


def compare(
    found: Found,
    where: str,
    stats: _Stats,
    other: str,
    before: _Stats,
    schema: schema_pb2.Schema,
    what: str,
) -> None:
    """Compares the distributions of numbers with those of another span or split.

    Args:
        found: Collects the anomalies.
        where: The span or split.
        stats: Its statistics.
        other: Name of the other span or split.
        before: Its statistics.
        schema: Gives the columns and the maximum divergence of each.
        what: "drift" or "skew": the comparator of the schema to use.
    """
    if min(stats.num_examples, before.num_examples) < _SMALL:
        return
    for feature in schema.feature:
        most = getattr(feature, f"{what}_comparator").jensen_shannon_divergence.threshold
        pair = [divergence.histogram(one, feature.name) for one in (stats, before)]
        if not most or None in pair:
            continue
        distance = divergence.jensen_shannon(*pair)
        if distance > most:
            kind = "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"
            found.add(
                where, feature.name, kind, what,
                f"the distribution of {feature.name} differs from that of {other}: divergence "
                f"{distance:.3f}, most allowed is {most:g}",
            )  # fmt: skip
