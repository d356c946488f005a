"""How a model's weights are found: by steps of an optimizer, by L-BFGS, or in closed form.

A method makes a model ready (`compile`) and then goes over the training rows once an epoch.
"""

from collections.abc import Callable
from typing import ClassVar

import tensorflow as tf

from tfrec.config import TrainConfig
from tfrec.models.base import Recommender
from tfrec.training import lbfgs, optimizers, strategies

Tick = Callable[[], object]


class Method:
    """Base of the methods.

    Args:
        model: A built model, made under `strategy.scope()`.
        strategy: Any strategy.
        train: Training numbers.

    Attributes:
        whole: Whether an epoch needs all rows, in any order; else batches shuffled for the epoch,
            without a smaller last one.
    """

    whole: ClassVar[bool] = True

    def __init__(self, model: Recommender, strategy: tf.distribute.Strategy, train: TrainConfig):
        self.model, self.strategy, self.train = model, strategy, train
        with strategy.scope():
            self.compile()

    @property
    def epochs(self) -> int:
        """How many there are at most."""
        return self.train.epochs

    def compile(self) -> None:
        """Gives the model its optimizer."""
        self.model.compile(optimizers.make(self.train, self.model))

    def epoch(
        self, dataset: tf.data.Dataset, epoch: int, rows: tf.data.Dataset, tick: Tick
    ) -> dict[str, float]:
        """Goes over the rows once; returns the training logs.

        Args:
            dataset: Training batches.
            epoch: From 0.
            rows: All training rows for the model's `begin_epoch`.
            tick: Called after each step.
        """
        raise NotImplementedError


class ClosedForm(Method):
    """The model's own `fit` solves in one pass."""

    @property
    def epochs(self) -> int:
        return 1

    def epoch(
        self, dataset: tf.data.Dataset, epoch: int, rows: tf.data.Dataset, tick: Tick
    ) -> dict[str, float]:
        self.model.fit(dataset)
        return {}


class Steps(Method):
    """An optimizer's step a batch."""

    whole = False

    def __init__(self, model: Recommender, strategy: tf.distribute.Strategy, train: TrainConfig):
        super().__init__(model, strategy, train)
        self._step = tf.function(
            lambda batches: strategies.run_on_next(strategy, model.train_step, batches)
        )

    def compile(self) -> None:
        super().compile()
        self.model.optimizer.build(self.model.trainable_variables)

    def epoch(
        self, dataset: tf.data.Dataset, epoch: int, rows: tf.data.Dataset, tick: Tick
    ) -> dict[str, float]:
        self.model.begin_epoch(epoch, rows)
        self.model.optimizer.learning_rate = optimizers.learning_rate(self.train, epoch)
        logs: dict = {}
        distributed = self.strategy.experimental_distribute_dataset(dataset)
        for step_logs in strategies.steps(self._step, distributed):
            logs = step_logs
            tick()
        if not logs:
            raise ValueError("not one training batch: the training rows are fewer than replicas")
        return {
            name: float(self.strategy.reduce("MEAN", value, axis=None))
            for name, value in logs.items()
        }


class LBFGS(Method):
    """`iterations` iterations of L-BFGS over all rows."""

    def __init__(self, model: Recommender, strategy: tf.distribute.Strategy, train: TrainConfig):
        super().__init__(model, strategy, train)
        self._problem = lbfgs.FullBatch(model, strategy, ())  # traced once for all epochs

    def compile(self) -> None:
        self.model.compile("sgd")  # Keras wants an optimizer; it takes no step
        self.model.optimizer.build(self.model.trainable_variables)

    def epoch(
        self, dataset: tf.data.Dataset, epoch: int, rows: tf.data.Dataset, tick: Tick
    ) -> dict[str, float]:
        self.model.begin_epoch(epoch, rows)
        self._problem.dataset = self.strategy.experimental_distribute_dataset(dataset)
        return {"loss": lbfgs.epoch(self._problem, self.train.iterations, tick)}


def method(cls: type[Recommender], settings: object, train: TrainConfig) -> type[Method]:
    """The method by which a model is fitted.

    Args:
        cls: The model's class.
        settings: Its `Config`.
        train: Training numbers.

    Raises:
        ValueError: L-BFGS, for a model whose loss it can not minimise.
    """
    full_batch = train.optimizer == "lbfgs"
    if full_batch and not cls.full_batch(settings):
        raise ValueError(
            f"--train optimizer=lbfgs: {cls.__name__} with these settings can not be fitted by "
            "L-BFGS, which needs a loss over all rows that draws no random numbers; choose another "
            "--train optimizer, such as adam"
        )
    if cls.closed_form:
        return ClosedForm
    return LBFGS if full_batch else Steps
