"""The protocol of a prepared data set: checks settings against the source, and describes both."""

from tfrec.config import DataConfig
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.schema import DatasetInfo
from tfrec.split_rules import GivenFiles

_BY_IDS = (  # rows without users and items allow only the default of each
    *("split", "law", "rows", "min_user_ratings", "max_user_ratings", "min_item_ratings", "core"),
    *("duplicates", "missing", "min_rating", "drop_rating", "label_above", "title_vectors"),
)


def check_source(config: DataConfig, raw: RawDataset) -> None:
    """Refuses settings that do not fit this data set, before its ratings are read.

    Args:
        config: The settings.
        raw: The raw data set; `has_times` and `has_ids` are used.

    Raises:
        ValueError: naming the flag and the cure.
    """
    if not raw.has_ids:
        _check_without_ids(config, raw)
    if config.rule.needs_times and not raw.has_times:
        raise ValueError(
            f"--data split={config.split} needs times, but {raw.name} has none; use --data "
            "split=random, or split=users with fold_in=random"
        )


def _check_without_ids(config: DataConfig, raw: RawDataset) -> None:
    """Refuses settings that need users, items or ratings."""
    for name in _BY_IDS:
        value, only = getattr(config, name), getattr(DataConfig(), name)
        if value != only:
            raise ValueError(
                f"--data {name}={value}: {raw.name} is rows of fields, with a label and without "
                f"users, items and ratings; leave it out, only {name}={only} is for such rows"
            )


def describe(config: DataConfig, raw: RawDataset) -> str:
    """The protocol in one sentence, to be printed with every number measured on it.

    Args:
        config: The settings.
        raw: The raw data set; `name`, `has_ids` and `brings_validation` are used.
    """
    rule = config.rule
    if isinstance(rule, GivenFiles):
        sentence = rule.describe(raw.brings_validation)
    else:
        sentence = rule.describe()
    if not raw.has_ids:  # these allow only a random split
        sentence = sentence.replace("by rating", "by row")
    rows = [f"rows by {config.rows}"] if raw.has_ids else []
    return ", ".join([f"{raw.name}, {sentence}", *_filters(config), *rows])


def ignored_values(info: DatasetInfo) -> str:
    """The addition to the protocol of a model that ignores the values of interactions.

    Empty where all values are equal, so that there is nothing to ignore.
    """
    low, high = info.rating_min, info.rating_max
    if low == high or info.rating_mean in (low, high):
        return ""
    return f"; values ({low:g} to {high:g}) ignored"


_DUPLICATES = {
    "first": "first of duplicates kept",
    "last": "last of duplicates kept",
    "sum": "duplicates summed",
    "count": "duplicates counted",
}


def _filters(c: DataConfig) -> list[str]:
    """Descriptions of the filters in use."""
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
        kept.append(_DUPLICATES[c.duplicates])
    if c.missing != "error":
        kept.append("rows without ids left out")
    return kept
