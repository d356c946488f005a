"""Interactions as they come, and how they are split."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from tfrec import config as configs
from tfrec.api.prepared_data import PathLike, PreparedData
from tfrec.config import DataConfig
from tfrec.data import prepare, ratings
from tfrec.datasets import frame as frames
from tfrec.datasets import registry
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.overrides import typed
from tfrec.split_rules import SplitRule

GIVEN = "given"  # the fold of parts that the user gives


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a data set holds.

    Attributes:
        interactions: Rows: ratings, purchases, clicks.
        users: Distinct users.
        items: Distinct items.
        sparsity: Share of user-item pairs without an interaction.
        lowest: Lowest value.
        highest: Highest value; all values are 1 where there is no column of them.
        first: Day of the earliest interaction, such as "2000-04-25"; "" without times.
        last: Day of the latest.
        fields: Names of the columns that users and items have besides.
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


class Dataset:
    """Interactions of users with items, as they come; made by `from_pandas`, `read` or `load`.

        data = tfrec.Dataset.from_pandas(orders, user="customer", item="sku", time="bought_at")
        split = data.split("last")

    Args:
        open_raw: Opens the raw data set; takes the name of a shipped fold, or None.
        config: Settings that every split of it starts from.
    """

    def __init__(self, open_raw: Callable[[str | None], RawDataset], config: DataConfig):
        self._open, self._config = open_raw, config

    @classmethod
    def from_pandas(
        cls,
        frame: pd.DataFrame,
        *,
        user: str = "user",
        item: str = "item",
        rating: str | None = None,
        time: str | None = None,
        users: pd.DataFrame | None = None,
        items: pd.DataFrame | None = None,
        name: str = "frame",
    ) -> "Dataset":
        """Takes a frame with a row an interaction.

        Args:
            frame: The interactions. Ids of any type become strings; times are seconds since 1970,
                datetimes or ISO texts.
            user: Its column of user ids.
            item: Its column of item ids.
            rating: Its column of ratings; None: each interaction counts 1.
            time: Its column of times; None: there are none, and nothing can be split by time.
            users: Fields of users, a row a user, with the id column called as in `frame`.
            items: Fields of items; a column `title` names them in recommendations.
            name: Part of the protocol that stands beside every figure.

        Raises:
            ValueError: a column is missing, or holds what it can not hold; names row and column.
        """
        columns = {"user": user, "item": item, "value": rating, "time": time}
        raw = frames.read(frame, columns, users, items, name)
        return cls(lambda fold: _no_fold(raw, fold), DataConfig(dataset=name))

    @classmethod
    def read(
        cls,
        path: PathLike,
        *,
        user: str = "",
        item: str = "",
        rating: str = "",
        time: str = "",
        title: str = "",
        **settings: str,
    ) -> "Dataset":
        """Reads a CSV, TSV or Parquet file, or a folder of them, in bounded memory.

        Args:
            path: The file or folder; `.gz` is unpacked.
            user: The file's column of user ids; by default columns are called user, item, value,
                time and title, and user and item must be there.
            item: Of item ids.
            rating: Of ratings.
            time: Of times.
            title: Of titles of items.
            **settings: `separator`, `header` ("yes" or "no") and `reader`, as of `--columns`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a bad line or column, named with the cure.
        """
        named = {"user": user, "item": item, "value": rating, "time": time, "title": title}
        words = [f"{n}={c}" for n, c in (named | settings).items() if c]
        config = DataConfig(dataset="tabular", columns=",".join(words))
        return cls(lambda fold: registry.load("tabular", path, fold, config.columns), config)

    @classmethod
    def load(cls, name: str, path: PathLike | None = None) -> "Dataset":
        """Opens a known data set, such as "ml-1m".

        Args:
            name: As `--dataset` takes it.
            path: Its files; by default they are looked for in the folder `TFREC_DATA`, in the
                package and in the cache, then downloaded.

        Raises:
            FileNotFoundError: it is not there and can not be downloaded.
            ValueError: unknown name, or damaged files.
        """
        return cls(lambda fold: registry.load(name, path, fold), DataConfig(dataset=name))

    @classmethod
    def split_files(
        cls,
        train: PathLike | pd.DataFrame,
        test: PathLike | pd.DataFrame,
        validation: PathLike | pd.DataFrame | float = 0.1,
        *,
        data_dir: PathLike | None = None,
        name: str = "given",
        user: str = "user",
        item: str = "item",
        rating: str | None = None,
        time: str | None = None,
        **settings: Any,
    ) -> "PreparedData":
        """Prepares parts as they are given, such as those of a published split.

        Args:
            train: Training interactions: a frame, or a file as of `read`.
            test: Test interactions.
            validation: Validation interactions, or the share of training that is drawn for them
                at random; 0 for none.
            data_dir: As of `split`.
            name: Part of the protocol.
            user: As of `from_pandas`, in all parts; likewise item, rating and time.
            item: See user.
            rating: See user.
            time: See user.
            **settings: As of `split`.

        Raises:
            ValueError: as `from_pandas`; an interaction is in two parts.
        """
        parts = {0: train, 1: test}
        if isinstance(validation, (int, float)):
            settings = {"validation": validation, **settings}
        else:
            parts[2] = validation
        columns = {"user": user, "item": item, "rating": rating, "time": time}
        raws = {code: _open_part(part, columns, name) for code, part in parts.items()}
        raw = _joined(name, raws)
        data = cls(lambda fold: raw, DataConfig(dataset=name, split="folds", fold=GIVEN))
        return data.split("folds", data_dir=data_dir, **settings)

    def split(
        self,
        rule: str | SplitRule = "random",
        *,
        data_dir: PathLike | None = None,
        **settings: Any,
    ) -> "PreparedData":
        """Prepares rows for training, validation and test.

        Args:
            rule: "random", "time", "last", "users", "month" or "folds", or a rule with its
                settings, such as `tfrec.splits.LastOut(validation=0)`.
            data_dir: Where the prepared rows go; default: a folder of the cache, found again by
                the same data and settings.
            **settings: Settings of the rule, where it is a name, such as `test=.2`; and those of
                `tfrec.config.DataConfig`, such as `min_rating=4`, `seed=1`.

        Raises:
            ValueError: settings that are unknown, or can not work with this data.
        """
        if isinstance(rule, SplitRule):
            settings = dataclasses.asdict(rule) | settings
            rule = rule.name
        values = typed(DataConfig, {"split": rule, **settings}, "the split")
        config = configs.split_config(self._config, values, "the split")
        raw = self._open(config.fold if config.split == "folds" else None)
        if data_dir is None:
            mark = prepare.fingerprint(raw, config)[:16]
            data_dir = registry.cache_dir() / "prepared" / f"{raw.name}-{rule}-{mark}"
        prepare.prepare(raw, config, data_dir, progress=False)
        return PreparedData(data_dir, self)

    @functools.cached_property
    def summary(self) -> Summary:
        """Counts, from one pass over the interactions."""
        raw = self._open(None)
        found, user_ids, item_ids, _ = ratings.collect(raw.chunks())
        first, last = (
            np.array([found.times.min(), found.times.max()], "datetime64[s]").astype(
                "datetime64[D]"
            )
            if raw.has_times
            else ("", "")
        )
        n_users, n_items = len(user_ids), len(item_ids)
        return Summary(
            interactions=len(found),
            users=n_users,
            items=n_items,
            sparsity=1 - len(found) / (n_users * n_items),
            lowest=float(found.values.min()),
            highest=float(found.values.max()),
            first=str(first),
            last=str(last),
            fields=tuple(c for t in (raw.users, raw.items) for c in t.columns[1:]),
        )

    def __repr__(self) -> str:
        s = self.summary
        return "\n".join(f"{name:13}{text}" for name, text in self._lines(s))

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = (
            f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in self._lines(self.summary)
        )
        return f"<table>{''.join(rows)}</table>"

    def _lines(self, s: Summary) -> list[tuple[str, str]]:
        values = (
            "none: each counts 1" if s.lowest == s.highest else f"{s.lowest:g} to {s.highest:g}"
        )
        return [
            ("dataset", self._config.dataset),
            ("interactions", f"{s.interactions:,}"),
            ("users", f"{s.users:,}"),
            ("items", f"{s.items:,}"),
            ("sparsity", f"{100 * s.sparsity:.2f} %"),
            ("ratings", values),
            ("times", f"{s.first} to {s.last}" if s.first else "none"),
            ("fields", ", ".join(s.fields) or "none"),
        ]


def _no_fold(raw: RawDataset, fold: str | None) -> RawDataset:
    if fold is not None:
        raise ValueError(
            f'split="folds": {raw.name} comes without folds; use "random", or `split_files` for '
            "parts of your own"
        )
    return raw


def _open_part(
    part: PathLike | pd.DataFrame, columns: Mapping[str, str | None], name: str
) -> RawDataset:
    if isinstance(part, pd.DataFrame):
        ours = {"value" if n == "rating" else n: column for n, column in columns.items()}
        return frames.read(part, ours, name=name)
    return Dataset.read(part, **{n: c for n, c in columns.items() if c})._open(None)


def _joined(name: str, raws: Mapping[int, RawDataset]) -> RawDataset:
    """One data set of parts: 0 training, 1 test, 2 validation."""

    def chunks() -> Iterator[pd.DataFrame]:
        for code, raw in raws.items():
            for chunk in raw.chunks():
                yield chunk.assign(test=np.int8(code))

    text = "\n".join(f"{code} {raw.fingerprint}" for code, raw in raws.items())
    return RawDataset(
        name=name,
        chunks=chunks,
        users=raws[0].users,
        items=raws[0].items,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        rating_min=min(raw.rating_min for raw in raws.values()),
        rating_max=max(raw.rating_max for raw in raws.values()),
        rating_step=raws[0].rating_step,
        has_times=all(raw.has_times for raw in raws.values()),
        kinds=raws[0].kinds,
        brings_validation=2 in raws,
    )
