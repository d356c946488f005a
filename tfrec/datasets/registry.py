"""The known data sets, and the search for their files."""

import dataclasses
import glob
import importlib.resources
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from tfrec.config import DataConfig, known_names
from tfrec.datasets import (
    criteo,
    download,
    files,
    layouts,
    movielens,
    netflix,
    roles,
    santander,
    sources,
    tabular,
)
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.datasets.sources import Sources

Reader = Callable[..., RawDataset]  # (name, files, scale, fold)

_GROUPLENS = "https://files.grouplens.org/datasets/movielens/"
_LICENCE = (
    "GroupLens: for research, not for commercial use; whether it may be redistributed differs "
    "from set to set, the README in the zip has the exact terms. Cite Harper and Konstan 2015, "
    "https://doi.org/10.1145/2827872."
)
_WHOLE = layouts.RatingScale(1, 5, 1)
_HALVES = layouts.RatingScale(0.5, 5, 0.5)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        reader: Reads its files.
        scale: Allowed ratings.
        names: Zips and folders to search for in the data folder and the cache, first choice
            first.
        licence: Terms and citation, in short.
        url: Address for downloads; "" if the data may not be downloaded.
        sha256: Hash of the file at `url`; None if none is published.
        how_to_get: For data sets without `url`: how to get the files.
        embedded: A copy in this package, as a path below `tfrec/datasets`; "" if none.
        own_tables: The user's own tables, read by `tabular.read` with all its arguments.
    """

    reader: Reader
    scale: layouts.RatingScale
    names: tuple[str, ...]
    licence: str = _LICENCE
    url: str = ""
    sha256: str | None = None
    how_to_get: str = ""
    embedded: str = ""
    own_tables: bool = False


def _movielens(
    reader: Reader,
    scale: layouts.RatingScale,
    name: str,
    folders: tuple[str, ...] = (),
    **others: Any,
) -> Entry:
    """A data set of GroupLens, whose zip, folder and address have its name."""
    names = (f"{name}.zip", *(folders or (name,)))
    return Entry(reader, scale, names, url=f"{_GROUPLENS}{name}.zip", **others)


DATASETS: dict[str, Entry] = {
    "ml-100k": _movielens(
        movielens.read_100k,
        _WHOLE,
        "ml-100k",
        sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    ),
    "ml-1m": _movielens(
        movielens.read_1m,
        _WHOLE,
        "ml-1m",
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    ),
    # GroupLens publishes only an MD5.
    "ml-10m": _movielens(movielens.read_10m, _HALVES, "ml-10m", folders=("ml-10M100K", "ml-10m")),
    "ml-20m": _movielens(
        movielens.read_csv,
        _HALVES,
        "ml-20m",
        sha256="96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
    ),
    "ml-25m": _movielens(
        movielens.read_csv,
        _HALVES,
        "ml-25m",
        sha256="8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
    ),
    # GroupLens replaces the zip now and then.
    "ml-latest": _movielens(movielens.read_csv, _HALVES, "ml-latest"),
    "ml-latest-small": _movielens(
        movielens.read_csv,
        _HALVES,
        "ml-latest-small",
        sha256="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        embedded="embedded/ml-latest-small.zip",
    ),
    "netflix": Entry(
        netflix.read,
        _WHOLE,
        ("netflix", "netflix.zip", "Netflix", "nf_prize_dataset", "netflix-sample"),
        licence="Netflix Prize: no redistribution, no commercial use. The README has the terms.",
        how_to_get=(
            "it may not be redistributed: get the Netflix Prize files (combined_data_*.txt or "
            "mv_*.txt) from a licensed source, or DeepRec's tab-separated parts"
        ),
    ),
    "santander": Entry(
        santander.read,
        layouts.RatingScale(1, 1, 1),
        ("santander", "train_ver2.csv.zip", "train_ver2.csv", "train_ver2.csv.gz"),
        licence=(
            "Santander and Kaggle: for the competition and for non-commercial research, not to be "
            "passed on; the competition's rules have the exact terms."
        ),
        how_to_get=(
            "accept the competition's rules and download train_ver2.csv from "
            "kaggle.com/c/santander-product-recommendation"
        ),
    ),
    "criteo": Entry(
        criteo.read,
        layouts.RatingScale(0, 1, 1, labels=True),
        ("criteo", "criteo.zip", "dac"),
        licence=(
            "Criteo: for research, not for commercial use, not to be passed on; the license.txt "
            "that comes with the data has the exact terms."
        ),
        how_to_get=(
            "accept Criteo's terms, download the Display Advertising Challenge data (dac.tar.gz) "
            "from Criteo AI Lab and unpack its train.txt"
        ),
    ),
    "tabular": Entry(
        tabular.read,
        layouts.RatingScale(0, 0, 0),  # inferred
        (),
        licence="your own",
        how_to_get="it is your own table, a .csv, .tsv or .parquet: pass it with --raw=FILE",
        own_tables=True,
    ),
}


def known_range(data: DataConfig, raw: RawDataset | None = None) -> tuple[float, float] | None:
    """The lowest and the highest value that prepared data will have; None if unknown.

    Args:
        data: Settings of preparing.
        raw: The raw data set; None if its files are not opened yet.
    """
    if data.label_above is not None or data.duplicates in ("sum", "count"):
        return None
    if raw is not None:
        return raw.rating_min, raw.rating_max
    entry = DATASETS.get(data.dataset)
    if entry is None:
        return None
    if entry.own_tables:
        given = roles.parse(data.columns).roles
        return (1, 1) if given and "value" not in given else None
    return entry.scale.minimum, entry.scale.maximum


def open_as(data: DataConfig, raw: str | pathlib.Path | Sources | None = None) -> RawDataset:
    """Opens the data set of some settings; errors as of `load`."""
    fold = data.fold if data.split == "folds" else None
    return load(data.dataset, raw, fold, data.columns, data.missing)


def load(
    name: str,
    raw: str | pathlib.Path | Sources | None = None,
    fold: str | None = None,
    columns: str = "",
    missing: str = "error",
) -> RawDataset:
    """Opens a data set.

    Its files are searched for at `raw`; else in the folder given by the environment variable
    TFREC_DATA; else in this package; else they are downloaded into the folder TFREC_CACHE, or
    ~/.cache/tfrec.

    Args:
        name: Key of `DATASETS`.
        raw: The zip, a folder with its files, a folder that holds the zip, or (netflix) a
            file or a glob pattern; tabular: also parts and side tables.
        fold: A ready split that comes with the data set; chunks then have the column `test`.
        columns: tabular: the roles of the columns, see `roles`.
        missing: tabular: "error", or "drop" rows without user or item.

    Raises:
        ValueError: unknown name, fold or columns, or damaged or malformed files.
        FileNotFoundError: no such file.
        ConnectionError: the download failed.
    """
    if name not in DATASETS:
        raise ValueError(f"--dataset={name}: no such data set; " + known_names(name, DATASETS))
    entry, given = DATASETS[name], sources.of(raw)
    if entry.own_tables:
        parts: Mapping[int, str | pathlib.Path | None] = given.parts or {0: given.raw}
        if parts[0] is None:
            raise FileNotFoundError(f"--raw is missing: {entry.how_to_get}")
        found = {code: _files(name, entry, path) for code, path in parts.items()}
        return tabular.read(name, found, fold, columns, missing, given.users, given.items)
    for flag in given.own_flags:
        raise ValueError(
            f"{flag} is for tables of your own: {name} has its own files; leave it out, or use "
            "--dataset=tabular"
        )
    if columns:
        raise ValueError(
            f"--columns={columns}: the columns of {name} are fixed; leave it out, or read the "
            "files with --dataset=tabular"
        )
    return entry.reader(name, _files(name, entry, given.raw), entry.scale, fold)


def find(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The path of a data set in a folder of data sets; None if it is not there."""
    return _among(folder, DATASETS[name])


