"""Pages and their plots: coordinates, escaping, omitted points."""

import numpy as np
import pytest
from html_page import Page

from tfrec import pages
from tfrec.pages import Details, Panels, Plot, Section, Table, Text, axis, chart


def test_a_page_has_its_blocks_and_is_self_contained():
    table = Table(
        "Numbers <1>", ("name", "value"), [("a & b", "1"), ("c", "2")], tones=["", "good"]
    )
    drawn = chart.bars("Bars", ["x", "y"], {"n": [1, 3]}, "letter", "count")
    sections = [
        Section("First things", [Text("A <b>text</b>.", "warning"), table]),
        Section("Plots", [Panels([Plot(drawn, Table("Same", ("l", "n"), [("x", "1")]))])]),
        Section("More", [Details("Folded", [Text("inside")], is_open=False)]),
    ]
    page = pages.Page('Title "&"', sections, "A lead.")
    shown = Page(pages.render(page)).check()
    assert list(shown.sections) == ["first-things", "plots", "more"]
    assert [a.attributes["href"] for a in shown.root.all("nav")[0].all("a")] == [
        "#first-things", "#plots", "#more",
    ]  # fmt: skip
    assert shown.root.all("h1")[0].text == 'Title "&"'
    assert shown.tables["Numbers <1>"].rows == {"a & b": ["1"], "c": ["2"]}
    assert shown.root.all("p", **{"class": "warning"})[0].text == "A <b>text</b>."
    (svg,) = shown.root.all("svg")
    assert svg.attributes["aria-label"] == "Bars. n: x 1, y 3"
    assert "open" not in shown.sections["more"].all("details")[0].attributes
    assert pages.render(page) == pages.render(page)
    assert "<table" in pages.fragment(table) and "<style" not in pages.fragment(table)


def test_bars_are_as_high_as_their_values_and_stay_inside():
    drawn = chart.bars("t", ["a", "b"], {"x": [2, 4], "y": [1, 0]}, "x", "y")
    heights = [bar.height for bar in drawn.bars]  # a: x, y; b: x, y
    assert heights[0] == pytest.approx(heights[2] / 2, abs=0.2)
    assert heights[1] == pytest.approx(heights[0] / 2, abs=0.2) and heights[3] == 0
    for bar in drawn.bars:
        assert drawn.left <= bar.x and bar.x + bar.width <= drawn.right
        assert drawn.top <= bar.y and bar.y + bar.height == pytest.approx(drawn.bottom, abs=0.2)
    assert drawn.y_ticks[-1].label == "4" and [key.name for key in drawn.legend] == ["x", "y"]
    stacked = chart.bars("t", ["a", "b"], {"x": [2, 4], "y": [1, 0]}, "x", "y", stacked=True)
    first, second = stacked.bars[:2]
    assert second.y + second.height == pytest.approx(first.y, abs=0.2)


def test_labels_that_would_overlap_are_thinned():
    many = chart.bars("t", [f"{n} to {n}" for n in range(30)], {"x": [1] * 30}, "x", "y")
    gaps = np.diff([tick.at for tick in many.x_ticks])
    assert gaps.min() > 8 * len("10 to 10") * 0.9
    keys = chart.bars("t", ["a"], {f"model number {n}": [1] for n in range(6)}, "x", "y").legend
    assert max(key.x for key in keys) < chart.WIDTH and len({key.y for key in keys}) > 1


def test_lines_go_through_their_points_on_both_scales():
    points = [1, 10, 100], [1, 10, 100]
    drawn = chart.lines("t", {"a": points}, "x", "y", (True, True), marks=True)
    xs, ys = zip(*((point.x, point.y) for point in drawn.points), strict=True)
    assert xs[1] == pytest.approx((xs[0] + xs[2]) / 2, abs=0.1)
    assert ys[1] == pytest.approx((ys[0] + ys[2]) / 2, abs=0.1)
    assert (xs[0], ys[0]) == (drawn.left, drawn.bottom) and ys[2] < ys[0]
    assert [tick.label for tick in drawn.x_ticks] == ["1", "10", "100"]
    epochs = chart.lines("t", {"a": ([1, 2], [0.5, 0.4])}, "epoch", "y")
    assert [tick.label for tick in epochs.x_ticks] == ["1", "2"]
    linear = chart.lines("t", {"a": points, "b": ([50], [50])}, "x", "y", diagonal=True)
    assert linear.guide and len(linear.points) == 1  # a line of one point is a mark
    left_out = chart.lines("t", {"a": ([1, 2, 3], [1, np.nan, 2])}, "x", "y")
    assert left_out.lines[0].d.count("L") == 1 and "nan" not in left_out.lines[0].d
    diverged = chart.lines("t", {"a": ([1, 2], [np.nan, np.inf])}, "x", "y")
    assert not diverged.lines and "no finite numbers" in diverged.description
    flat = chart.lines("t", {"a": ([1, 2], [3, 3])}, "x", "y")
    assert "nan" not in flat.lines[0].d and flat.y_ticks


def test_a_long_line_stays_small():
    n = np.arange(1, 100_001)
    drawn = chart.lines("t", {"a": (n, 1 / n)}, "x", "y", (True, True))
    assert drawn.lines[0].d.count("L") < 200


def test_a_heat_map_leaves_empty_cells_out():
    drawn = chart.heat("t", np.array([[0, 0.1], [0.001, 0]]), "x", "y", "share")
    assert [cell.colour for cell in drawn.cells] == [0, 5]
    assert sum(cell.d.count("M") for cell in drawn.cells) == 2
    assert "0.001 to 0.1" in drawn.description
    assert chart.heat("t", np.zeros((2, 2)), "x", "y", "share").cells == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (1234, "1,234"),
        (12_000, "12k"),
        (3.2e6, "3.2M"),
        (-50_000, "-50k"),
    ],
)
def test_numbers_of_axes_are_short(value, text):
    assert axis.short(value) == text
