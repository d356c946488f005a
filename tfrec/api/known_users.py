"""The users of prepared data by raw id, with their stored histories."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from tfrec.data import records, vocabulary
from tfrec.schema import ITEMS_FILE, PARTS, USERS_FILE, DatasetInfo, feature_names

History = dict[str, float]  # raw item id -> rating


class KnownUsers:
    """Known users and their histories.

    Args:
        data_dir: Prepared data.
        info: Its info.
    """

    def __init__(self, data_dir: pathlib.Path, info: DatasetInfo):
        self.data_dir, self.info = data_dir, info

    @functools.cached_property
    def users(self) -> dict[str, int]:
        """Positions of users by raw id."""
        ids = vocabulary.read(self.data_dir / USERS_FILE)
        return {user: position for position, user in enumerate(ids)}

    @functools.cached_property
    def items(self) -> list[str]:
        """Raw ids of items by position."""
        return vocabulary.read(self.data_dir / ITEMS_FILE)

    def positions(self, users: Sequence[str]) -> list[int]:
        """Positions of raw user ids.

        Raises:
            ValueError: an unknown user.
        """
        for user in users:
            if user not in self.users:
                some = ", ".join(list(self.users)[:3])
                raise ValueError(
                    f"no user {user!r} in {self.data_dir / USERS_FILE}, which knows "
                    f"{len(self.users):,} (such as {some}); for a new user give a history "
                    "(histories=, --items)"
                )
        return [self.users[user] for user in users]

    def histories(self, positions: Sequence[int]) -> list[History]:
        """All stored interactions of users by position, in time order."""
        if self.info.rows == "item":
            return self._from_item_rows(positions)
        return self.timed_histories(positions)[0]

    def timed_histories(self, positions: Sequence[int]) -> tuple[list[History], list[list[int]]]:
        """`histories`, for rows by user, and the times of their interactions."""
        found = records.find_rows(self.data_dir, self.info, positions, PARTS)
        nothing: dict[str, Any] = {"items": [], "values": [], "times": []}
        rows = [found.get(position, nothing) for position in positions]
        histories = [
            {self.items[i]: float(v) for i, v in zip(row["items"], row["values"], strict=True)}
            for row in rows
        ]
        return histories, [[int(time) for time in row["times"]] for row in rows]

    def _from_item_rows(self, positions: Sequence[int]) -> list[History]:
        """`histories` for rows by item: in the order of the items."""
        rows: dict[int, History] = {position: {} for position in positions}
        for stored in records.read_rows(self.data_dir, self.info):
            item = self.items[stored["user"]]
            for part in PARTS:
                users, values, _ = feature_names(part)
                for user, value in zip(stored[users].tolist(), stored[values], strict=True):
                    if user in rows:
                        rows[user][item] = float(value)
        return [rows[position] for position in positions]
