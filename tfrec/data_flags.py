"""Flags for the data and its split, for all commands that prepare data."""

import re
import typing

from absl import flags

from tfrec import config as configs
from tfrec.config import DataConfig, parsed
from tfrec.datasets import roles
from tfrec.datasets.sources import Sources

if typing.TYPE_CHECKING:
    from tfrec.api.prepared_data import PreparedData

_TABLE = re.compile(r"\.(csv|tsv|parquet|pq)(\.gz)?$", re.IGNORECASE)
PARTITIONS = "partitions of users, one in memory at a time; 1: all in memory; 0: by size"
_TEXTS = {
    "dataset": "the data set (default: ml-latest-small, embedded; tabular for a table of --raw)",
    "raw": "the raw files: a zip or a folder, or your own table",
    "columns": "roles of your own table's columns: user=customer_id,item=sku,title=name",
    "items": "your own table of items: CSV, TSV or Parquet, all columns become fields",
    "users": "your own table of users",
    "train_raw": "your own training interactions, if they are split already",
    "validation_raw": "your own validation interactions (default: a share of training)",
    "test_raw": "your own test interactions",
    "data_dir": "prepared data",
    "split": "random, folds, time, month, users or last (default: random, or the given parts)",
}


def define(flag_values: flags.FlagValues, data_dir: str) -> None:
    """Adds the flags to those of a command.

    Args:
        flag_values: The command's flags.
        data_dir: Help of its --data_dir.
    """
    for name, text in (_TEXTS | {"data_dir": data_dir}).items():
        flags.DEFINE_string(name, "", text, flag_values=flag_values)
    flags.DEFINE_multi_string(
        "data", [], "name=value of the data's settings, such as seed=1", flag_values=flag_values
    )


def sources(given: flags.FlagValues) -> Sources | None:
    """The files given by the flags; None for the data set's default location."""
    paths = {"raw": given.raw, "users": given["users"].value, "items": given["items"].value}
    paths |= {name: given[f"{name}_raw"].value for name in ("train", "validation", "test")}
    return Sources(**{n: p for n, p in paths.items() if p}) if any(paths.values()) else None


def settings(given: flags.FlagValues, base: DataConfig, rows: str = "") -> DataConfig:
    """`base` with the values of the flags.

    Args:
        given: The flags.
        base: Settings to start from.
        rows: As in `DataConfig`; empty: as in `base`.

    Raises:
        ValueError: an unknown name, a value that is refused, or flags that do not go together.
    """
    found, words = sources(given), given["data"].value
    parts = bool(found and found.parts) or "part" in roles.parse(given.columns).roles
    split = parsed(DataConfig, words, "--data").get("split", given.split)
    if parts and split not in ("", "folds"):
        raise ValueError(
            f"--split={split}: the parts are given (--train_raw, or part= in --columns) and used "
            "as they are; leave one of the two out"
        )
    if parts:
        split, words = "folds", ["fold=given", *words]
    dataset = given.dataset or _own(given, base, found)
    return configs.data_config(base, dataset, split, words, given.columns, rows)


def prepared(given: flags.FlagValues) -> "PreparedData":
    """The data that models are trained on: a prepared folder, or a data set to split.

    `--data=ml-1m` is accepted for `--dataset=ml-1m`.
    """
    from tfrec.api.dataset import Dataset
    from tfrec.api.prepared_data import PreparedData
    from tfrec.datasets import registry

    words = given["data"].value
    given.dataset = given.dataset or next((word for word in words if "=" not in word), "")
    given["data"].value = [word for word in words if "=" in word]
    if given.data_dir:
        return PreparedData(given.data_dir)
    config, raw = settings(given, DataConfig()), sources(given)
    return Dataset(lambda config: registry.open_as(config, raw), config).split(config.split)


def _own(given: flags.FlagValues, base: DataConfig, found: Sources | None) -> str:
    """The data set "tabular" if the flags imply it."""
    if base.dataset != DataConfig.dataset:
        return ""
    is_table = given.columns or (found and (found.own_flags or _TABLE.search(str(found.raw))))
    return "tabular" if is_table else ""
