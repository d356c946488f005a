"""Summarises raw data in a few lines, before anything is trained."""

import numpy as np

from tfrec.data.stages import Indexed
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.schema import TIME_KINDS, Field

_MOST = 8  # fields of users, items or events that are listed by name


def lines(raw: RawDataset, indexed: Indexed) -> list[str]:
    """At most seven lines: counts, columns, values, fields, and what was left out.

    Args:
        raw: The source of the data.
        indexed: The data that is about to be written.
    """
    kept = indexed.parts.kept
    what = f"{len(kept.ratings):,} rows"
    if raw.has_ids:
        users, items = len(kept.user_ids), len(kept.item_ids)
        what = f"{len(kept.ratings):,} interactions of {users:,} users and {items:,} items"
    found = [("found", what + _days(raw, kept.ratings.times))]
    if raw.read_as:
        columns = ", ".join(f"{ours}={theirs}" for ours, theirs in raw.read_as.items())
        found.append(("columns", columns))
    found.append(("values", _values(kept.ratings.values)))
    for of in ("item", "user", "event"):
        own = [f for f in indexed.fields if f.of == of and f.kind not in TIME_KINDS]
        if own:
            more = f" and {len(own) - _MOST} more" if len(own) > _MOST else ""
            found.append((f"{of} fields", ", ".join(map(_field, own[:_MOST])) + more))
    dropped = ", ".join(f"{n:,} {_REASONS.get(r, r)}" for r, n in kept.dropped.items())
    found.append(("left out", dropped or "none"))
    return [f"{name:13}{text}" for name, text in found]


_REASONS = {
    "missing_id": "rows without an id",
    "duplicates": "repeats of a pair",
    "min_rating": "below min_rating",
    "drop_rating": "of drop_rating",
    "user_not_in_train": "held-out ones of users without training data",
    "item_not_in_train": "held-out ones of items without training data",
}


def _days(raw: RawDataset, times: np.ndarray) -> str:
    if not raw.has_times:
        return ", without times"
    first, last = np.array([times.min(), times.max()], "datetime64[s]").astype("datetime64[D]")
    return f", {first} to {last}"


def _values(values: np.ndarray) -> str:
    lowest, highest = values.min(), values.max()
    if lowest == highest:
        return f"all {lowest:g}"
    return f"{lowest:g} to {highest:g}, mean {values.mean(dtype=np.float64):.4g}"


def _field(field: Field) -> str:
    """A field's name, its kind, and the number of categories in training."""
    many = f", {field.size - 1:,}" if field.kind in ("category", "set") else ""
    return f"{field.name} ({field.kind}{many})"
