"""Warm start and the test set: no evaluation on ratings that an earlier run was trained on."""

import numpy as np

from tfrec.data import training_pairs
from tfrec.schema import DatasetInfo
from tfrec.training.runs import RunDir


def check(data_dir: str, info: DatasetInfo, earlier: str) -> str:
    """Refuses a warm start from a run that was trained on test ratings, itself or by its own start.

    Args:
        data_dir: Prepared data of the new run.
        info: Its info.
        earlier: The run to start from.

    Returns:
        A note about validation, or "".

    Raises:
        ValueError: the earlier run was trained on test ratings.
    """
    if not info.has_ids:  # rows of a log without user or item ids
        return ""
    counts = dict.fromkeys(("validation", "test"), 0)
    held_out = {part: _held_out(data_dir, info, part) for part in counts}
    while earlier:
        run = RunDir(earlier)
        config, old_dir = run.config(), run.data_dir()
        split = "train+validation" if config.train.refit else "train"
        known = training_pairs.trained_on(old_dir, run.info(), data_dir, info, split)
        for part, codes in held_out.items():
            counts[part] = max(counts[part], int(np.isin(codes, known).sum()))
        if counts["test"]:
            raise ValueError(
                f"--warm_start={earlier} was trained on {counts['test']:,} of the "
                f"{len(held_out['test']):,} test ratings here, so the test would measure what it "
                "has memorized: prepare the data with --split=time, whose test is later than the "
                "training data of the earlier run, or leave out --warm_start"
            )
        earlier = config.warm_start
    if not counts["validation"]:
        return ""
    return (
        f"{counts['validation']:,} of {len(held_out['validation']):,} validation ratings were "
        "training ratings of an earlier run: validation is too optimistic"
    )


def _held_out(data_dir: str, info: DatasetInfo, part: str) -> np.ndarray:
    """The held-out ratings of a part, as `training_pairs.codes`."""
    if not info.n_ratings.get(part):
        return np.zeros(0, np.int64)
    return training_pairs.codes(training_pairs.pairs(data_dir, info, part), info)