def cache_dir() -> pathlib.Path:
    """The folder of downloads and, without --data_dir, of prepared data."""
    return pathlib.Path(os.environ.get("TFREC_CACHE") or "~/.cache/tfrec").expanduser()


def _files(name: str, entry: Entry, raw: str | pathlib.Path | None) -> files.Files:
    if raw is not None:
        return _explicit(name, entry, str(raw))
    folder = os.environ.get("TFREC_DATA", "")
    if folder:
        if not pathlib.Path(folder).is_dir():
            raise FileNotFoundError(f"TFREC_DATA={folder} is not a folder; correct or unset it")
        if (path := _among(pathlib.Path(folder), entry)) is not None:
            return files.from_path(path)
    inside = importlib.resources.files("tfrec.datasets") / entry.embedded
    if entry.embedded and inside.is_file():  # a distributor may leave the data out
        return files.from_zip(inside.read_bytes(), f"tfrec/datasets/{entry.embedded}")
    cache = cache_dir()
    if (path := _among(cache, entry)) is not None:
        return files.from_path(path)
    if not entry.url:
        raise FileNotFoundError(
            f"{name} is not here and cannot be downloaded: {entry.how_to_get}; then pass "
            "--raw=FOLDER, or put it as FOLDER/" + entry.names[0] + " with TFREC_DATA=FOLDER"
        )
    path = download.download(entry.url, cache / entry.names[0], entry.sha256)
    return files.from_path(path)


def _explicit(name: str, entry: Entry, raw: str) -> files.Files:
    """The files at --raw: a file, a folder, a folder that holds either, or a pattern."""
    path = pathlib.Path(raw).expanduser()
    if path.is_dir():
        return files.from_path(_among(path, entry) or path)
    if path.is_file():
        if entry.url and path.suffix != ".zip":
            raise ValueError(f"--raw={raw}: pass the {name} zip or the folder of its files")
        return files.from_path(path)
    matches = [pathlib.Path(p) for p in sorted(glob.glob(str(path)))]  # noqa: PTH207
    if matches:
        return files.from_paths(matches)
    hint = f"download it from {entry.url}, or leave --raw out" if entry.url else entry.how_to_get
    raise FileNotFoundError(f"--raw={raw} does not exist; {name}: {hint}")


def _among(folder: pathlib.Path, entry: Entry) -> pathlib.Path | None:
    """The first of the entry's names that exists in `folder`."""
    found = (folder / name for name in entry.names)
    return next((path for path in found if path.exists()), None)
