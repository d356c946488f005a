"""`Report`, the base of all reports, and the file of values by row that comparisons read."""

import dataclasses
import pathlib
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from tfrec import aside
from tfrec.schema import DatasetInfo

if typing.TYPE_CHECKING:
    import pandas


class Report:
    """Base of the reports: `update` for every batch, then `result`, `save`.

    `update(features, targets, scores)` takes the model's scores. A report whose `depth` is not 0
    takes ranked lists of that length instead, with the cuts `ks`. If a report has a method
    `predictions()`, the arrays that it returns by name are kept with the run.

    Attributes:
        depth: Length of the ranked lists that `update` takes; 0: it takes all scores.
        keep: A function (features, targets, scores) -> scores that is applied in graph before
            the best items are chosen; None: nothing is.
        directions: Whether higher is better, by a metric's name without a cut; metrics that have
            no direction are left out.
    """

    keep: Callable | None = None
    directions: ClassVar[Mapping[str, bool]] = {}

    @property
    def depth(self) -> int:
        return 0

    def __init__(self, info: DatasetInfo, ks: tuple[int, ...] = (1,)):
        self.info = info
        self.ks = cuts(ks)

    def update(self, features: Any, targets: Any, scores: Any) -> None:
        """Adds a batch.

        Args:
            features: Of the batch.
            targets: Of the batch.
            scores: The model's, or the ranked lists.
        """
        raise NotImplementedError

    @property
    def protocol(self) -> str:
        """A description of split and evaluation."""
        raise NotImplementedError

    @property
    def users(self) -> np.ndarray:
        """`[n]` int64: the users of the values of `per_user`, ascending."""
        raise NotImplementedError

    def per_user(self) -> dict[str, np.ndarray]:
        """One `[n]` array a metric, aligned with `users`."""
        raise NotImplementedError

    def per_interaction(self) -> dict[str, np.ndarray] | None:
        """The held-out interactions one by one; None where the report predicts no values.

        Returns:
            `[n]` each: "user" and "item", int64, "value" and "prediction" in its unit, float64.
        """
        return None

    @classmethod
    def errors(cls, value: np.ndarray, prediction: np.ndarray) -> dict[str, np.ndarray]:
        """What `per_user` sums up, of single predictions, `[n]` each; of those that predict.

        Args:
            value: `[n]` float, as of `per_interaction`.
            prediction: `[n]` float.
        """
        raise NotImplementedError

    def result(self) -> dict[str, float]:
        """The metrics by name."""
        raise NotImplementedError

    def save(self, path: str | pathlib.Path) -> None:
        """Writes `users`, `per_user()` and `protocol` to the `.npz` file `path`."""
        arrays: dict = {"users": self.users, "protocol": self.protocol}
        arrays |= self.per_user()
        with aside.file(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)


@dataclasses.dataclass(frozen=True)
class SavedValues:
    """Values written by `Report.save`.

    Attributes:
        users: `[n]`, ascending: int64 positions, or ids as given.
        values: The report's `per_user()`.
        protocol: The report's protocol.
    """

    users: np.ndarray
    values: dict[str, np.ndarray]
    protocol: str

    def per_user(self) -> dict[str, np.ndarray]:
        """One `[n]` array a metric, aligned with `users`."""
        return self.values

    def frame(self) -> "pandas.DataFrame":
        """The values as a frame with one row for each user, and users as index."""
        import pandas  # not needed by reports

        return pandas.DataFrame(self.values, pandas.Index(self.users, name="user"))

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "SavedValues":
        """Reads a file written by `Report.save`."""
        with pathlib.Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
        return cls(arrays.pop("users"), values=arrays, protocol=str(arrays.pop("protocol")))


def cuts(ks: Iterable[int]) -> tuple[int, ...]:
    """The distinct cuts, ascending.

    Raises:
        ValueError: there is none, or one below 1.
    """
    ks = tuple(ks)
    if not ks or min(ks) < 1:
        raise ValueError(f"ks={ks}: every cut must be at least 1, and there must be one")
    return tuple(sorted(set(ks)))


def checksum(owner: np.ndarray, codes: np.ndarray, n: int) -> np.ndarray:
    """`[n]` uint64: a checksum of each owner's set of target codes.

    Args:
        owner: `[N]` int in `[0, n)`.
        codes: `[N]` int64, the owners' targets.
        n: Number of owners.
    """
    mixed = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    sums = np.zeros(n, np.uint64)
    np.add.at(sums, owner, mixed)  # wraps around, hence independent of the order
    return sums
