"""A description as one HTML page with plots."""

import pathlib

import numpy as np

from tfrec import pages, schema
from tfrec.data import description_text
from tfrec.data.description import Description
from tfrec.pages import Panels, Plot, Section, Table, chart
from tfrec.pages.chart import Chart

_TONES = {"ok": "good", "note": "note", "LEAK": "warning"}
_BINS = 16  # of the lengths of histories


def write(description: Description, path: str | pathlib.Path) -> None:
    """Writes the page, aside first; it needs no other file."""
    checks = description_text.checks(description)
    found = Table("What is there", (), description_text.rows(description), is_text=True)
    tones = [_TONES[verdict] for verdict, _ in checks]
    leaks = Table("Checks", ("verdict", "what was found"), checks, is_text=True, tones=tones)
    plots = Panels([Plot(draw(description)) for draw in PLOTS])
    sections = [Section("Data", [found]), Section("Leaks", [leaks]), Section("Plots", [plots])]
    lead = "What prepared data holds, and whether its split leaks."
    pages.write(pages.Page(description.info.name, sections, lead), path)


def draw_values(d: Description) -> Chart:
    """Histogram of the ratings by part."""
    middles = (d.edges[1:] + d.edges[:-1]) / 2
    middles[np.abs(middles) < 1e-6 * np.ptp(d.edges)] = 0  # what rounding leaves of it
    labels = [f"{middle:.3g}" for middle in middles]
    return chart.bars("Ratings by value", labels, _by_part(d, d.values), "value", "ratings", True)


def draw_tail(d: Description) -> Chart:
    """Ratings of each column, the most rated first."""
    ordered = np.sort(d.column_counts)[::-1]
    ordered = ordered[ordered > 0]
    columns = "items" if d.info.rows == "user" else "users"
    points = np.arange(1, len(ordered) + 1), ordered
    label = f"{columns}, the most rated first"
    return chart.lines("Long tail", {columns: points}, label, "ratings", (True, True))


def draw_share(d: Description) -> Chart:
    """Which share of all ratings the most rated columns have."""
    ordered = np.sort(d.column_counts)[::-1]
    columns = "items" if d.info.rows == "user" else "users"
    share = 100 * np.cumsum(ordered) / max(1, ordered.sum())
    rank = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
    points = np.append(0, rank), np.append(0, share)
    label = f"% of {columns}, the most rated first"
    return chart.lines(
        "Share of ratings", {columns: points}, label, "% of ratings", y_ends=(0, 100)
    )


def draw_activity(d: Description) -> Chart:
    """Ratings by calendar month, or year where there are many, and part."""
    title = "Activity over time"
    if not d.months:
        return chart.empty(title, "no times are known")
    months = np.arange(min(d.months), max(d.months) + 1)
    counts = np.array([d.months.get(int(m), np.zeros(3)) for m in months])
    labels = [str(month.astype("datetime64[M]")) for month in months]
    if len(months) > 120:
        years = months // 12 + 1970
        counts = np.array([counts[years == year].sum(0) for year in np.unique(years)])
        labels = [str(year) for year in np.unique(years)]
    name = "ratings a month" if len(months) <= 120 else "ratings a year"
    return chart.bars(title, labels, _by_part(d, counts.T), "time", name, True)


def draw_rows(d: Description) -> Chart:
    """How many ratings a row has."""
    counts = d.row_counts[d.row_counts > 0]
    least, most = counts.min(), counts.max() + 1
    edges = np.unique(np.geomspace(least, most, _BINS + 1).round().astype(int))
    found, _ = np.histogram(counts, edges)
    ends = zip(edges[:-1], edges[1:] - 1, strict=True)
    labels = [f"{low:,}" if low >= high else f"{low:,}-{high:,}" for low, high in ends]
    rows = f"{d.info.rows}s"
    title = f"Length of histories of {rows}"
    return chart.bars(title, labels, {rows: found}, "ratings (all parts)", rows)


def draw_density(d: Description) -> Chart:
    """Share of filled pairs: the most active rows at the top, the most rated columns left."""
    row, column = ("users", "items") if d.info.rows == "user" else ("items", "users")
    return chart.heat(
        f"Sparsity: {100 * d.info.sparsity:.2f} % empty",
        d.density,
        f"{column}, the most rated first",
        f"{row}, the most active on top",
        "share of pairs with a rating",
    )


def _by_part(d: Description, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Counts `[parts, bins]` by the parts' names; parts that hold nothing are left out."""
    parts = zip(schema.PARTS, counts, strict=True)
    return {description_text.PART_NAMES[p]: n for p, n in parts if n.sum()}


PLOTS = (draw_values, draw_tail, draw_share, draw_activity, draw_rows, draw_density)
