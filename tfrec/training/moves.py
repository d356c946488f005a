"""Matches users, items and categories of two prepared data sets."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tfrec.data import vocabulary
from tfrec.layers.fields import FieldCodes
from tfrec.schema import ITEMS_FILE, USERS_FILE, DatasetInfo, Field, vocabulary_file

FILES = {"user": USERS_FILE, "item": ITEMS_FILE}
_FIXED = ("number", "weekday", "hour")  # their codes mean the same in all data


@dataclasses.dataclass(frozen=True)
class Moved:
    """Matched positions of the ids or categories of one kind.

    Attributes:
        old: Positions in the old vocabulary of the entries that both have.
        new: Their positions in the new one.
        n_old: Size of the old vocabulary.
        n_new: Size of the new one.
    """

    old: np.ndarray
    new: np.ndarray
    n_old: int
    n_new: int

    def on_axis(
        self, length_old: int, length_new: int, first: bool
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Matching positions on an old axis and on the new one, or None.

        Additional positions, such as that of unknown users, are matched in order.

        Args:
            length_old: Length of the old axis.
            length_new: Length of the new one.
            first: Whether additional positions come before the ids, not after them.
        """
        rest = length_new - self.n_new
        if rest < 0 or rest != length_old - self.n_old:
            return None
        extra = np.arange(rest)
        if first:
            return np.append(extra, self.old + rest), np.append(extra, self.new + rest)
        return np.append(self.old, extra + self.n_old), np.append(self.new, extra + self.n_new)


def moved(old_ids: Sequence[str], new_ids: Sequence[str]) -> Moved:
    """Matches two vocabularies by raw id."""
    positions = {raw_id: position for position, raw_id in enumerate(old_ids)}
    pairs = [(positions[x], n) for n, x in enumerate(new_ids) if x in positions]
    old, new = np.array(pairs, np.int64).reshape(-1, 2).T
    return Moved(old, new, len(old_ids), len(new_ids))


def read(
    old: DatasetInfo, new: DatasetInfo, old_dir: pathlib.Path, new_dir: pathlib.Path
) -> dict[str, Moved]:
    """Matches "user", "item", and the fields of the new data by name.

    A field that the old data do not have, or have with another kind or other bucket boundaries,
    has no matches.
    """
    found = {
        kind: moved(*(vocabulary.read(d / file) for d in (old_dir, new_dir)))
        for kind, file in FILES.items()
    }
    fields = {field.name: field for field in old.fields}
    for field in new.fields:
        found[field.name] = _of_field(fields.get(field.name), field, old_dir, new_dir)
    return found


def _of_field(old: Field | None, new: Field, old_dir: pathlib.Path, new_dir: pathlib.Path) -> Moved:
    """Matches a field's codes from 1, counted from 0; code 0 is that of unknown values."""
    n_old, n_new = old.size - 1 if old else 0, new.size - 1
    if old is None or (old.of, old.kind) != (new.of, new.kind):
        return _shifted(n_old, n_new, n_old + n_new)
    if new.kind == "day":  # code 1 is the first day of training
        return _shifted(n_old, n_new, int(old.boundaries[0] - new.boundaries[0]))
    paths = [directory / vocabulary_file(new.name) for directory in (old_dir, new_dir)]
    if all(path.exists() for path in paths):
        return moved(*map(vocabulary.read, paths))
    same = new.kind in _FIXED or (new.kind == "bucket" and old.boundaries == new.boundaries)
    return _shifted(n_old, n_new, 0 if same else n_old + n_new)


def _shifted(n_old: int, n_new: int, by: int) -> Moved:
    """Old codes, from 0, shifted by `by`; those that leave the range have no match."""
    old = np.arange(n_old)
    old = old[(old + by >= 0) & (old + by < n_new)]
    return Moved(old, old + by, n_old, n_new)


def of_codes(
    old: FieldCodes, new: FieldCodes, found: Mapping[str, Moved]
) -> tuple[np.ndarray, np.ndarray]:
    """Matching positions on axes over the concatenated codes of all fields."""
    olds, news = [], []
    for before, after in zip(old.fields, new.fields, strict=True):
        pair = found[after.name].on_axis(before.size, after.size, first=True)
        if pair:  # a field's own sizes always match
            olds.append(pair[0] + old.starts[before.name])
            news.append(pair[1] + new.starts[after.name])
    return np.concatenate(olds), np.concatenate(news)
