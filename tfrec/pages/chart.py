"""Plots with axes as small SVG elements that follow the page's colours, light or dark.

Positions are in units of the view box, from the top left corner; one is about a pixel on a phone.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from tfrec.pages.axis import Ends, Scale, Tick, padded, round_up, short

WIDTH, HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 22, 12, 46
_LEGEND = 20  # height of a line of the legend
_LETTER = 7.8  # width of a letter, on a phone
_SHADES = 6  # number of shades of a heat map
_POINTS = 200  # maximum number of points of a line


@dataclasses.dataclass(frozen=True)
class Key:
    """The name of a colour in the legend, and its position."""

    x: float
    y: float
    name: str


@dataclasses.dataclass(frozen=True)
class Bar:
    """A rectangle; `text` is its tooltip."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    text: str


@dataclasses.dataclass(frozen=True)
class Path:
    """A line, or the filled cells of a heat map, as an SVG path."""

    d: str
    colour: int


@dataclasses.dataclass(frozen=True)
class Chart:
    """A plot.

    Attributes:
        title: The caption.
        description: A description for screen readers.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        x_ticks: Ticks of the horizontal axis.
        y_ticks: Ticks of the vertical axis.
        legend: Names of the colours in order; empty if there is only one.
        bars: Rectangles.
        lines: Lines.
        points: Marks of single points.
        cells: Shades of a heat map.
        guide: A dashed line, such as that of perfect calibration.
        top: Top of the plot, below the legend.
    """

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    legend: Sequence[Key] = ()
    bars: Sequence[Bar] = ()
    lines: Sequence[Path] = ()
    points: Sequence[Bar] = ()
    cells: Sequence[Path] = ()
    guide: str = ""
    top: float = _TOP
    left: float = _LEFT
    width: float = WIDTH
    height: float = HEIGHT
    right: float = WIDTH - _RIGHT
    bottom: float = HEIGHT - _BOTTOM


def bars(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, ArrayLike],
    x_label: str,
    y_label: str,
    stacked: bool = False,
) -> Chart:
    """A bar chart: for each label the bars of all series, grouped or stacked.

    Args:
        title: The caption.
        labels: Labels below the bars.
        series: Non-negative heights by name.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        stacked: Whether bars are stacked.
    """
    heights = np.array([np.asarray(values, float) for values in series.values()])
    totals = heights.sum(0) if stacked else heights.max(0)
    top = _top(series)
    y = Scale((0, round_up(totals.max(initial=0))), HEIGHT - _BOTTOM, top)
    slot = (WIDTH - _RIGHT - _LEFT) / max(1, len(labels))
    width = 0.86 * slot / (1 if stacked else len(series))
    drawn = []
    for i, label in enumerate(labels):
        below = 0.0
        for s, (name, values) in enumerate(zip(series, heights, strict=True)):
            x = _LEFT + slot * i + 0.07 * slot + (0 if stacked else s * width)
            high, low = y(below + values[i]), y(below)
            text = f"{label}, {name}: {short(values[i])}"
            size = round(low - high, 1)
            drawn.append(Bar(round(x, 1), high, round(width, 1), size, s, text))
            below += values[i] if stacked else 0
    description = _described(title, dict(zip(series, heights, strict=True)), labels)
    return Chart(
        title, description, x_label, y_label, _below_slots(labels, slot), y.ticks(),
        _legend(series), bars=drawn, top=top,
    )  # fmt: skip


def _below_slots(labels: Sequence[str], slot: float) -> list[Tick]:
    """Labels centred below the bars; only every n-th where they would overlap."""
    every = max(1, math.ceil(max(map(len, labels), default=1) * _LETTER / slot * 1.1))
    middles = [round(_LEFT + slot * (i + 0.5), 1) for i in range(len(labels))]
    return [Tick(x, label) for x, label in zip(middles, labels, strict=True)][::every]


