"""Raw interactions, and how they are split."""

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

GIVEN = "given"  # the fold of given parts
_BY_PART: dict[str, Any] = {"split": "folds", "fold": GIVEN}


class Dataset:
    """Raw interactions of users with items, from `from_pandas`, `read` or `load`.

        data = tfrec.Dataset.from_pandas(orders, user="customer", item="sku", time="bought_at")
        split = data.split("last")

    Args:
        open_raw: Opens the raw data set according to settings.
        config: Settings that all splits start from.
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
        """A data set from a frame with a row for each interaction.

        Args:
            frame: The interactions. Ids of any type become strings; times are seconds since 1970,
                datetimes or ISO texts.
            user: The column of user ids.
            item: The column of item ids.
            rating: The column of ratings; None: each interaction counts 1.
            time: The column of times; None: there are none, and no split by time is possible.
            title: The column of items' titles, of `frame` or of `items`; default: a column
                `title` of `items`.
            part: A column of "train", "validation" or "test"; `split()` then keeps these parts.
            users: Fields of users, a row for each user, with the id column named as in `frame`: a
                frame, or a CSV, TSV or Parquet file.
            items: Fields of items, likewise.
            missing: "error", or "drop": rows without user or item are left out.
            name: Name of the data set, part of the protocol of every result.
            **fields: Other columns of `frame` that models may read, and kinds of the columns of
                `users` and `items`: `price="unit_price:number"`, `brand="brand:category"`,
                `tags="tags:set"`; kinds are those of `tfrec.schema.Field`. They are
                fields of the item, unless `:user` or `:event` follows the kind.

        Raises:
            ValueError: a column is missing, or has an invalid value; row and column are named.
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
                    "of parts with part=COLUMN, or use `split_files` for parts of your own"
                )
            return opened(config.missing, by_part)

        config = DataConfig(dataset=name, missing=missing, **(_BY_PART if part else {}))
        open_raw(config)  # raises errors now
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
            path: The file or folder; `.gz` files are decompressed.
            user: The column of user ids; by default columns are named user, item, value, time and
                title, and user and item are required.
            item: The column of item ids.
            rating: The column of ratings.
            time: The column of times.
            title: The column of item titles.
            part: As in `from_pandas`.
            users: As in `from_pandas`, like items and missing.
            items: See users.
            missing: See users.
            **others: `separator` and `header` ("yes" or "no"), as in `--columns`; and fields, as
                in `from_pandas`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a bad line or column, named with the cure.
        """
        columns = {"user": user, "item": item, "value": rating, "time": time}
        columns |= {"title": title, "part": part, **others}
        words = ",".join(f"{n}={c}" for n, c in columns.items() if c)
        own = _BY_PART if part else {}
        config = DataConfig(dataset="tabular", columns=words, missing=missing, **own)
        sources = Sources(raw=path, users=users, items=items)
        return cls(lambda config: registry.open_as(config, sources), config)

    @classmethod
    def load(cls, name: str, path: PathLike | None = None) -> "Dataset":
        """Opens a known data set, such as "ml-1m".

        Args:
            name: As `--dataset` takes it.
            path: Its files; by default they are searched for in the folder `TFREC_DATA`, in the
                package and in the cache, then downloaded.

        Raises:
            FileNotFoundError: the files are not found, and cannot be downloaded.
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
        """Prepares given parts, such as those of a published split.

        Args:
            train: Training interactions: a frame, or a file as in `read`.
            test: Test interactions.
            validation: Validation interactions, or the share of training interactions that is
                drawn for them at random; 0 for none.
            data_dir: As in `split`.
            name: Name of the data set, part of the protocol.
            user: As in `from_pandas`, for all parts.
            item: As in `from_pandas`.
            rating: As in `from_pandas`.
            time: As in `from_pandas`.
            users: As in `from_pandas`.
            items: As in `from_pandas`.
            missing: As in `from_pandas`.
            **settings: As in `split`.

        Raises:
            ValueError: as in `from_pandas`, or an interaction is in two parts.
        """
        parts = {0: train, 1: test}
        if isinstance(validation, (int, float)):
            settings = {"validation": validation, **settings}
        else:
            parts[2] = validation
        columns = {"user": user, "item": item, "value": rating, "time": time}
        given = {name: column for name, column in columns.items() if column}

        def open_raw(config: DataConfig) -> RawDataset:
            if not any(isinstance(part, pd.DataFrame) for part in parts.values()):
                paths = {n: files.from_path(pathlib.Path(str(p))) for n, p in parts.items()}
                words = ",".join(f"{n}={c}" for n, c in given.items())
                return tabular.read(name, paths, GIVEN, words, config.missing, users, items)
            tables = {n: side_tables.load(part, "part")[1] for n, part in parts.items()}
            found = roles.from_mapping(given, "Dataset.split_files:")
            return frames.read(tables, found, users, items, name, config.missing, by_part=True)

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
                given parts.
            data_dir: Folder for the prepared rows; default: a folder of the cache, which is
                reused for the same data and settings.
            **settings: Settings of the rule, where it is a name, such as `test=.2`; and those of
                `tfrec.config.DataConfig`, such as `min_rating=4`, `seed=1`.

        Raises:
            ValueError: unknown settings, or settings that this data does not allow.
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
        """Counts from one pass over the interactions."""
        return summarize(self._open(self._config))

    def __repr__(self) -> str:
        return "\n".join(f"{name:13}{text}" for name, text in self._lines())

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = (f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in self._lines())
        return f"<table>{''.join(rows)}</table>"

    def _lines(self) -> list[tuple[str, str]]:
        return [("dataset", self._config.dataset), *self.summary.lines()]
