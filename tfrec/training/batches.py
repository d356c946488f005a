"""Batches of prepared data for a model: the only code that chooses the reader."""

import pathlib
from typing import Any

import tensorflow as tf

from tfrec.config import TrainConfig
from tfrec.data import inputs
from tfrec.models import top_items
from tfrec.models.base import Recommender

_ROWS, _EVENTS = 512, 8192  # default batch sizes


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

    An event model is trained on events. Where ranked lists are measured, its held-out parts are
    read as histories: a ranking leaves out what each user has seen.

    Args:
        model: Determines what is read.
        data_dir: Prepared data of the model.
        split: As in `tfrec.data.inputs.histories`.
        batch_size: Rows or events a batch, over all replicas; default 512 rows or 8,192 events.
            Batches of held-out rows are smaller where there are many items, unless lists are made
            by blocks of items.
        shuffle: As in `tfrec.data.inputs.histories`, like all arguments below.
        seed: Seed of the order.
        epoch: Number of the epoch, from 0.
        fill: Pad the last batch in training too.

    Returns:
        Batches of `(features, targets)`.

    Raises:
        ValueError: unknown split, or a split without rows.
    """
    order: dict[str, Any] = {"shuffle": shuffle, "seed": seed, "epoch": epoch, "fill": fill}
    held_out = not split.startswith("train")
    if model.reads == "histories" or (held_out and model.task_object.ranks):
        order |= {"by_length": model.max_items, "times": model.reads_times}
        rows = batch_size or _ROWS
        task = model.task_object
        in_blocks = task.ranks and not task.report.keep and top_items.by_blocks(model)
        if held_out and not in_blocks:
            rows = inputs.rows_to_score(model.info, rows)
        return inputs.histories(data_dir, model.info, split, rows, **order)
    order["context"] = model.context
    return inputs.events(data_dir, model.info, split, batch_size or _EVENTS, **order)


def of_epoch(
    model: Recommender, data_dir: str | pathlib.Path, split: str, train: TrainConfig, epoch: int
) -> tf.data.Dataset:
    """Shuffled training batches of an epoch (from 0); a smaller last batch is dropped."""
    seed, size = train.seed, train.batch_size
    return read(model, data_dir, split, size, shuffle=True, seed=seed, epoch=epoch)


def all_rows(
    model: Recommender, data_dir: str | pathlib.Path, split: str, train: TrainConfig
) -> tf.data.Dataset:
    """All training rows in the order of the files, the last batch padded."""
    return read(model, data_dir, split, train.batch_size, seed=train.seed, fill=True)
