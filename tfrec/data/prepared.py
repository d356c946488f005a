"""Prepared data by its settings: found where it lies already, else prepared."""

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
    """Where `data` is prepared when no --data_dir is given: a folder of the cache.

    Args:
        data: How it is prepared.
        raw: Its raw files: a user's own tables all have the same name.
    """
    text = json.dumps(config_lib.to_dict(data), sort_keys=True)
    entry = datasets.DATASETS.get(data.dataset)
    if entry and entry.named_columns:
        text += sources.identity(raw)
    name = f"{data.dataset}-{data.split}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return str(datasets.cache_dir() / "prepared" / name)


def ensure(
    data: DataConfig,
    data_dir: str,
    raw: str | Sources | None = None,
    check: Callable[[float, float], None] = lambda low, high: None,
) -> DatasetInfo:
    """Returns what `data_dir` holds; prepares it first where nothing is there, and says so.

    Args:
        data: How it should be prepared.
        data_dir: The directory.
        raw: The raw files. Where they are given, `data_dir` must have been made of them;
            else they are not needed any more.
        check: Takes the lowest and the highest value before anything is prepared, where they
            are known by then; raises what it has against them.

    Raises:
        ValueError: settings that cannot work, or it was prepared with other settings, of
            other files or in another format.
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
