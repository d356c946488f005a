"""Tables of results out of the records in `results/`, which hold every figure once.

`results/NAME.json` is a run's `record.json`, or, for figures whose record was not kept, `"kept":
"figures only"` with what is known. `results/tables.json` lays tables out: `columns` are heads, or
heads with templates that are filled in from each of `records`; `rows` are cells, whose templates
name a record as in `{NAME:test.rmse}`.
"""

import functools
import json
import pathlib
import re

from benchmarks.defaults import beats
from tfrec.presets.entry import number

FOLDER = pathlib.Path(__file__).parents[1] / "results"
FIELD = re.compile(r"\{(?:([\w-]+):)?([\w.@]+)\}")
PARTS = ("validation", "test", "floors")


@functools.cache
def record(name: str) -> dict:
    """A record by its file's name."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def rows(name: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows of a table of `tables.json`."""
    layout = json.loads((FOLDER / "tables.json").read_text())[name]
    columns = layout["columns"]
    if "rows" in layout:
        return tuple(columns), [tuple(filled(x) for x in row) for row in layout["rows"]]
    heads, templates = zip(*columns, strict=True)
    found = [tuple(filled(x, record(each)) for x in templates) for each in layout["records"]]
    return heads, found


def filled(template: str, of: dict | None = None) -> str:
    """A template with values: four decimals, "+-" a deviation; what is unknown is left out.

    Args:
        template: Text with `{path}` of the record `of`, or with `{NAME:path}`.
        of: The record of paths without a name.
    """

    def value(match: re.Match) -> str:
        return shown(record(match[1]) if match[1] else of or {}, match[2])

    text = FIELD.sub(value, template)
    return re.sub(r" ?\(\)|^, |, $", "", text).strip()


def shown(of: dict, path: str) -> str:
    """A value of a record as text; "" where it has none."""
    part, _, metric = path.partition(".")
    if part == "interval":
        return " to ".join(map(number, _at(of.get("intervals", {}), metric) or ()))
    if part not in PARTS:
        made = {"cost": cost(of), "label": f"`{of.get('name')}`"}
        return _plain(of.get(part, made.get(part, "")))
    found, deviation = (_at(of.get(name, {}), path) for name in ("metrics", "deviation"))
    if found is None:
        return ""
    text = number(found) + (f" +- {number(deviation)}" if deviation is not None else "")
    mark = of.get("marks", {}).get(path, "")
    return f"{text} {mark}".strip()


def cost(of: dict) -> str:
    """CPU seconds and peak memory of a run."""
    if "cpu_seconds" not in of:
        return ""
    return f"{of['cpu_seconds']:,.0f} CPU s, {of['peak_memory_mb']:,} MB"


def _at(parts: dict, path: str):
    """What stands at "part.metric"; None if nothing does."""
    part, _, metric = path.partition(".")
    return parts.get(part, {}).get(metric)


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def readings() -> list[tuple[str, str, str]]:
    """The log of readings, `results/readings.jsonl`: test set, model, readings in their order."""
    lines = [json.loads(x) for x in (FOLDER / "readings.jsonl").read_text().splitlines()]
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        value = line.get("value")
        text = number(value) if isinstance(value, float) else str(value)
        note = f" ({line['why']})" if line.get("why") else ""
        found.setdefault((line["test_set"], line["model"]), []).append(text + note)
    return [(data, model, ", ".join(values)) for (data, model), values in found.items()]


def defaults(data: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows of the default settings on a data set, out of `results/defaults.json`."""
    heads = ("model", "test metric", "value", "baseline", "beats it", "best epoch", "CPU seconds")
    found = json.loads((FOLDER / "defaults.json").read_text())[data]
    return heads, [_default(model, one) for model, one in sorted(found.items())]


def _default(model: str, one: dict) -> tuple[str, ...]:
    label = f"`{model}` [{one['note']}]" if "note" in one else f"`{model}`"
    if "error" in one:
        return (label, one["error"], "", "", "", "", "")
    value, least = one["value"], one["baseline"]
    better = {None: "-", True: "yes", False: "**no**"}[beats(one)]
    known = least is not None
    epochs = f"{one['best_epoch']} of {one['epochs']}" if "epochs" in one else "-"
    cells = (one["metric"], number(value), number(least) if known else "-", better, epochs)
    return (label, *cells, str(one.get("cpu_seconds", "-")))
