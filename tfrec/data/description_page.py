"""A description as one HTML page with plots; needs matplotlib."""

import html
import io
import pathlib
from collections.abc import Callable

import numpy as np

from tfrec import aside, pages, schema
from tfrec.data import description_text
from tfrec.data.description import Description

_COLOURS = {"train": "#3b6ea5", "validation": "#e3a03a", "test": "#b8433f"}
_STYLE = """
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
td { padding: .2rem .9rem .2rem 0; vertical-align: top }
td:first-child { color: #666; white-space: nowrap }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(28rem, 1fr)); gap: 1rem }
figure { margin: 0 } svg { width: 100%; height: auto }
.ok { color: #2c7a3f } .note { color: #9a6a00 } .LEAK { color: #b00020; font-weight: bold }
"""


def write(description: Description, path: str | pathlib.Path) -> None:
    """Writes the page atomically; it needs no other file.

    Raises:
        ValueError: matplotlib is not installed.
    """
    plots = [plot(draw, description) for draw in PLOTS]
    with aside.file(path) as partial:
        partial.write_text(_page(description, plots), encoding="utf-8")


def pyplot():
    """Matplotlib's pyplot, drawing to files only.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise ValueError(
            "--html draws with matplotlib, which is not installed: pip install 'tfrec[viz]', or "
            "leave --html out for the table alone"
        ) from None
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "tfrec", "axes.spines.top": False})
    matplotlib.rcParams.update({"axes.spines.right": False, "font.size": 10})
    from matplotlib import pyplot as plt

    return plt


def _page(description: Description, plots: list[str]) -> str:
    cells = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
        for name, value in description_text.rows(description)
    )
    leaks = "".join(
        f'<tr><td class="{verdict}">{verdict}</td><td>{html.escape(sentence)}</td></tr>'
        for verdict, sentence in description_text.checks(description)
    )
    figures = "".join(f"<figure>{plot}</figure>" for plot in plots)
    body = (
        f"<table>{cells}</table><h2>Leaks</h2><table>{leaks}</table>"
        f'<h2>Plots</h2><div class="plots">{figures}</div>'
    )
    return pages.page(description.info.name, body, _STYLE)


def plot(draw: Callable, description: Description) -> str:
    """One plot as an SVG element; equal data gives equal bytes."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    try:
        draw(description, axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    finally:
        plt.close(figure)
    return "<svg" + text.getvalue().partition("<svg")[2]  # without the XML declaration


def draw_values(d: Description, axes) -> None:
    """Histogram of the ratings by part."""
    middles, width = (d.edges[1:] + d.edges[:-1]) / 2, np.diff(d.edges)
    below = np.zeros(len(middles))
    for part, counts in zip(schema.PARTS, d.values, strict=True):
        name = description_text.PART_NAMES[part]
        axes.bar(middles, counts, 0.9 * width, below, color=_COLOURS[name], label=name)
        below += counts
    if len(middles) <= 10:
        axes.set_xticks(middles)
    axes.set(title="Ratings by value", xlabel="value", ylabel="ratings")
    _legend(axes, below)


def draw_tail(d: Description, axes) -> None:
    """Ratings of each column, most rated first, and their cumulative share."""
    ordered = np.sort(d.column_counts)[::-1]
    ordered = ordered[ordered > 0]
    rank = np.arange(1, len(ordered) + 1)
    columns = "items" if d.info.rows == "user" else "users"
    axes.loglog(rank, ordered, color=_COLOURS["train"])
    axes.set(title="Long tail", xlabel=f"{columns}, the most rated first", ylabel="ratings")
    share = axes.twinx()
    share.plot(rank, 100 * np.cumsum(ordered) / ordered.sum(), color=_COLOURS["test"])
    share.set_ylim(0, 100)
    share.set_ylabel("% of all ratings (red)")
    share.spines["right"].set_visible(True)


def draw_activity(d: Description, axes) -> None:
    """Ratings by calendar month and part."""
    axes.set(title="Activity over time", ylabel="ratings a month")
    if not d.months:
        axes.text(0.5, 0.5, "no times are known", ha="center", transform=axes.transAxes)
        return
    months = np.arange(min(d.months), max(d.months) + 1)
    counts = np.array([d.months.get(int(m), np.zeros(3)) for m in months]).T
    days = months.astype("datetime64[M]").astype("datetime64[D]")
    below = np.zeros(len(months))
    for part, n in zip(schema.PARTS, counts, strict=True):
        name = description_text.PART_NAMES[part]
        axes.bar(days, n, 28, below, color=_COLOURS[name], label=name)
        below += n
    axes.tick_params(axis="x", rotation=30)
    _legend(axes, below)


def _legend(axes, heights: np.ndarray) -> None:
    """A legend of the parts above the plot."""
    axes.set_ylim(0, 1.2 * max(1, heights.max()))
    axes.legend(frameon=False, ncols=3, loc="upper center")


def draw_rows(d: Description, axes) -> None:
    """How many ratings a row has."""
    counts = d.row_counts[d.row_counts > 0]
    most = counts.max()
    edges = np.arange(1, most + 2)
    if most > 30:
        edges = np.unique(np.geomspace(counts.min(), most + 1, 30).astype(int))
    axes.hist(counts, edges - 0.5, color=_COLOURS["train"], rwidth=0.95)
    if most > 30:
        axes.set_xscale("log")
    rows = f"{d.info.rows}s"
    axes.set(title=f"Length of histories of {rows}", xlabel="ratings (all parts)", ylabel=rows)


def draw_sizes(d: Description, axes) -> None:
    """Ratings by part."""
    found = description_text.by_part(d)
    names, sizes = list(found), list(found.values())
    colours = [_COLOURS[name.split()[0]] for name in names]
    bars = axes.barh(names, sizes, color=colours)
    axes.bar_label(bars, [f" {n:,}" for n in sizes])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(sizes))
    axes.set(title="Split sizes", xlabel="ratings")


def draw_density(d: Description, axes) -> None:
    """Share of filled pairs, with the most active rows on top and the most rated columns left."""
    from matplotlib.colors import LogNorm

    filled = d.density[d.density > 0]
    shown = np.ma.masked_equal(d.density, 0)
    image = axes.imshow(shown, aspect="auto", norm=LogNorm(filled.min(), filled.max()))
    image.set_rasterized(True)
    row, column = ("users", "items") if d.info.rows == "user" else ("items", "users")
    axes.figure.colorbar(image, label="share of pairs with a rating")
    axes.set(title=f"Sparsity: {100 * d.info.sparsity:.2f} % empty", xticks=[], yticks=[])
    axes.set(xlabel=f"{column}, the most rated first", ylabel=f"{row}, the most active first")


PLOTS = (draw_values, draw_tail, draw_activity, draw_rows, draw_sizes, draw_density)
