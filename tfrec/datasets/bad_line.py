"""Finds the bad line of a block that could not be parsed, and what is wrong with it.

Slow, line by line: used only to make an error's text.
"""

import csv
import math
from typing import NoReturn

from tfrec.datasets import layouts

CURE = "correct that line or download the file again"
_SEPARATORS = {"\t": "tab", "::": "'::'", ",": "','", ";": "';'", "|": "'|'"}


def raise_error(
    where: str,
    first_line: int,
    block: bytes,
    columns: tuple[str, ...],
    layout: layouts.Layout,
    scale: layouts.RatingScale | None,
    problem: str,
) -> NoReturn:
    """Raises `ValueError` with the number of the first bad line of `block`.

    Args:
        where: The file.
        first_line: Number of the block's first line, from 1.
        block: The lines, as they are in the file.
        columns: Names of the columns, in file order.
        layout: The expected layout of the lines.
        scale: Allowed ratings; None for files without ratings.
        problem: The parser's error, used if no bad line is found.
    """
    for number, raw in enumerate(block.split(b"\n"), start=first_line):
        if not raw.rstrip(b"\r"):
            continue
        reason = _reason(raw.rstrip(b"\r"), columns, layout, scale)
        if reason:
            raise ValueError(f"{where}, line {number}{reason}; {CURE}")
    last = first_line + block.count(b"\n")
    raise ValueError(f"{where}, lines {first_line} to {last}: {problem}; {CURE}")


def _reason(
    raw: bytes,
    columns: tuple[str, ...],
    layout: layouts.Layout,
    scale: layouts.RatingScale | None,
) -> str:
    """What is wrong with one line, starting with the column; "" if nothing is."""
    try:
        line = raw.decode(layout.encoding)
    except UnicodeDecodeError as error:
        column = raw[: error.start].count(layout.separator.encode()) + 1
        return f", column {column}: not {layout.encoding} text ({error.reason})"
    fields = _split(line, layout)
    if len(fields) != len(columns):
        return _count_reason(line, len(fields), len(columns), layout)
    for number, (name, text) in enumerate(zip(columns, fields, strict=True), start=1):
        reason = _number_reason(text) if name in layout.numbers else ""
        if scale and (reason := reason or field_reason(name, text, scale)):
            return f", column {number} ({name}): {reason}"
    return ""


def field_reason(name: str, text: str, scale: layouts.RatingScale) -> str:
    """What is wrong with one field of a rating; "" if nothing is."""
    if name in ("user", "item"):
        return "" if text else f"the {name} id is empty"
    if name == "value":
        if (value := _number(text, float)) is None:
            return f"{text!r} is not a number"
        if not scale.minimum <= value <= scale.maximum:
            return f"{text!r} is not a rating from {scale.minimum:g} to {scale.maximum:g}"
        if scale.labels and value not in (scale.minimum, scale.maximum):
            return f"{text!r} is neither {scale.minimum:g} nor {scale.maximum:g}"
    if name == "time":
        if (time := _number(text, int)) is None:
            return f"{text!r} is not a whole number of seconds since 1970"
        if not 0 <= time < layouts.LAST_TIME:
            return f"{text!r} is not a time in seconds since 1970"
    return ""


def _number_reason(text: str) -> str:
    number = _number(text, float) if text else 0.0
    return "" if number is not None and math.isfinite(number) else f"{text!r} is not a number"


def _split(line: str, layout: layouts.Layout) -> list[str]:
    if layout.quoted:
        return next(csv.reader([line], delimiter=layout.separator))
    return line.split(layout.separator)


def _count_reason(line: str, found: int, expected: int, layout: layouts.Layout) -> str:
    """A wrong number of columns; suggests the separator that would give the expected number."""
    ours = _SEPARATORS.get(layout.separator, repr(layout.separator))
    for separator, name in _SEPARATORS.items():
        if separator != layout.separator and line.count(separator) == expected - 1:
            return f": {expected} columns separated by {name}, but {ours} is expected here"
    return f": {found} columns separated by {ours}, {expected} are expected: {line[:60]!r}"


def _number(text: str, kind: type) -> float | None:
    try:
        return None if "_" in text else kind(text)
    except ValueError:
        return None
