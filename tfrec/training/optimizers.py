"""Optimizers by name."""

from collections.abc import Callable
from typing import Any

import keras

from tfrec.config import TrainConfig
from tfrec.layers import gathered
from tfrec.models import clipping
from tfrec.models.base import Recommender

OPTIMIZERS: dict[str, Callable[[TrainConfig, dict], keras.Optimizer]] = {
    "adam": lambda c, k: clipping.Adam(c.learning_rate, **_moments(c), **k),
    "adamw": lambda c, k: clipping.AdamW(c.learning_rate, **_moments(c), **k),
    "sgd": lambda c, k: clipping.SGD(c.learning_rate, momentum=c.momentum, **k),
    "rmsprop": lambda c, k: clipping.RMSprop(c.learning_rate, **k),
    "adagrad": lambda c, k: clipping.Adagrad(c.learning_rate, **k),
}


BY_ROWS: dict[str, Callable[[Any], bool]] = {
    "auto": gathered.is_large,
    "rows": lambda variable: True,
    "dense": lambda variable: False,
}
"""Which tables are updated by rows, by `embedding_updates`."""


def make(config: TrainConfig, model: Recommender) -> keras.Optimizer:
    """The optimizer of `config` for `model`.

    Args:
        config: Training settings.
        model: Its `undecayed` weights are excluded from weight decay.
    """
    extra: dict = {}
    if config.weight_decay:
        extra["weight_decay"] = config.weight_decay
    if config.clip_norm:
        extra["global_clipnorm"] = config.clip_norm
    if config.average:
        extra |= {"use_ema": True, "ema_momentum": config.average}
    optimizer = OPTIMIZERS[config.optimizer](config, extra)
    if not (config.jit_compile and config.embedding_updates == "auto"):  # XLA has no `unique`
        optimizer.by_rows = BY_ROWS[config.embedding_updates]
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=model.undecayed)
    if not config.jit_compile:  # XLA cannot compile the norm of sparse gradients
        model.log_gradient_norm(optimizer)
    return clipping.LossScale(optimizer) if config.precision == "float16" else optimizer


def _moments(config: TrainConfig) -> dict[str, float]:
    """Further arguments of Adam and AdamW."""
    return {"beta_1": config.beta_1, "beta_2": config.beta_2, "epsilon": config.epsilon}
