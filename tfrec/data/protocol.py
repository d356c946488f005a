"""The protocol of a prepared data set: checked before work starts, and put in one sentence."""

import datetime

from tfrec.config import DataConfig, from_dict, known_names, to_dict
from tfrec.data import splits
from tfrec.datasets.raw_dataset import RawDataset

_KNOWN = {
    "split": tuple(splits.SPLITS),
    "rows": ("user", "item"),
    "fold_in": ("random", "time"),
    "duplicates": ("error", "first", "last"),
}

_BY_IDS = (  # the default of each is what rows without users and items allow
    *("split", "rows", "min_user_ratings", "max_user_ratings", "min_item_ratings", "core"),
    *("duplicates", "min_rating", "drop_rating", "label_above", "title_vectors"),
)


def check(config: DataConfig) -> None:
    """Refuses settings that cannot work with any data set; needs none, so it comes first.

    Raises:
        ValueError: naming the flag and the cure.
    """
    for name, known in _KNOWN.items():
        value = getattr(config, name)
        if value not in known:
            raise ValueError(f"--data {name}={value}: " + known_names(value, known))
    if config.rows == "item" and config.split in ("users", "last"):
        raise ValueError(
            f"--data rows=item cannot go with split={config.split}, which holds out users' "
            "ratings row by row; use --data rows=user, or split=random, folds or time"
        )
    if from_dict(DataConfig, to_dict(config)) != config:  # 0 is read as none
        raise ValueError(
            f"--data min_rating={config.min_rating:g} drop_rating={config.drop_rating:g} "
            f"label_above={config.label_above:g}: all three together can not hold this 0, which "
            "stands for none in files of older versions; leave it out, or write min_rating=-0.001"
        )
    for name in ("test", "validation"):
        _check_size(config.split, name, getattr(config, name))
    for name in splits.DAYS:
        _check_day(config.split, name, getattr(config, name))


def check_source(config: DataConfig, raw: RawDataset) -> None:
    """Refuses settings that cannot work with this data set, before its ratings are read.

    Args:
        config: The settings.
        raw: The raw data set; `has_times` and `has_ids` are used.

    Raises:
        ValueError: naming the flag and the cure.
    """
    if not raw.has_ids:
        _check_without_ids(config, raw)
    by_time = config.split in ("time", "month", "last")
    by_time = by_time or (config.split == "users" and config.fold_in == "time")
    if by_time and not raw.has_times:
        raise ValueError(
            f"--data split={config.split} goes by time, but {raw.name} has no times; use --data "
            "split=random, or split=users with fold_in=random"
        )


def _check_without_ids(config: DataConfig, raw: RawDataset) -> None:
    """Refuses whatever goes by users, by items or by how much they are rated."""
    for name in _BY_IDS:
        value, only = getattr(config, name), getattr(DataConfig(), name)
        if value != only:
            raise ValueError(
                f"--data {name}={value}: {raw.name} is rows of fields, with a label and without "
                f"users, items and ratings; leave it out, only {name}={only} is for such rows"
            )


_SIZES = {
    ("random", "test"): "a share below 1",
    ("random", "validation"): "a share below 1",
    ("folds", "validation"): "a share below 1",
    ("time", "test"): "a share below 1",
    ("time", "validation"): "a share up to 1",
    ("users", "test"): "a number of users or a share below 1",
    ("users", "validation"): "a number of users or a share below 1",
}
_GOOD_SIZE = {
    "a share below 1": lambda n: n < 1,
    "a share up to 1": lambda n: n <= 1,
    "a number of users or a share below 1": lambda n: n < 1 or n == int(n),
}


def _check_size(split: str, name: str, n: float) -> None:
    must_be = _SIZES.get((split, name))
    if must_be and not _GOOD_SIZE[must_be](n):
        raise ValueError(f"--data {name}={n:g}: with split={split} it must be {must_be}")


