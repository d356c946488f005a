"""`--train jit_compile`: a training step that XLA compiles."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfrec.models.base import Recommender

# What XLA, or tracing for it, raises where something cannot be compiled.
_REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.FailedPreconditionError,
)


def training_step(model: Recommender, strategy: tf.distribute.Strategy) -> Callable[[Any], dict]:
    """The model's `train_step`, compiled for each batch shape.

    Args:
        model: A model.
        strategy: A strategy of one device: replicas cannot exchange gradients in compiled code.

    Raises:
        ValueError: the strategy has several replicas.
    """
    if strategy.num_replicas_in_sync > 1 or strategy is not tf.distribute.get_strategy():
        raise ValueError(
            "--train jit_compile=true is for one device: leave it out, or use --strategy=one"
        )
    return tf.function(model.train_step, jit_compile=True, autograph=False)


def naming_model(function: Callable[..., Any], model: Recommender) -> Callable[..., Any]:
    """Wraps `function` so that its compilation errors name the model and the cure.

    Args:
        function: Calls the result of `training_step`.
        model: The model of that step.

    Raises:
        ValueError: raised by the wrapped function where XLA cannot compile the step.
    """

    @functools.wraps(function)
    def naming(*args: Any) -> Any:
        try:
            return function(*args)
        except _REFUSALS as error:
            reason = next(filter(None, str(error.message).splitlines()), "")
            raise ValueError(
                f"--train jit_compile=true: the training step of {type(model).__name__} cannot be "
                f"compiled by XLA ({reason[:200]}); leave it out"
            ) from error

    return naming
