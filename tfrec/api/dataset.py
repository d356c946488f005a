"""Interactions as they come, and how they are split."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import pandas as pd

from tfrec import config as configs
from tfrec.api.dataset_summary import Summary, summarize
from tfrec.api.prepared_data import PathLike, PreparedData
from tfrec.config import DataConfig
from tfrec.data import prepare
from tfrec.datasets import files, registry, roles, side_tables, tabular
from tfrec.datasets import frame as frames
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.datasets.sources import Sources
from tfrec.overrides import typed
from tfrec.split_rules import SplitRule

GIVEN = "given"  # the fold of parts that the user gives
_BY_PART: dict[str, Any] = {"split": "folds", "fold": GIVEN}


class Dataset:
    """Interactions of users with items, as they come; made by `from_pandas`, `read` or `load`.

        data = tfrec.Dataset.from_pandas(orders, user="customer", item="sku", time="bought_at")
        split = data.split("last")

    Args:
        open_raw: Opens the raw data set as settings say.
        config: Settings that every split of it starts from.
    """

    def __init__(self, open_raw: Callable[[DataConfig], RawDataset], config: DataConfig):
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
        title: str | None = None,
        part: str | None = None,
        users: pd.DataFrame | PathLike | None = None,
        items: pd.DataFrame | PathLike | None = None,
        missing: str = "error",
        name: str = "frame",
        **fields: str,
    ) -> "Dataset":
        """Takes a frame with a row an interaction.

        Args:
            frame: The interactions. Ids of any type become strings; times are seconds since 1970,
                datetimes or ISO texts.
            user: Its column of user ids.
            item: Its column of item ids.
            rating: Its column of ratings; None: each interaction counts 1.
            time: Its column of times; None: there are none, and nothing can be split by time.
            title: The column of items' titles, of `frame` or of `items`; default: a column
                `title` of `items`.
            part: Its column that says "train", "validation" or "test"; `split()` then takes the
                parts as they are.
            users: Fields of users, a row a user, with the id column called as in `frame`: a frame,
                or a CSV, TSV or Parquet file.
            items: Fields of items.
            missing: "error", or "drop": rows without user or item are left out.
            name: Part of the protocol that stands beside every figure.
            **fields: Other columns of `frame` that models may read, and kinds of those of `users`
                and `items`: `price="unit_price:number"`, `brand="brand:category"`,
                `tags="tags:set"`; kinds are those of `tfrec.schema.Field`. They are of the item,
                unless `:user` or `:event` follows the kind.

        Raises:
            ValueError: a column is missing, or holds what it can not hold; names row and column.
        """
        given = {"user": user, "item": item, "value": rating, "time": time}
        given |= {"title": title, "part": part, **fields}
        columns = roles.from_mapping({n: c for n, c in given.items() if c}, "Dataset.from_pandas:")

        @functools.cache
        def opened(missing: str, by_part: bool) -> RawDataset:
            return frames.read(frame, columns, users, items, name, missing, by_part)

        def open_raw(config: DataConfig) -> RawDataset:
            by_part = config.split == "folds"
            if by_part and not part:
                raise ValueError(
                    f'split="folds": {name} comes without folds; use "random", name the column '
                    "that says it with part=COLUMN, or `split_files` for parts of your own"
                )
            return opened(config.missing, by_part)

        config = DataConfig(dataset=name, missing=missing, **(_BY_PART if part else {}))
        open_raw(config)  # finds what is wrong
        return cls(open_raw, config)

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
        part: str = "",
        users: pd.DataFrame | PathLike | None = None,
        items: pd.DataFrame | PathLike | None = None,
        missing: str = "error",
        **others: str,
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
            part: As of `from_pandas`.
            users: As of `from_pandas`, like items and missing.
            items: See users.
            missing: See users.
            **others: `separator`, `header` ("yes" or "no") and `reader`, as of `--columns`; and
                fields, as of `from_pandas`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a bad line or column, named with the cure.
        """
        named = {"user": user, "item": item, "value": rating, "time": time}
        named |= {"title": title, "part": part, **others}
        words = ",".join(f"{n}={c}" for n, c in named.items() if c)
        own = _BY_PART if part else {}
        config = DataConfig(dataset="tabular", columns=words, missing=missing, **own)
        sources = Sources(raw=path, users=users, items=items)
        return cls(lambda config: registry.open_as(config, sources), config)

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
        return cls(lambda config: registry.open_as(config, path), DataConfig(dataset=name))

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
        users: pd.DataFrame | PathLike | None = None,
        items: pd.DataFrame | PathLike | None = None,
        missing: str = "error",
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
            user: As of `from_pandas`, in all parts; likewise item, rating, time, users, items and
                missing.
            item: See user.
            rating: See user.
            time: See user.
            users: See user.
            items: See user.
            missing: See user.
            **settings: As of `split`.

        Raises:
            ValueError: as `from_pandas`; an interaction is in two parts.
        """
        parts = {0: train, 1: test}
        if isinstance(validation, (int, float)):
            settings = {"validation": validation, **settings}
        else:
            parts[2] = validation
        named = {"user": user, "item": item, "value": rating, "time": time}
        given = {n: c for n, c in named.items() if c}

        def open_raw(config: DataConfig) -> RawDataset:
            if not any(isinstance(part, pd.DataFrame) for part in parts.values()):
                found = {n: files.from_path(pathlib.Path(str(p))) for n, p in parts.items()}
                words = ",".join(f"{n}={c}" for n, c in given.items())
                return tabular.read(name, found, GIVEN, words, config.missing, users, items)
            tables = {n: side_tables.load(part, "part")[1] for n, part in parts.items()}
            columns = roles.from_mapping(given, "Dataset.split_files:")
            return frames.read(tables, columns, users, items, name, config.missing, by_part=True)

        data = cls(open_raw, DataConfig(dataset=name, missing=missing, **_BY_PART))
        return data.split(data_dir=data_dir, **settings)

    def split(
        self,
        rule: str | SplitRule = "",
        *,
        data_dir: PathLike | None = None,
        **settings: Any,
    ) -> "PreparedData":
        """Prepares rows for training, validation and test.

        Args:
            rule: "random", "time", "last", "users", "month" or "folds", or a rule with its
                settings, such as `tfrec.splits.LastOut(validation=0)`; default: "random", or the
                parts that are given.
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
        values = typed(DataConfig, {"split": rule or self._config.split, **settings}, "the split")
        config = configs.split_config(self._config, values, "the split")
        raw = self._open(config)
        if data_dir is None:
            mark = prepare.fingerprint(raw, config)[:16]
            data_dir = registry.cache_dir() / "prepared" / f"{raw.name}-{config.split}-{mark}"
        prepare.prepare(raw, config, data_dir, progress=False)
        return PreparedData(data_dir, self)

    @functools.cached_property
    def summary(self) -> Summary:
        """Counts, from one pass over the interactions."""
        return summarize(self._open(self._config))

    def __repr__(self) -> str:
        return "\n".join(f"{name:13}{text}" for name, text in self._lines())

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = (f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in self._lines())
        return f"<table>{''.join(rows)}</table>"

    def _lines(self) -> list[tuple[str, str]]:
        return [("dataset", self._config.dataset), *self.summary.lines()]
