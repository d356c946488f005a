"""The learning rate of every step: a warm-up, then a schedule, and the factors of decay epochs.

It is a function of the settings and the number of the step alone, so that a run resumed within an
epoch has the same rates as an uninterrupted one. Keras' schedules count the optimizer's updates
instead, of which some models make several in a step.
"""

import math

import numpy as np

from tfrec.config import TrainConfig


def rates(config: TrainConfig, epoch: int, first: int, n: int, steps: int) -> np.ndarray:
    """The learning rates of some steps of an epoch, float32 `[n]`.

    Args:
        config: Training settings.
        epoch: From 0.
        first: The first step's number within the epoch, from 0.
        n: Number of steps.
        steps: Steps of an epoch; below 0 where unknown. Further steps have the rate of the last.

    Raises:
        ValueError: the settings need the number of steps, and it is unknown.
    """
    passed = sum(epoch >= e for e in config.decay_epochs)
    rate = config.learning_rate * config.decay_factor**passed
    if config.schedule == "constant" and not (config.warmup_steps or config.warmup_epochs):
        return np.full(n, rate, np.float32)
    if steps < 0:
        raise ValueError(
            f"--train schedule={config.schedule} and warm-ups need to know how many batches "
            "an epoch has: give the dataset a cardinality (tf.data.experimental."
            "assert_cardinality)"
        )
    numbers = epoch * steps + np.minimum(np.arange(first, first + n), steps - 1)
    factors = [factor(config, int(step), steps) for step in numbers]
    return np.array([rate * f for f in factors], np.float32)


def factor(config: TrainConfig, step: int, steps: int) -> float:
    """The factor of the learning rate, from 0 to 1.

    It is w / W in step w of a warm-up of W steps; after it 1, 1 - p or (1 + cos(pi p)) / 2, where p
    is the share of the remaining steps that has been taken.

    Args:
        config: Training settings.
        step: Number of the step within the run, from 0.
        steps: Steps of an epoch.
    """
    warmup = config.warmup_steps or round(config.warmup_epochs * steps)
    if step < warmup:
        return (step + 1) / warmup
    total = (config.schedule_epochs or config.epochs) * steps
    past = min(1.0, (step - warmup) / max(1, total - warmup))
    if config.schedule == "linear":
        return 1 - past
    return (1 + math.cos(math.pi * past)) / 2 if config.schedule == "cosine" else 1.0
