"""Netflix ratings: DeepRec's tab-separated parts, and the files of the Netflix Prize.

Neither may be redistributed. DeepRec (Kuchaiev and Ginsburg 2017) writes
`user TAB item TAB rating` without a header, as one file, as parts, or as folders
`<fold>_TRAIN`, `<fold>_VALID`, `<fold>_TEST` split by time. Parts made for item rows (a path
that contains "iRec") have the item first. `netflix_prize` reads the Prize's files.
"""

import pathlib
import re
from collections.abc import Iterator

import pandas

from tfrec.config import known_names
from tfrec.datasets import columns, files, layouts, netflix_prize, rating_locator
from tfrec.datasets.raw_dataset import RawDataset

_TRAIN_ROWS, _TEST_ROWS, _VALIDATION_ROWS = 0, 1, 2  # as `RawDataset` has them
_TRAIN = re.compile(r"(?:^|.*/)([^/]+)_TRAIN/[^/]+$")
_NOT_RATINGS = re.compile(
    r"(^|/)(\.|movie_titles|probe|qualifying|judging|readme|license)", re.IGNORECASE
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}$")


def read(name: str, found: files.Files, scale: layouts.RatingScale, fold: str | None) -> RawDataset:
    """Reads either of the layouts.

    Args:
        name: Name of the data set.
        found: A folder or zip of parts (those called `part-*`, if any), single parts, or
            the Prize's files.
        scale: Allowed ratings.
        fold: None, or the prefix of DeepRec's folders: "N3M" reads N3M_TRAIN, then N3M_VALID
            (if it exists) as the validation rows and N3M_TEST as the test rows; "N3M_VALID"
            takes N3M_VALID as the test rows.

    Raises:
        FileNotFoundError: there is no file of ratings.
        ValueError: unknown fold, or a damaged or malformed file.
    """
    prize_files = netflix_prize.rating_files(found)
    if prize_files:
        _refuse_fold(name, fold)
        ratings, codes = prize_files, [_TRAIN_ROWS] * len(prize_files)
        has_times, items, also_read = True, *netflix_prize.titles(found)
    else:
        ratings, codes = _parts(name, found, fold)
        has_times, items, also_read = _has_times(ratings), netflix_prize.no_titles(), []

    def frames() -> Iterator[pandas.DataFrame]:
        for file, test in zip(ratings, codes, strict=True):
            reader = netflix_prize.read_ratings if prize_files else _read_part
            for frame in reader(file, scale):
                yield frame if fold is None else frame.assign(test=test)

    return RawDataset(
        name=name,
        chunks=lambda: columns.gather(frames()),
        items=items,
        fingerprint=files.fingerprint([*ratings, *also_read]),
        rating_min=scale.minimum,
        rating_max=scale.maximum,
        rating_step=scale.step,
        has_times=has_times,
        brings_validation=_VALIDATION_ROWS in codes,
        locate=rating_locator.locator(
            ratings, is_rating=netflix_prize.is_rating if prize_files else bool
        ),
    )


def _parts(
    name: str, found: files.Files, fold: str | None
) -> tuple[list[files.TextFile], list[int]]:
    """The files to read, in order, and the part that each is."""
    names = [n for n in found.names if not _NOT_RATINGS.search(n)]
    names = [n for n in names if n.endswith((".txt", ".txt.gz", ".tsv", ".tsv.gz"))]
    if not names:
        raise FileNotFoundError(
            f"{found.where} holds no ratings (.txt or .txt.gz with user TAB item TAB rating, "
            "mv_*.txt or combined_data_*.txt); pass the right folder with --raw"
        )
    folds = sorted({match.group(1) for n in names if (match := _TRAIN.match(n))})
    if fold is not None:
        return _fold_parts(name, found, names, folds, fold)
    if folds:
        raise ValueError(
            f"{found.where} holds the folds {', '.join(folds)}; choose one with "
            f"--split=folds --data fold={folds[0]}, or pass one folder with --raw"
        )
    own = [n for n in names if pathlib.PurePosixPath(n).name.startswith("part-")]
    return [found.file(n) for n in own or names], [_TRAIN_ROWS] * len(own or names)


def _fold_parts(
    name: str, found: files.Files, names: list[str], folds: list[str], fold: str
) -> tuple[list[files.TextFile], list[int]]:
    prefix, _, test = fold.partition("_")
    if prefix not in folds:
        raise ValueError(
            f"--data fold={fold}: {found.where} has no folder {prefix}_TRAIN; "
            + known_names(prefix, folds or ["none"])
        )
    test = test or "TEST"
    wanted = {"TRAIN": _TRAIN_ROWS, "VALID": _VALIDATION_ROWS, test: _TEST_ROWS}
    found_parts = [
        (n, code)
        for folder, code in wanted.items()
        for n in names
        if f"/{prefix}_{folder}/" in f"/{n}"
    ]
    if _TEST_ROWS not in dict(found_parts).values():
        raise FileNotFoundError(
            f"--data fold={fold}: {found.where} has no {prefix}_{test}/*.txt; make it with "
            "DeepRec's converter, or use another split, such as --split=random"
        )
    return [found.file(n) for n, _ in found_parts], [code for _, code in found_parts]


def _read_part(file: files.TextFile, scale: layouts.RatingScale) -> Iterator[pandas.DataFrame]:
    line = file.first_line()
    last = line.rpartition("\t")[2]
    if line.count("\t") == 3 and _DATE.match(last):
        raise ValueError(
            f"{file.where}, line 1, column 4 (time): {last!r} is a date; "
            "write times as whole seconds since 1970"
        )
    by_item = any("iRec" in part for part in pathlib.PurePath(file.where).parts[-2:])
    first = ("item", "user") if by_item else ("user", "item")
    names = (*first, "value", "time") if line.count("\t") == 3 else (*first, "value")
    for frame in columns.read_ratings(file, layouts.Layout(names, "\t"), scale):
        yield frame[["user", "item", "value", "time"]]


def _has_times(ratings: list[files.TextFile]) -> bool:
    return all(file.first_line().count("\t") == 3 for file in ratings)


def _refuse_fold(name: str, fold: str | None) -> None:
    if fold is not None:
        raise ValueError(
            f"--data fold={fold}: these {name} files have no folds; use --split=time, or pass "
            "the folder that holds <fold>_TRAIN and <fold>_TEST with --raw"
        )
