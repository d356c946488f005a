"""Prepared data in batches, as a model reads them: the one place that chooses the reader."""

import pathlib
from typing import Any

import tensorflow as tf

from tfrec.config import TrainConfig
from tfrec.data import inputs
from tfrec.models.base import Recommender

_ROWS, _EVENTS = 512, 8192  # a batch


def read(
    model: Recommender,
    data_dir: str | pathlib.Path,
    split: str,
    batch_size: int | None = None,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    fill: bool = False,
) -> tf.data.Dataset:
    """Batches of `split`: rows as histories, or single events.

    A model of events is trained on events. Where lists are measured, its held-out parts are read as
    histories too: a ranking needs what each user has seen.

    Args:
        model: Says what it reads.
        data_dir: Prepared data that it fits.
        split: As of `tfrec.data.inputs.histories`.
        batch_size: Rows or events a batch, over all replicas; default 512 rows or 8,192 events.
            Held-out rows of a wide catalogue are fewer.
        shuffle: As of `tfrec.data.inputs.histories`, as all below.
        seed: Of the order.
        epoch: Number of the pass.
        fill: Fill the last batch in training too.

    Returns:
        Batches of `(features, targets)`.

    Raises:
        ValueError: unknown split, or it has no rows here.
    """
    order: dict[str, Any] = {"shuffle": shuffle, "seed": seed, "epoch": epoch, "fill": fill}
    held_out = not split.startswith("train")
    if model.reads == "histories" or (held_out and model.task_object.ranks):
        order["by_length"] = model.max_items
        rows = batch_size or _ROWS
        if held_out:
            rows = inputs.rows_to_score(model.info, rows)
        return inputs.histories(data_dir, model.info, split, rows, **order)
    order["context"] = model.context
    return inputs.events(data_dir, model.info, split, batch_size or _EVENTS, **order)


def of_epoch(
    model: Recommender, data_dir: str | pathlib.Path, split: str, train: TrainConfig, epoch: int
) -> tf.data.Dataset:
    """Training batches of an epoch (from 0) in its own order; the last, smaller one is left out."""
    seed, size = train.seed, train.batch_size
    return read(model, data_dir, split, size, shuffle=True, seed=seed, epoch=epoch)


def all_rows(
    model: Recommender, data_dir: str | pathlib.Path, split: str, train: TrainConfig
) -> tf.data.Dataset:
    """All training rows in the order of the files, the last batch filled up."""
    return read(model, data_dir, split, train.batch_size, seed=train.seed, fill=True)
