"""What the reports share: the file of per-row values that a later comparison reads."""

import dataclasses
import pathlib
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import numpy as np

from tfrec import aside
from tfrec.schema import DatasetInfo

if typing.TYPE_CHECKING:
    import pandas


class Report:
    """Base of the reports: `update` for every batch, then `result`, `save`.

    `update(features, targets, scores)` takes what the model scored. A report with another `depth`
    than 0 takes ranked lists of that length instead, cut at its `ks`; what one with a method
    `predictions()` returns, arrays by name, is kept with the run.

    Attributes:
        depth: How many of a row's best columns `update` takes; 0: it takes all scores.
        keep: What scores go through before the best are chosen, (features, targets, scores) ->
            scores, run in graph; None: nothing.
        directions: Whether more of a metric is better, by its name without a cut; a metric that
            is neither better nor worse for being greater is not there.
    """

    keep: Callable | None = None
    directions: ClassVar[Mapping[str, bool]] = {}

    @property
    def depth(self) -> int:
        return 0

    def __init__(self, info: DatasetInfo, ks: tuple[int, ...] = (1,)):
        self.info = info
        self.ks = cuts(ks)

    @property
    def protocol(self) -> str:
        """The split and the way of measuring, in words."""
        raise NotImplementedError

    @property
    def users(self) -> np.ndarray:
        """`[n]` int64: whom the values of `per_user` belong to, rising."""
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
    """What `Report.save` wrote.

    Attributes:
        users: `[n]`, rising: int64 positions, or ids as they were given.
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
        """The values as a frame, a row a user, users as its index."""
        import pandas  # reports need none

        return pandas.DataFrame(self.values, pandas.Index(self.users, name="user"))

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "SavedValues":
        """Reads a file written by `Report.save`."""
        with pathlib.Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
        return cls(arrays.pop("users"), values=arrays, protocol=str(arrays.pop("protocol")))


def cuts(ks: Iterable[int]) -> tuple[int, ...]:
    """The cuts, rising, each once.

    Raises:
        ValueError: there is none, or one below 1.
    """
    ks = tuple(ks)
    if not ks or min(ks) < 1:
        raise ValueError(f"ks={ks}: every cut must be at least 1, and there must be one")
    return tuple(sorted(set(ks)))


def checksum(owner: np.ndarray, codes: np.ndarray, n: int) -> np.ndarray:
    """`[n]` uint64: for each owner, a sum that tells his set of target codes from others.

    Args:
        owner: `[N]` int in `[0, n)`.
        codes: `[N]` int64, what he was tested on.
        n: Number of owners.
    """
    mixed = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    sums = np.zeros(n, np.uint64)
    np.add.at(sums, owner, mixed)  # wraps around, hence in any order the same
    return sums
