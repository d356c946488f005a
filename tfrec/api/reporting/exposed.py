"""Section on the recommended items: popularity bias and coverage."""

import numpy as np

from tfrec.api.reporting.measured import Measured
from tfrec.metrics.exposure import deciles
from tfrec.metrics.kept_lists import LENGTH
from tfrec.pages import Plot, Section, Table, chart


def section(m: Measured) -> Section | None:
    """Which items the models recommend, compared with those that users chose in training."""
    if not m.listed:
        return None
    chosen = np.bincount(deciles(m.counts), m.counts, 10) / max(1, m.counts.sum())
    series = {each.name: each.exposure.shares for each in m.listed} | {"training data": chosen}
    labels = [str(n) for n in range(1, 11)]
    drawn = chart.bars(
        "Share of recommendations by decile of items",
        labels, series, "decile of items by popularity, 1: most popular", "share",
    )  # fmt: skip
    shares = Table(
        "Share of recommendations by decile of items",
        ("decile", *series),
        [(d, *(f"{100 * s[i]:.1f} %" for s in series.values())) for i, d in enumerate(labels)],
    )
    rows = [
        (
            each.name,
            f"{len(each.users):,}",
            f"{100 * e.coverage:.1f} %",
            f"{e.gini:.3f}",
            f"{e.novelty:.2f}",
            f"{each.diversity:.3f}",
            f"{e.popularity:,.0f}",
        )
        for each in m.listed
        for e in [each.exposure]
    ]
    note = (
        f"For lists of the {LENGTH} best items. Coverage: share of all items in at least one list. "
        "Gini: 0 if all items are recommended equally often, near 1 if a few items get all. "
        "Novelty: mean of -log2 of the share of training users who have the item. "
        "Diversity: mean of 1 - cosine of the training users of two items of a list. Mean "
        "popularity: training interactions of a recommended item."
    )
    head = ("model", "lists", "coverage", "Gini", "novelty (bits)", "diversity", "mean popularity")
    return Section(
        "Popularity bias and coverage",
        [Table("What is recommended", head, rows, note=note), Plot(drawn, shares)],
    )
