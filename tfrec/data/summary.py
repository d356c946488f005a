"""The contents of `info.json`: source, settings and counts of prepared data."""

import hashlib
import json
from typing import Any

import numpy as np

from tfrec import config as configs
from tfrec import schema
from tfrec.config import DataConfig
from tfrec.data import protocol
from tfrec.data.stages import Indexed, Parts, Totals
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.schema import DatasetInfo
from tfrec.split_rules import HISTORY, TEST, VALIDATION


def fingerprint(raw: RawDataset, config: DataConfig) -> str:
    """SHA-256 over the source, the settings and the version of the record format."""
    settings = json.dumps(configs.to_dict(config), sort_keys=True)
    text = "\n".join([raw.fingerprint, settings, str(schema.FORMAT_VERSION)])
    return hashlib.sha256(text.encode()).hexdigest()


def info(indexed: Indexed, counts: np.ndarray, raw: RawDataset, config: DataConfig) -> DatasetInfo:
    """Describes the data that is about to be written.

    Args:
        indexed: As from `stages.index`.
        counts: Ratings by row and part, `[n_rows, 3]`.
        raw: The source.
        config: Settings of preparing.

    Raises:
        ValueError: there is nothing to train on.
    """
    parts = indexed.parts
    kept = parts.kept
    n_users, n_items = len(kept.user_ids), len(kept.item_ids)
    return DatasetInfo(
        **_described(indexed, raw, config),
        **_counted(counts, parts),
        n_users=n_users,
        n_items=n_items,
        sparsity=1 - indexed.totals.n / (n_users * n_items),
        dropped=kept.dropped,
        rating_mean=indexed.totals.mean,
        fields=indexed.fields,
        fingerprint=fingerprint(raw, config),
        format=schema.FORMAT_VERSION,
    )


def _described(indexed: Indexed, raw: RawDataset, config: DataConfig) -> dict[str, Any]:
    """Entries that follow from the source and the settings."""
    parts = indexed.parts
    lowest, highest, step = _scale(indexed.totals, raw, config)
    return {
        "name": raw.name,
        "protocol": "; ".join(filter(None, [protocol.describe(config, raw), parts.note])),
        "rows": config.rows,
        "groups": parts.groups,
        "test_history": parts.test_history,
        "rating_min": lowest,
        "rating_max": highest,
        "rating_step": step,
        "config": configs.to_dict(config),
        "has_ids": raw.has_ids,
    }


def _scale(totals: Totals, raw: RawDataset, config: DataConfig) -> tuple[float, float, float]:
    """Lowest and highest rating, and the step between two."""
    if config.label_above is not None:
        return 0.0, 1.0, 1.0
    if config.duplicates in ("sum", "count"):
        step = 1.0 if config.duplicates == "count" else float(raw.rating_step)
        return totals.lowest, totals.highest, step
    return float(raw.rating_min), float(raw.rating_max), float(raw.rating_step)


def _counted(counts: np.ndarray, parts: Parts) -> dict[str, Any]:
    """Numbers of ratings and rows."""
    group = parts.group
    in_train = group == 0
    n_train = int(counts[in_train, HISTORY].sum())
    if not n_train:
        raise ValueError(
            "the split leaves no training rating; lower --data test and validation, or relax "
            "the filters (min_rating, min_user_ratings, min_item_ratings)"
        )
    by_part = counts.sum(0)
    n_ratings = {
        "train": n_train,
        "validation": int(by_part[VALIDATION]),
        "test": int(by_part[TEST]),
    }
    if len(parts.groups) > 1:
        for code, name in ((VALIDATION, "validation"), (TEST, "test")):
            n_ratings[f"{name}_fold_in"] = int(counts[group == code, HISTORY].sum())
    return {
        "n_ratings": n_ratings,
        "max_history": int(counts[in_train, HISTORY].max()),
        "row_counts": _row_counts(counts, group),
    }


def _row_counts(counts: np.ndarray, group: np.ndarray) -> dict[str, int]:
    """Rows that each split of `inputs` reads: those with a history in training, else targets."""
    history, validation, test = (counts > 0).T
    return {
        "train": int((history & (group == HISTORY)).sum()),
        "train+validation": int(((history | validation) & (group != TEST)).sum()),
        "validation": int(validation.sum()),
        "test": int(test.sum()),
        "all": int((history | validation | test).sum()),
    }
