"""`Ratings`: interactions as arrays of numbers, for splits and filters."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Ratings in file order, one array entry each (20 bytes a rating).

    Attributes:
        users: int32 `[n]`, code or position of the user.
        items: int32 `[n]`, code or position of the item.
        values: float32 `[n]`.
        times: int64 `[n]`, seconds since 1970.
        test: int8 `[n]`, the part of the fold that it is from: 0 training, 1 test, 2 validation;
            None without a fold.
        pairs: uint64 `[n]`, hash of the raw ids of user and item (`split_rules.hash_law`); None
            unless the split draws by it.
        context: The event's own fields by name, `[n]`: int32 codes of categories, float32
            numbers (NaN where missing).
    """

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    times: np.ndarray
    test: np.ndarray | None = None
    pairs: np.ndarray | None = None
    context: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    def take(self, kept: np.ndarray) -> "Ratings":
        """The ratings selected by `kept` (a mask or indices), in that order."""
        if kept.dtype == bool and kept.all():  # avoids a second copy of all columns
            return self
        return Ratings(
            users=self.users[kept],
            items=self.items[kept],
            values=self.values[kept],
            times=self.times[kept],
            test=None if self.test is None else self.test[kept],
            pairs=None if self.pairs is None else self.pairs[kept],
            context={name: column[kept] for name, column in self.context.items()},
        )


def occurs(codes: np.ndarray, n: int) -> np.ndarray:
    """Whether each of n codes occurs, bool `[n]`."""
    mask = np.zeros(n, bool)
    mask[codes] = True
    return mask
