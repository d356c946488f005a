"""Scales of axes: positions of values, and ticks."""

import dataclasses
import itertools
import math

Ends = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Tick:
    """A labelled position on an axis."""

    at: float
    label: str


class Scale:
    """Maps values of an axis to positions.

    Args:
        ends: Smallest and largest value.
        start: Position of the smallest value.
        stop: Position of the largest value.
        log: Whether the scale is logarithmic.
    """

    def __init__(self, ends: Ends, start: float, stop: float, log: bool = False):
        self.log, self.start, self.stop = log, start, stop
        low, high = ends
        self.low, self.high = (low, high) if high > low else (low - 0.5, low + 0.5)

    def __call__(self, value: float) -> float:
        turn = math.log10 if self.log else float
        share = (turn(value) - turn(self.low)) / (turn(self.high) - turn(self.low))
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self, most: int = 5) -> list[Tick]:
        values = _powers(self.low, self.high) if self.log else _steps(self.low, self.high, most)
        return [Tick(self(value), short(value)) for value in values]


def short(value: float) -> str:
    """A number as a tick label: 12,000 is 12k."""
    size = abs(value)
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= unit:
            return f"{value / min(unit, 1e3 if letter == 'k' else unit):.4g}{letter}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


def padded(ends: Ends) -> Ends:
    """Extends a range by a twentieth at both ends, so that no point lies on the frame."""
    room = (ends[1] - ends[0]) / 20
    return ends[0] - room, ends[1] + room


def round_up(value: float) -> float:
    """The next tick above a value."""
    steps = _steps(0, value, 5) if value > 0 else [0.0, 1.0]
    return steps[-1] if steps[-1] >= value else steps[-1] + steps[1] - steps[0]


def _steps(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most `most` + 1 of them."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    values = itertools.takewhile(
        lambda value: value <= high + step * 1e-9, (step * n for n in itertools.count(first))
    )
    return [round(value, 12) for value in values]


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten; both ends where there are fewer than two."""
    exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    return [10.0**e for e in exponents] if len(exponents) > 1 else [low, high]