def _check_day(split: str, name: str, day: str) -> None:
    if day and split != "time":
        raise ValueError(f"--data {name}={day} is for --split=time; leave it out")
    try:
        datetime.date.fromisoformat(day or "2000-01-01")
    except ValueError:
        raise ValueError(f"--data {name}={day} is no day; write it as 2005-12-01") from None


def describe(config: DataConfig, raw: RawDataset) -> str:
    """The protocol in one sentence, to stand beside every number measured on it.

    Args:
        config: The settings.
        raw: The raw data set; `name`, `has_ids` and `brings_validation` are used.
    """
    if not raw.has_ids:  # only a random split is left to these
        sentence = _random(config).replace("by rating", "by row")
        return ", ".join([f"{raw.name}, {sentence}", *_filters(config)])
    sentence = _SENTENCES[config.split](config)
    if config.split == "folds" and raw.brings_validation:
        sentence = f"{_fold(config)} with its own validation"
    parts = [f"{raw.name}, {sentence}", *_filters(config)]
    return ", ".join([*parts, f"rows by {config.rows}"])


def _random(c: DataConfig) -> str:
    cut = f"random {100 - 100 * c.test:g}/{100 * c.test:g} by rating"
    return f"{cut} (seed {c.seed}), {_share(c.validation, 'of train')}"


def _fold(c: DataConfig) -> str:
    return "parts as given" if c.fold == "given" else f"shipped fold {c.fold}"


def _folds(c: DataConfig) -> str:
    return f"{_fold(c)}, {_share(c.validation, 'of train')} (seed {c.seed})"


def _time(c: DataConfig) -> str:
    window = (
        f"ratings since {c.test_since}" if c.test_since else f"latest {100 * c.test:g} % by time"
    )
    held_out = f"{window} held out (users and items known in train)"
    within = "".join(f", {n} {day}" for n in ("since", "until") if (day := getattr(c, n)))
    return f"{held_out}{within}, {_share(c.validation, 'of them')} (seed {c.seed})"


def _month(c: DataConfig) -> str:
    before = "the month before validation" if c.validation > 0 else "no validation"
    return f"latest calendar month test, {before} (users and items known in train)"


def _users(c: DataConfig) -> str:
    def people(n: float) -> str:
        return f"{n:g}" if n >= 1 else f"{100 * n:g} % of the users"

    first = "earliest" if c.fold_in == "time" else "random"
    return (
        f"held-out users (seed {c.seed}): {people(c.test)} test, {people(c.validation)} "
        f"validation, {first} {100 * c.fold_in_share:g} % of each as input"
    )


def _last(c: DataConfig) -> str:
    before = ", last but one validation" if c.validation > 0 else ", no validation"
    return f"leave-one-out by time: last rating of each user test{before}"


_SENTENCES = {
    "random": _random,
    "folds": _folds,
    "time": _time,
    "month": _month,
    "users": _users,
    "last": _last,
}


def _share(share: float, of_what: str) -> str:
    return f"validation {100 * share:g} % {of_what}" if share else "no validation"


def _filters(c: DataConfig) -> list[str]:
    """The filters in use, in words."""
    kept = []
    if c.min_rating is not None:
        kept.append(f"ratings >= {c.min_rating:g}")
    if c.drop_rating is not None:
        kept.append(f"ratings of {c.drop_rating:g} left out")
    if c.label_above is not None:
        kept.append(f"label 1 for ratings > {c.label_above:g}, else 0")
    if c.min_user_ratings:
        kept.append(f"users with >= {c.min_user_ratings} ratings")
    if c.max_user_ratings:
        kept.append(f"users with <= {c.max_user_ratings} ratings")
    if c.min_item_ratings:
        kept.append(f"items with >= {c.min_item_ratings} ratings")
    if c.core and (c.min_user_ratings or c.min_item_ratings):
        kept.append("counts repeated (core)")
    if c.min_category > 1:
        kept.append(f"events' categories with >= {c.min_category} rows in train")
    if c.duplicates != "error":
        kept.append(f"{c.duplicates} of duplicates kept")
    return kept