def lines(
    title: str,
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    x_label: str,
    y_label: str,
    log: tuple[bool, bool] = (False, False),
    marks: bool = False,
    y_ends: Ends | None = None,
    diagonal: bool = False,
) -> Chart:
    """A line chart.

    Args:
        title: The caption.
        series: Both coordinates by name; points that are not finite, or not positive on a
            logarithmic axis, are left out.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        log: Whether the axes are logarithmic.
        marks: Whether points are marked.
        y_ends: Ends of the vertical axis; by default those of the points.
        diagonal: Draw the line x = y, with equal axes.
    """
    kept = {name: _kept(*points, log) for name, points in series.items()}
    kept = {name: points for name, points in kept.items() if points.size}
    if not kept:
        return empty(title, "there are no finite numbers")
    x_ends, found = _ends_of(np.concatenate([*kept.values()], axis=1), log, diagonal)
    y_ends = y_ends or found
    top = _top(kept)
    x = Scale(x_ends, _LEFT, WIDTH - _RIGHT, log[0])
    y = Scale(y_ends, HEIGHT - _BOTTOM, top, log[1])
    drawn = [
        Path("M" + "L".join(f"{x(a):g} {y(b):g}" for a, b in each.T), s)
        for s, each in enumerate(kept.values())
    ]
    points = [
        Bar(x(a), y(b), 0, 0, s, f"{name}, {short(a)}: {short(b)}")
        for s, (name, each) in enumerate(kept.items())
        for a, b in each.T
        if marks or each.shape[1] == 1
    ]
    whole = all((xs == xs.round()).all() for xs, _ in kept.values())
    ticks = [tick for tick in x.ticks() if not whole or "." not in tick.label]
    guide = f"M{x(x_ends[0]):g} {y(x_ends[0]):g}L{x(x_ends[1]):g} {y(x_ends[1]):g}"
    ends = {name: [ys[0], ys[-1]] for name, (_, ys) in kept.items()}
    return Chart(
        title, _described(title, ends, ["first", "last"]), x_label, y_label, ticks, y.ticks(),
        _legend(kept), lines=drawn, points=points, guide=guide if diagonal else "", top=top,
    )  # fmt: skip


def _ends_of(points: np.ndarray, log: tuple[bool, bool], equal: bool) -> tuple[Ends, Ends]:
    """Ends of both axes for points `[2, n]`."""
    x, y = ((float(row.min()), float(row.max())) for row in points)
    y = y if log[1] else padded(y)
    both = min(x[0], y[0]), max(x[1], y[1])
    return (both, both) if equal else (x, y)


def heat(title: str, values: np.ndarray, x_label: str, y_label: str, unit: str) -> Chart:
    """A heat map with a logarithmic colour scale; cells of 0 are empty.

    Args:
        title: The caption.
        values: `[rows, columns]`, non-negative; the first row is at the top.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        unit: What a value is, for the description.
    """
    filled = values[values > 0]
    low, high = (filled.min(), filled.max()) if filled.size else (1.0, 1.0)
    share = np.log(np.maximum(values, low) / low) / max(np.log(high / low), 1e-9)
    shade = np.minimum((share * _SHADES).astype(int), _SHADES - 1)
    n_rows, n_columns = values.shape
    width = (WIDTH - _RIGHT - _LEFT) / n_columns
    height = (HEIGHT - _BOTTOM - _TOP) / n_rows
    cells = []
    for each in range(_SHADES):
        found = np.argwhere((shade == each) & (values > 0))
        d = "".join(
            f"M{_LEFT + column * width:.1f} {_TOP + row * height:.1f}h{width:.1f}v{height:.1f}"
            f"h-{width:.1f}z"
            for row, column in found
        )
        cells.append(Path(d, each))
    description = f"{title}: {unit} from {short(low)} to {short(high)}, stronger is more"
    return Chart(title, description, x_label, y_label, [], [], cells=[c for c in cells if c.d])


def empty(title: str, reason: str) -> Chart:
    """An empty plot, with the reason."""
    return Chart(title, f"{title}: {reason}", reason, "", [], [])


def _top(series: Mapping[str, object]) -> float:
    """Top of the plot: below the legend, if there is one."""
    return max((key.y + _TOP / 2 for key in _legend(series)), default=_TOP)


def _legend(series: Mapping[str, object]) -> list[Key]:
    """The names of several series, in as many lines as they need."""
    if len(series) < 2:
        return []
    keys, x, y = [], float(_LEFT), float(_LEGEND)
    for name in series:
        size = 26 + _LETTER * len(name)
        if x > _LEFT and x + size > WIDTH:
            x, y = float(_LEFT), y + _LEGEND
        keys.append(Key(round(x, 1), y, name))
        x += size
    return keys


def _described(
    title: str, series: Mapping[str, Iterable[float]], labels: Sequence[str], most: int = 12
) -> str:
    """A description of the plot: all its numbers, if they are few."""
    parts = [
        f"{name}: " + ", ".join(f"{x} {short(y)}" for x, y in zip(labels, ys, strict=True))
        for name, ys in series.items()
    ]
    return f"{title}. {'; '.join(parts)}" if len(labels) <= most else title


def _kept(xs: ArrayLike, ys: ArrayLike, log: tuple[bool, bool]) -> np.ndarray:
    """The points that can be drawn, `[2, n]`; at most `_POINTS`, evenly spaced."""
    found = np.array([np.asarray(xs, float), np.asarray(ys, float)])
    good = np.isfinite(found).all(0)
    for row, is_log in zip(found, log, strict=True):
        good &= (row > 0) | (not is_log)
    found = found[:, good]
    n = found.shape[1]
    if n > _POINTS:
        even = np.geomspace(1, n, _POINTS) - 1 if log[0] else np.linspace(0, n - 1, _POINTS)
        found = found[:, np.unique(even.round().astype(int))]
    return found
