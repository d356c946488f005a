"""Prepared data by its settings: used if it exists already, else prepared."""

import hashlib
import json
import pathlib
from collections.abc import Callable

from tfrec import aside
from tfrec import config as config_lib
from tfrec.config import DataConfig
from tfrec.data import prepare, stored
from tfrec.datasets import registry as datasets
from tfrec.datasets import sources
from tfrec.datasets.sources import Sources
from tfrec.schema import INFO_FILE, DatasetInfo


def default_dir(data: DataConfig, raw: str | Sources | None = None) -> str:
    """The folder of the cache in which `data` is prepared when no --data_dir is given.

    Args:
        data: Settings of preparing.
        raw: The raw files, which distinguish a user's own tables.
    """
    text = json.dumps(config_lib.to_dict(data), sort_keys=True)
    entry = datasets.DATASETS.get(data.dataset)
    if entry and entry.own_tables:
        text += sources.identity(raw)
    name = f"{data.dataset}-{data.split}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return str(datasets.cache_dir() / "prepared" / name)


def ensure(
    data: DataConfig,
    data_dir: str,
    raw: str | Sources | None = None,
    check: Callable[[float, float], None] = lambda low, high: None,
) -> DatasetInfo:
    """Returns the info of `data_dir`; prepares it first if it is empty, and prints that.

    Args:
        data: Settings of preparing.
        data_dir: The directory.
        raw: The raw files. If given, `data_dir` must have been made of them; else they are not
            needed once the data is prepared.
        check: Called with the lowest and the highest value before anything is prepared, where
            they are known by then; raises an error if it rejects them.

    Raises:
        ValueError: invalid settings, or `data_dir` was prepared with other settings, from other
            files or in another format.
    """
    path = pathlib.Path(data_dir).absolute()
    aside.sweep(path.parent, path.name)
    is_there = (path / INFO_FILE).exists()
    if is_there:
        info = DatasetInfo.load(data_dir)
        stored.refuse_other(info, data, data_dir)
        if raw is None:
            return info
    else:
        print(f"preparing {data.dataset} ({data.split} split) into {data_dir}", flush=True)
    found = datasets.open_as(data, raw)
    if known := datasets.known_range(data, found):
        check(*known)
    return prepare.prepare(found, data, data_dir, progress=not is_there)
