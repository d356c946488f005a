"""The summary of a data set, as `Dataset` shows it."""

import dataclasses

import numpy as np

from tfrec.data import ratings
from tfrec.datasets.raw_dataset import RawDataset


@dataclasses.dataclass(frozen=True)
class Summary:
    """Summary of a data set.

    Attributes:
        interactions: Number of interactions, such as ratings, purchases or clicks.
        users: Number of distinct users.
        items: Number of distinct items.
        sparsity: Share of user-item pairs without an interaction.
        lowest: Lowest value.
        highest: Highest value; all values are 1 where there is no column of values.
        first: Day of the earliest interaction, such as "2000-04-25"; "" without times.
        last: Day of the latest interaction.
        fields: Names of the further columns of users and items.
        kinds: Kinds of the fields that models may read, by name.
        dropped: Number of rows left out, by reason.
    """

    interactions: int
    users: int
    items: int
    sparsity: float
    lowest: float
    highest: float
    first: str
    last: str
    fields: tuple[str, ...]
    kinds: dict[str, str] = dataclasses.field(default_factory=dict)
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts of the lines to show."""
        values = "none: each counts 1"
        if self.lowest != self.highest:
            values = f"{self.lowest:g} to {self.highest:g}"
        fields = [f"{name} ({self.kinds.get(name, 'not read')})" for name in self.fields]
        of_events = [name for name in self.kinds if name not in (*self.fields, "title")]
        fields += [f"{name} (event's {self.kinds[name]})" for name in of_events]
        return [
            ("interactions", f"{self.interactions:,}"),
            ("users", f"{self.users:,}"),
            ("items", f"{self.items:,}"),
            ("sparsity", f"{100 * self.sparsity:.2f} %"),
            ("ratings", values),
            ("times", f"{self.first} to {self.last}" if self.first else "none"),
            ("fields", ", ".join(fields) or "none"),
            *(("left out", f"{n:,} {reason}") for reason, n in self.dropped.items()),
        ]


def summarize(raw: RawDataset) -> Summary:
    """A summary from one pass over the interactions."""
    found, user_ids, item_ids = ratings.collect(raw.chunks())
    days = np.array([found.times.min(), found.times.max()], "datetime64[s]")
    first, last = map(str, days.astype("datetime64[D]")) if raw.has_times else ("", "")
    n_users, n_items = len(user_ids), len(item_ids)
    return Summary(
        interactions=len(found),
        users=n_users,
        items=n_items,
        sparsity=1 - len(found) / (n_users * n_items),
        lowest=float(found.values.min()),
        highest=float(found.values.max()),
        first=first,
        last=last,
        fields=tuple(c for t in (raw.users, raw.items) for c in t.columns[1:]),
        kinds=raw.kinds,
        dropped=raw.dropped,
    )
