"""Preparing: raw ratings in, a directory of rows, vocabularies and `info.json` out."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import tqdm

from tfrec import config as configs
from tfrec import schema
from tfrec.config import DataConfig
from tfrec.data import blocks, fields, protocol, ratings, splits, texts, vocabulary
from tfrec.data.ratings import Ratings
from tfrec.data.stored import command
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.schema import DatasetInfo


def prepare(
    raw: RawDataset,
    config: DataConfig,
    data_dir: str | pathlib.Path,
    progress: bool = True,
    overwrite: bool = False,
    run: blocks.Run | None = None,
) -> DatasetInfo:
    """Prepares `raw` in `data_dir`; does nothing where just that is prepared already.

    Everything is written to a directory beside `data_dir` and renamed at the end, so that a
    failure leaves nothing half-written. The same source and settings give the same bytes.

    Args:
        raw: A raw data set, as from `tfrec.datasets.registry.load`.
        config: How ratings become rows.
        data_dir: The directory to make.
        progress: Show bars on stderr.
        overwrite: Replace what is prepared in `data_dir` with other settings.
        run: Runs the tasks that write rows (see `blocks`); default: one after the other.

    Returns:
        What `data_dir` holds now.

    Raises:
        ValueError: the settings cannot work with this data set, the data are wrong, or
            `data_dir` holds something else.
    """
    protocol.check(config)
    data_dir = pathlib.Path(data_dir)
    mark = fingerprint(raw, config)
    if data_dir.exists() and any(data_dir.iterdir()):
        info = _existing(data_dir, config, mark, overwrite)
        if info is not None:
            if progress:
                print(f"{data_dir} is prepared already: {info.protocol}", file=sys.stderr)
            return info
    with _written_aside(data_dir) as directory:
        return write(directory, raw, config, progress, run)


def fingerprint(raw: RawDataset, config: DataConfig) -> str:
    """SHA-256 over the source, the settings and the version of the record format."""
    settings = json.dumps(configs.to_dict(config), sort_keys=True)
    text = "\n".join([raw.fingerprint, settings, str(schema.FORMAT_VERSION)])
    return hashlib.sha256(text.encode()).hexdigest()


def write(
    directory: pathlib.Path,
    raw: RawDataset,
    config: DataConfig,
    progress: bool = True,
    run: blocks.Run | None = None,
) -> DatasetInfo:
    """Does the work of `prepare` in an empty directory; arguments and errors as there."""
    protocol.check(config)
    protocol.check_source(config, raw)
    run = run or _one_by_one(progress)
    work = directory / "blocks"
    work.mkdir()
    info, tasks, orders = _plan(directory, work, raw, config, progress)
    run(blocks.encode, tasks)
    run(blocks.gather, blocks.files(work, directory, orders))
    shutil.rmtree(work)
    text = json.dumps(info.to_dict(), indent=2, sort_keys=True) + "\n"
    (directory / schema.INFO_FILE).write_text(text, encoding="utf-8")
    return info


def _plan(
    directory: pathlib.Path,
    work: pathlib.Path,
    raw: RawDataset,
    config: DataConfig,
    progress: bool,
) -> tuple[DatasetInfo, list[blocks.Block], dict[str, np.ndarray]]:
    """Everything but the rows, which it leaves scattered in `work`.

    This is the only time that all ratings are in memory, as numbers.

    Returns:
        The info, the blocks to encode, and the rows of each record file in their order.
    """
    data, user_ids, item_ids, categories, dropped = _read(raw, config, progress)
    split = splits.split(data, config, len(user_ids), len(item_ids))
    kept = split.part != splits.DROPPED
    part = split.part if kept.all() else split.part[kept]
    # Held-out users keep their place even without a rating left; other ids must occur.
    everyone = config.split == "users"
    data, user_ids, item_ids = ratings.to_positions(data.take(kept), user_ids, item_ids, everyone)
    tables = {
        "user": _write_vocabulary(directory, user_ids, "user", raw.users),
        "item": _write_vocabulary(directory, item_ids, "item", raw.items),
    }

    n_rows = len(user_ids) if config.rows == "user" else len(item_ids)
    group = split.group if everyone else np.zeros(n_rows, np.int8)
    in_train = part == splits.HISTORY
    if everyone:
        in_train &= group[data.users] == 0
    columns = _columns(data, in_train, tables, categories, raw, config)
    fields.write(directory, columns)
    data = dataclasses.replace(
        data, context={c.field.name: c.entries for c in columns if c.field.of == "event"}
    )
    counts = blocks.counts(data, part, config.rows, n_rows)
    info = DatasetInfo(
        n_users=len(user_ids),
        n_items=len(item_ids),
        sparsity=1 - len(data) / (len(user_ids) * len(item_ids)),
        dropped=dropped | split.dropped,
        fingerprint=fingerprint(raw, config),
        format=schema.FORMAT_VERSION,
        fields=_fields(columns, data, in_train, raw),
        has_ids=raw.has_ids,
        **_described(raw, config, split),
        **_measured(counts, group, split),
        rating_mean=float(data.values[in_train].mean(dtype=np.float64)),
    )
    orders: dict[str, np.ndarray] = {}
    for code, name in enumerate(split.groups):
        stored = np.flatnonzero((counts.sum(1) > 0) & (group == code))
        order = blocks.shuffled(stored, config.seed, code)
        orders |= blocks.dealt(name, config.shards if name == "train" else 1, order)
    return info, blocks.scatter(work, data, part, config.rows, counts), orders


def _one_by_one(progress: bool) -> blocks.Run:
    """`blocks.in_process` with a bar on stderr."""
    quiet = None if progress else True  # None: quiet unless on a terminal

    def run(function: Any, tasks: list[Any]) -> list[Any]:
        bar = tqdm.tqdm(tasks, f"writing, {function.__name__}", disable=quiet)
        return blocks.in_process(function, bar)

    return run


def _read(
    raw: RawDataset, config: DataConfig, progress: bool
) -> tuple[Ratings, list[str], list[str], dict[str, list[str]], dict[str, int]]:
    """Reads, checks, filters and labels; positions are in sorted order of the remaining raw ids."""
    data, user_ids, item_ids, categories = ratings.collect(
        _with_bar(raw.chunks(), progress), raw.kinds
    )
    data, n = ratings.drop_duplicates(data, config.duplicates, user_ids, item_ids, raw.locate)
    data, dropped = ratings.apply_filters(data, config)
    if n:
        dropped["duplicates"] = n
    data = ratings.labelled(data, config)
    return *ratings.to_positions(data, user_ids, item_ids), categories, dropped


def _columns(
    data: Ratings,
    in_train: np.ndarray,
    tables: dict[str, pd.DataFrame],
    categories: dict[str, list[str]],
    raw: RawDataset,
    config: DataConfig,
) -> list[fields.Column]:
    """All side information, its codes learned on what `in_train` (bool, a rating) picks."""
    found: list[fields.Column] = []
    for of, positions, n in (
        ("user", data.users, len(tables["user"])),
        ("item", data.items, len(tables["item"])),
    ):
        used = ratings.occurs(positions[in_train], n)
        found += fields.of_table(tables[of], of, raw.kinds, used)
    found += texts.of_titles(config.title_vectors, tables["item"], raw.kinds)
    return [*found, *fields.of_events(data.context, categories, in_train, config.min_category)]


def _fields(
    columns: list[fields.Column], data: Ratings, in_train: np.ndarray, raw: RawDataset
) -> tuple[schema.Field, ...]:
    """What the model may read, those of the time last."""
    of_time = fields.of_times(data.times[in_train]) if raw.has_times and in_train.any() else []
    return *(column.field for column in columns), *of_time


def _with_bar(chunks: Iterable[pd.DataFrame], progress: bool) -> Iterator[pd.DataFrame]:
    with tqdm.tqdm(
        desc="reading", unit=" ratings", unit_scale=True, disable=None if progress else True
    ) as bar:
        for chunk in chunks:
            yield chunk
            bar.update(len(chunk))


def _described(raw: RawDataset, config: DataConfig, split: splits.Split) -> dict[str, Any]:
    """What `DatasetInfo` takes over from the source and the settings."""
    labels = config.label_above is not None
    return {
        "name": raw.name,
        "protocol": "; ".join(filter(None, [protocol.describe(config, raw), split.note])),
        "rows": config.rows,
        "groups": split.groups,
        "test_history": split.test_history,
        "rating_min": 0.0 if labels else float(raw.rating_min),
        "rating_max": 1.0 if labels else float(raw.rating_max),
        "rating_step": 1.0 if labels else float(raw.rating_step),
        "config": configs.to_dict(config),
    }


def _measured(counts: np.ndarray, group: np.ndarray, split: splits.Split) -> dict[str, Any]:
    """The counts that `DatasetInfo` reports.

    Raises:
        ValueError: there is nothing to train on.
    """
    in_train = group == 0
    n_train = int(counts[in_train, splits.HISTORY].sum())
    if not n_train:
        raise ValueError(
            "the split leaves no training rating; lower --data test and validation, or relax "
            "the filters (min_rating, min_user_ratings, min_item_ratings)"
        )
    by_part = counts.sum(0)
    n_ratings = {
        "train": n_train,
        "validation": int(by_part[splits.VALIDATION]),
        "test": int(by_part[splits.TEST]),
    }
    if len(split.groups) > 1:
        for code, name in ((splits.VALIDATION, "validation"), (splits.TEST, "test")):
            n_ratings[f"{name}_fold_in"] = int(counts[group == code, splits.HISTORY].sum())
    return {
        "n_ratings": n_ratings,
        "max_history": int(counts[in_train, splits.HISTORY].max()),
        "row_counts": _row_counts(counts, group),
    }


def _row_counts(counts: np.ndarray, group: np.ndarray) -> dict[str, int]:
    """Rows that each split of `inputs` reads: trained on with a history, else with targets."""
    history, validation, test = (counts > 0).T
    return {
        "train": int((history & (group == splits.HISTORY)).sum()),
        "train+validation": int(((history | validation) & (group != splits.TEST)).sum()),
        "validation": int(validation.sum()),
        "test": int(test.sum()),
        "all": int((history | validation | test).sum()),
    }


def _write_vocabulary(
    directory: pathlib.Path, ids: list[str], what: str, table: pd.DataFrame
) -> pd.DataFrame:
    """Writes the raw ids and, aligned with them, the side table if it has fields; returns it."""
    ids_file, fields_file = {
        "user": (schema.USERS_FILE, schema.USER_FIELDS_FILE),
        "item": (schema.ITEMS_FILE, schema.ITEM_FIELDS_FILE),
    }[what]
    vocabulary.write(directory / ids_file, ids)
    aligned = vocabulary.align(table, what, ids)
    if aligned is None:
        return pd.DataFrame({what: ids})
    aligned.to_csv(directory / fields_file, index=False, lineterminator="\n")
    return aligned


def _existing(
    data_dir: pathlib.Path, config: DataConfig, mark: str, overwrite: bool
) -> DatasetInfo | None:
    """The info of what is prepared already, or None where it is to be overwritten."""
    if not (data_dir / schema.INFO_FILE).exists():
        raise ValueError(
            f"--data_dir={data_dir} is not empty and was not prepared by tfrec (it has no "
            f"{schema.INFO_FILE}); choose another --data_dir"
        )
    if overwrite:
        return None
    info = DatasetInfo.load(data_dir)
    if info.fingerprint == mark:
        return info
    old, new = configs.renewed(info.config), configs.to_dict(config)
    changes = [
        f"{name} is {old.get(name)!r}, now {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    unseen = "the source files or the record format changed, or another version prepared it"
    raise ValueError(
        f"--data_dir={data_dir} was prepared otherwise: "
        f"{'; '.join(changes) or unseen}. Choose another --data_dir, or replace it with "
        f"`{command(config, data_dir)}` (and --raw, if given here)"
    )


@contextlib.contextmanager
def _written_aside(data_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty sibling directory that becomes `data_dir`, or goes if the work fails."""
    data_dir = data_dir.absolute()  # "." has no name to put a suffix to
    aside = data_dir.with_name(f"{data_dir.name}.partial-{os.getpid()}")
    aside.mkdir(parents=True)
    try:
        yield aside
        if data_dir.exists():
            replaced = data_dir.with_name(f"{data_dir.name}.replaced-{os.getpid()}")
            data_dir.rename(replaced)
            aside.rename(data_dir)
            shutil.rmtree(replaced)
        else:
            aside.rename(data_dir)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
