"""MovieLens in its three layouts: tabs (100K), `::` (1M, 10M), CSV (20M, 25M, latest).

F. Maxwell Harper and Joseph A. Konstan, The MovieLens Datasets: History and Context,
ACM TiiS 5(4), 2015. Each reader takes a zip or a folder, with an inner folder of any name.
"""

from collections.abc import Iterator

import numpy
import pandas

from tfrec.config import known_names
from tfrec.datasets import columns, files, layouts, rating_locator
from tfrec.datasets.raw_dataset import RawDataset

FOLDS = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")

_RATINGS = ("user", "item", "value", "time")
_TABS = layouts.Layout(_RATINGS, "\t")
_COLONS = layouts.Layout(_RATINGS, "::")
_CSV = layouts.Layout(
    _RATINGS, ",", header=("userId", "movieId", "rating", "timestamp"), quoted=True
)
_USERS_100K = layouts.Layout(("user", "age", "gender", "occupation", "zip"), "|", "latin-1")
_USERS_1M = layouts.Layout(("user", "gender", "age", "occupation", "zip"), "::", "latin-1")
_GENRES_100K = layouts.Layout(("genre", "position"), "|", "latin-1")
_MOVIES = ("item", "title", "genres")
_MOVIES_1M = layouts.Layout(_MOVIES, "::", "latin-1")
_MOVIES_10M = layouts.Layout(_MOVIES, "::")
_MOVIES_CSV = layouts.Layout(_MOVIES, ",", header=("movieId", "title", "genres"), quoted=True)
_USER_FIELDS = ["user", "gender", "age", "occupation", "zip"]
_KINDS = {
    **{"gender": "category", "age": "bucket", "occupation": "category", "zip": "prefix"},
    **{"title": "text", "genres": "set", "year": "bucket"},
}
_YEAR = r"\((\d{4})(?:[-–]\d{0,4})?\s*\)\s*$"  # "(1995)", and for series "(2006–2007)"


def read_100k(
    name: str, found: files.Files, scale: layouts.RatingScale, fold: str | None
) -> RawDataset:
    """MovieLens 100K: `u.data`, or `<fold>.base` and `<fold>.test`; `u.item`, `u.user`.

    Args:
        name: Name of the data set.
        found: Its files.
        scale: Allowed ratings.
        fold: None, or one of `FOLDS`: its training rows come first, then its test rows.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: unknown fold, or a damaged or malformed file.
    """
    if fold is not None and fold not in FOLDS:
        raise ValueError(f"--data fold={fold}: {name} has no such fold; {known_names(fold, FOLDS)}")
    parts = ("u.data",) if fold is None else (f"{fold}.base", f"{fold}.test")
    ratings = [found.require(part) for part in parts]
    users, genres, items = (found.require(f) for f in ("u.user", "u.genre", "u.item"))
    return _dataset(
        name,
        ratings,
        _TABS,
        scale,
        users=columns.read_table(users, _USERS_100K)[_USER_FIELDS],
        items=_movies_100k(items, columns.read_table(genres, _GENRES_100K)["genre"].tolist()),
        also_read=[users, genres, items],
    )


def read_1m(
    name: str, found: files.Files, scale: layouts.RatingScale, fold: str | None
) -> RawDataset:
    """MovieLens 1M: `ratings.dat`, `movies.dat`, `users.dat`, the latter two in Latin-1.

    `age` and `occupation` are codes that the data set's README explains.
    Arguments and errors as in `read_100k`; there are no folds.
    """
    _refuse_fold(name, fold)
    users, movies = found.require("users.dat"), found.require("movies.dat")
    return _dataset(
        name,
        [found.require("ratings.dat")],
        _COLONS,
        scale,
        users=columns.read_table(users, _USERS_1M),
        items=_movies(movies, _MOVIES_1M),
        also_read=[users, movies],
    )


def read_10m(
    name: str, found: files.Files, scale: layouts.RatingScale, fold: str | None
) -> RawDataset:
    """MovieLens 10M: `ratings.dat`, `movies.dat` in UTF-8; no fields of users, no folds."""
    return _without_users(name, found, scale, fold, "dat", _COLONS, _MOVIES_10M)


def read_csv(
    name: str, found: files.Files, scale: layouts.RatingScale, fold: str | None
) -> RawDataset:
    """MovieLens 20M, 25M, latest, latest-small: `ratings.csv`, `movies.csv`; no folds."""
    return _without_users(name, found, scale, fold, "csv", _CSV, _MOVIES_CSV)


def _without_users(
    name: str,
    found: files.Files,
    scale: layouts.RatingScale,
    fold: str | None,
    suffix: str,
    ratings: layouts.Layout,
    movies: layouts.Layout,
) -> RawDataset:
    _refuse_fold(name, fold)
    ratings_file = found.require(f"ratings.{suffix}")
    movies_file = found.require(f"movies.{suffix}")
    return _dataset(
        name,
        [ratings_file],
        ratings,
        scale,
        users=pandas.DataFrame({"user": pandas.Series([], dtype="str")}),
        items=_movies(movies_file, movies),
        also_read=[movies_file],
    )


def _dataset(
    name: str,
    ratings: list[files.TextFile],
    layout: layouts.Layout,
    scale: layouts.RatingScale,
    users: pandas.DataFrame,
    items: pandas.DataFrame,
    also_read: list[files.TextFile],
) -> RawDataset:
    """Makes the data set; two files of ratings are a fold: training, then test."""

    def chunks() -> Iterator[pandas.DataFrame]:
        for part, file in enumerate(ratings):
            for frame in columns.read_ratings(file, layout, scale):
                yield frame.assign(test=part == 1) if len(ratings) == 2 else frame

    return RawDataset(
        name=name,
        chunks=chunks,
        users=users,
        items=items,
        fingerprint=files.fingerprint([*ratings, *also_read]),
        rating_min=scale.minimum,
        rating_max=scale.maximum,
        rating_step=scale.step,
        has_times=True,
        kinds={name: kind for name, kind in _KINDS.items() if name in users or name in items},
        locate=rating_locator.locator(ratings, header=bool(layout.header)),
    )


def _movies(file: files.TextFile, layout: layouts.Layout) -> pandas.DataFrame:
    movies = columns.read_table(file, layout)
    movies["genres"] = movies["genres"].replace("(no genres listed)", "")
    return _with_year(movies)


def _movies_100k(file: files.TextFile, genres: list[str]) -> pandas.DataFrame:
    """`u.item`: five fields, then a 0/1 flag for each genre of `u.genre`."""
    head = ("item", "title", "release_date", "video_date", "url")
    table = columns.read_table(file, layouts.Layout((*head, *genres), "|", "latin-1"))
    flags = (table[genres] == "1").to_numpy()
    names = numpy.array(genres, object)
    table["genres"] = ["|".join(names[row]) for row in flags]
    return _with_year(table[["item", "title", "genres"]])


def _with_year(movies: pandas.DataFrame) -> pandas.DataFrame:
    return movies.assign(year=movies["title"].str.extract(_YEAR, expand=False).fillna(""))


def _refuse_fold(name: str, fold: str | None) -> None:
    if fold is not None:
        raise ValueError(
            f"--data fold={fold}: {name} comes without folds (ml-100k and netflix have some); "
            "use another split, such as --split=random"
        )
