"""`--train jit_compile`: a training step that XLA compiles."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfrec.models.base import Recommender

# What XLA and the tracing of its functions raise where there is something that can not be compiled.
_REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.FailedPreconditionError,
)


def training_step(model: Recommender, strategy: tf.distribute.Strategy) -> Callable[[Any], dict]:
    """The model's `train_step`, compiled for each shape of a batch.

    Args:
        model: Any.
        strategy: Of one device: replicas can not exchange gradients inside what is compiled.

    Raises:
        ValueError: it has several replicas.
    """
    if strategy.num_replicas_in_sync > 1 or strategy is not tf.distribute.get_strategy():
        raise ValueError(
            "--train jit_compile=true is for one device: leave it out, or use --strategy=one"
        )
    return tf.function(model.train_step, jit_compile=True)


def naming_model(function: Callable[..., Any], model: Recommender) -> Callable[..., Any]:
    """`function`, whose errors of compilation say what to do.

    Args:
        function: Calls what `training_step` gave.
        model: Whose.

    Raises:
        ValueError: from `function`, if XLA can not compile the step.
    """

    @functools.wraps(function)
    def naming(*args: Any) -> Any:
        try:
            return function(*args)
        except _REFUSALS as error:
            reason = next(filter(None, str(error.message).splitlines()), "")
            raise ValueError(
                f"--train jit_compile=true: the training step of {type(model).__name__} can not be "
                f"compiled by XLA ({reason[:200]}); leave it out"
            ) from error

    return naming
