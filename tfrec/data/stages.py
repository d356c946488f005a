"""The stages of preparing: read, clean, split, index; each takes what the one before returns.

None of them writes a file or changes its argument. `prepare.write` calls them in order.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import tqdm

from tfrec import schema
from tfrec.config import DataConfig
from tfrec.data import exact, fields, ratings, texts, vocabulary
from tfrec.datasets.raw_dataset import RawDataset, rating_number
from tfrec.ratings import Ratings, occurs
from tfrec.split_rules import DROPPED, HISTORY


@dataclasses.dataclass(frozen=True)
class Interactions:
    """Ratings and the meaning of their codes.

    Attributes:
        ratings: In file order.
        user_ids: Raw ids by code.
        item_ids: Raw ids by code.
        categories: By column of the ratings' context that holds codes: the category by code.
        dropped: Ratings left out so far, by reason.
    """

    ratings: Ratings
    user_ids: list[str]
    item_ids: list[str]
    categories: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Parts:
    """The interactions that are kept, and the part that each is assigned to.

    Attributes:
        kept: The interactions; codes are positions in the sorted ids.
        part: int8 `[n]`, `split_rules.HISTORY`, VALIDATION or TEST.
        group: int8 `[n_rows]`, the file group of each row, an index into `groups`.
        groups: Names of the file groups.
        test_history: Parts that a test row may see as input.
        note: Details of the split that only the data determines; may be empty.
    """

    kept: Interactions
    part: np.ndarray
    group: np.ndarray
    groups: tuple[str, ...]
    test_history: tuple[str, ...]
    note: str = ""

    @property
    def in_train(self) -> np.ndarray:
        """Which ratings are trained on, bool `[n]`."""
        mask = self.part == HISTORY
        if len(self.groups) > 1:  # rows are users, some of them held out
            mask &= self.group[self.kept.ratings.users] == 0
        return mask


@dataclasses.dataclass(frozen=True)
class Totals:
    """What `info.json` tells of all ratings, and the index of those of training.

    Attributes:
        n: Number of ratings.
        mean: Mean of the training values.
        lowest: The lowest value.
        highest: The highest value.
        times: The first and the last time in training.
        used: By "user" and "item": which positions occur in training, bool `[n]`.
    """

    n: int
    mean: float
    lowest: float
    highest: float
    times: tuple[int, int]
    used: dict[str, np.ndarray]

    @classmethod
    def of(cls, parts: Parts) -> "Totals":
        """The totals of ratings in memory."""
        data, in_train = parts.kept.ratings, parts.in_train
        times, values = data.times[in_train], data.values
        used = {"user": data.users, "item": data.items}
        sizes = {"user": len(parts.kept.user_ids), "item": len(parts.kept.item_ids)}
        return cls(
            n=len(data),
            mean=exact.mean(exact.total(values[in_train]), len(times)),
            lowest=float(values.min(initial=np.inf)),
            highest=float(values.max(initial=-np.inf)),
            times=(int(times.min()), int(times.max())) if len(times) else (0, 0),
            used={of: occurs(positions[in_train], sizes[of]) for of, positions in used.items()},
        )


@dataclasses.dataclass(frozen=True)
class Indexed:
    """All data that is written.

    Attributes:
        parts: The interactions; their context holds what models read.
        tables: By "user" and "item": ids and side fields as text, aligned with the ids.
        columns: Side information as numbers.
        fields: The fields that models may read, those computed from the time last.
        totals: Totals of the ratings.
    """

    parts: Parts
    totals: Totals
    tables: dict[str, pd.DataFrame]
    columns: list[fields.Column]
    fields: tuple[schema.Field, ...]


def read(raw: RawDataset, progress: bool = False) -> Interactions:
    """Reads all chunks; codes are in order of appearance.

    Args:
        raw: The source of the ratings.
        progress: Show a progress bar on stderr if it is a terminal.

    Raises:
        ValueError: there are no ratings, an id is missing, or a value is not a finite number.
    """
    return gathered(ratings.Collector.of(with_bar(raw.chunks(), progress), raw.kinds), raw)


def gathered(found: ratings.Collector, raw: RawDataset) -> Interactions:
    """All ratings that were collected from `raw`; raises ValueError if there are none."""
    return Interactions(found.take(), *found.ids, found.categories, dict(raw.dropped))


def clean(
    found: Interactions, config: DataConfig, locate: Callable[[int], str] = rating_number
) -> Interactions:
    """Drops duplicates, filters and labels; codes do not change.

    Args:
        found: As from `read`.
        config: `duplicates`, `label_above` and the filters are used.
        locate: Returns file and line of a rating, given its number from 0; for the error.

    Raises:
        ValueError: there are duplicates that no setting allows, or nothing passes the filters.
    """
    data, n = ratings.drop_duplicates(
        found.ratings, config.duplicates, found.user_ids, found.item_ids, locate
    )
    data, dropped = ratings.apply_filters(data, config)
    if n:
        dropped["duplicates"] = n
    data = ratings.labelled(data, config)
    return dataclasses.replace(found, ratings=data, dropped=found.dropped | dropped)


def split(found: Interactions, config: DataConfig) -> Parts:
    """Assigns each interaction to a part; leaves out what the split drops.

    Args:
        found: As from `clean`.
        config: `rule` and `rows` are used.

    Raises:
        ValueError: settings that do not fit this data.
    """
    found = _by_position(found)
    order = config.rule.order(len(found.ratings))
    if order is not None:
        found = dataclasses.replace(found, ratings=found.ratings.take(order))
    data = ratings.with_pairs(found.ratings, found.user_ids, found.item_ids, config.rule)
    cut = config.rule.split(data, len(found.user_ids), len(found.item_ids))
    kept = cut.part != DROPPED
    found = dataclasses.replace(
        found, ratings=found.ratings.take(kept), dropped=found.dropped | cut.dropped
    )
    # Held-out users keep their position even if no rating is left; other ids must occur.
    everyone = len(cut.groups) > 1
    found = _by_position(found, everyone)
    n_rows = len(found.user_ids) if config.rows == "user" else len(found.item_ids)
    return Parts(
        found,
        part=cut.part if kept.all() else cut.part[kept],
        group=cut.group if everyone else np.zeros(n_rows, np.int8),
        groups=cut.groups,
        test_history=cut.test_history,
        note=cut.note,
    )


def _by_position(found: Interactions, every_user: bool = False) -> Interactions:
    """Replaces codes by positions among the sorted ids that occur (or those of all users)."""
    data, user_ids, item_ids = ratings.to_positions(
        found.ratings, found.user_ids, found.item_ids, every_user
    )
    return dataclasses.replace(found, ratings=data, user_ids=user_ids, item_ids=item_ids)


def index(parts: Parts, raw: RawDataset, config: DataConfig) -> Indexed:
    """Encodes all side information as numbers, with codes learned on training data only.

    Args:
        parts: As from `split`.
        raw: `users`, `items`, `kinds` and `has_times` are used.
        config: `min_category` and `title_vectors` are used.

    Raises:
        ValueError: a side table has two rows for one id, or an entry that is not of its kind.
    """
    totals = Totals.of(parts)
    kept = parts.kept
    events = fields.of_events(
        kept.ratings.context, kept.categories, parts.in_train, config.min_category
    )
    found = index_tables(parts, totals, raw, config, list(events))
    context = {c.field.name: c.entries for c in found.columns if c.field.of == "event"}
    kept = dataclasses.replace(kept, ratings=dataclasses.replace(kept.ratings, context=context))
    return dataclasses.replace(found, parts=dataclasses.replace(parts, kept=kept))


def index_tables(
    parts: Parts,
    totals: Totals,
    raw: RawDataset,
    config: DataConfig,
    events: Sequence[fields.Column] = (),
) -> Indexed:
    """`index` without the ratings, given their totals and the events' own fields."""
    kept = parts.kept
    tables = {
        "user": _aligned(raw.users, "user", kept.user_ids),
        "item": _aligned(raw.items, "item", kept.item_ids),
    }
    columns = [
        *_of_tables(tables, totals.used, raw.kinds),
        *texts.of_titles(config.title_vectors, tables["item"], raw.kinds),
        *events,
    ]
    with_times = raw.has_times and totals.used["user"].any()
    of_times = fields.of_times(np.array(totals.times)) if with_times else []
    return Indexed(
        parts,
        totals,
        tables=tables,
        columns=columns,
        fields=(*(column.field for column in columns), *of_times),
    )


def _aligned(table: pd.DataFrame, key: str, ids: list[str]) -> pd.DataFrame:
    aligned = vocabulary.align(table, key, ids)
    return pd.DataFrame({key: ids}) if aligned is None else aligned


def _of_tables(
    tables: Mapping[str, pd.DataFrame], used: Mapping[str, np.ndarray], kinds: Mapping[str, str]
) -> Iterator[fields.Column]:
    """The fields of users and items."""
    for of, table in tables.items():
        yield from fields.of_table(table, of, kinds, used[of])


def with_bar(chunks: Iterable[pd.DataFrame], progress: bool) -> Iterator[pd.DataFrame]:
    """The chunks, with a bar of the ratings on stderr if `progress`, and if that is a terminal."""
    with tqdm.tqdm(
        desc="reading", unit=" ratings", unit_scale=True, disable=None if progress else True
    ) as bar:
        for chunk in chunks:
            yield chunk
            bar.update(len(chunk))
