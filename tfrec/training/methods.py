"""Training methods: steps of an optimizer, L-BFGS, or a solution in closed form.

A method compiles a model, and passes over the training rows once an epoch.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import TrainConfig
from tfrec.models.base import Recommender
from tfrec.models.capabilities import Resumable
from tfrec.training import compiled, lbfgs, meter, optimizers, schedules, strategies


@dataclasses.dataclass
class Watch:
    """The progress of an epoch; the listener is called after each step, and may save or stop.

    Attributes:
        listener: Called after each step.
        done: Steps of this epoch that were taken. Where it starts above 0, an interrupted epoch
            is resumed, and model and optimizer have been restored.
        logs: The training logs after them: floats, or results of `strategy.run`.
        skipped: Number of these steps that were undone, because a number was not finite.
        own: The saved arrays of a `Resumable` model.
        save_own: Returns the arrays that it would save now.
        room: How many steps may be taken before the listener must be called.
    """

    listener: Callable[["Watch"], object] = lambda watch: None
    done: int = 0
    logs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    skipped: int = 0
    own: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    save_own: Callable[[], Mapping[str, np.ndarray]] = dict
    room: Callable[["Watch"], int] = lambda watch: 1

    def step(self, logs: Mapping[str, Any], taken: int = 1) -> None:
        """Counts a step, or several that were taken in one call."""
        self.done, self.logs = self.done + taken, logs
        self.listener(self)

    def own_step(self, save: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Counts a step of a `Resumable` model's own `fit`."""
        self.save_own = save
        self.step({})


class Method:
    """Base class of the training methods.

    Args:
        model: A built model, created under `strategy.scope()`.
        strategy: Any strategy.
        train: Training settings.

    Attributes:
        whole: Whether an epoch needs all rows, in any order; else batches are shuffled for the
            epoch, and a smaller last one is dropped.
        resumable: Whether an interrupted epoch can be resumed, instead of starting over.
    """

    whole: ClassVar[bool] = True
    resumable: bool = False

    def __init__(self, model: Recommender, strategy: tf.distribute.Strategy, train: TrainConfig):
        self.model, self.strategy, self.train = model, strategy, train
        with strategy.scope():
            self.compile()

    @property
    def epochs(self) -> int:
        """Maximum number of epochs."""
        return self.train.epochs

    def compile(self) -> None:
        """Compiles the model with its optimizer."""
        self.model.compile(optimizers.make(self.train, self.model))

    def epoch(
        self, dataset: tf.data.Dataset, epoch: int, rows: tf.data.Dataset, watch: Watch
    ) -> dict[str, float]:
        """Passes over the rows once; returns the training logs.

        Args:
            dataset: Training batches.
            epoch: From 0.
            rows: All training rows, for the model's `begin_epoch`.
            watch: Counts the steps; where it starts above 0, an interrupted epoch is resumed.
        """
        raise NotImplementedError

    def pace(self, seconds: float) -> dict[str, float]:
        """Additional logs of an epoch, such as its throughput.

        Args:
            seconds: Duration of the epoch.
        """
        return {}


class ClosedForm(Method):
    """The model's own `fit`, which solves for the weights in one pass."""

    @property
    def resumable(self) -> bool:  # type: ignore[override]
        return isinstance(self.model, Resumable)

    @property
    def epochs(self) -> int:
        return 1

    def epoch(
        self, dataset: tf.data.Dataset, epoch: int, rows: tf.data.Dataset, watch: Watch
    ) -> dict[str, float]:
        if isinstance(self.model, Resumable):
            self.model.fit(dataset, saved=watch.own, step=watch.own_step)
        else:
            self.model.fit(dataset)
        return {}


class Steps(Method):
    """One optimizer step for each batch; a call of the graph takes one step, or several."""

    whole = False
    resumable = True

    def __init__(self, model: Recommender, strategy: tf.distribute.Strategy, train: TrainConfig):
        super().__init__(model, strategy, train)
        self._meter = meter.Meter(strategy, timed=not train.deterministic)
        self._rate: np.float32 | None = None  # current learning rate of the optimizer
        skips = train.on_nan == "skip"
        alone = skips or strategies.is_multiworker(strategy)
        self._most = 1 if alone else train.steps_per_call
        self._train_step: Callable[[Any], dict] = model.train_step
        self._take: Callable[..., tuple[int, dict, tf.Tensor | None]] = self._called
        if train.jit_compile:
            self._train_step = compiled.training_step(model, strategy)
        self._step = tf.function(self._guarded if skips else self._plain, autograph=False)
        self._call = tf.function(self._several, autograph=False)
        if train.jit_compile:
            self._take = compiled.naming_model(self._called, model)

    def compile(self) -> None:
        super().compile()
        self.model.optimizer.build(self.model.trainable_variables)

    def epoch(
        self, dataset: tf.data.Dataset, epoch: int, rows: tf.data.Dataset, watch: Watch
    ) -> dict[str, float]:
        steps = int(dataset.cardinality())
        if watch.done:
            dataset = dataset.skip(watch.done)
        else:
            self.model.begin_epoch(epoch, rows)
        self._meter.reset()
        distributed = strategies.distribute(self.strategy, dataset)

        def call(batches: Iterator) -> tuple[int, dict, tf.Tensor | None]:
            n = max(1, min(self._most, watch.room(watch), steps - watch.done))
            rates = schedules.rates(self.train, epoch, watch.done, self._most, steps)
            return self._take(batches, rates, n)

        for taken, logs, is_finite in strategies.steps(call, distributed):
            if is_finite is not None and not is_finite:
                watch.skipped, logs = watch.skipped + 1, watch.logs
            watch.step(logs, taken)
        if not watch.done:
            raise ValueError("not one training batch: the training rows are fewer than replicas")
        return self.means(watch.logs)

    def pace(self, seconds: float) -> dict[str, float]:
        """The learning rate, examples per second and the share of time without a batch."""
        found = {
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "examples_per_second": self._meter.examples / seconds,
        }
        if self._meter.timed:
            found["input_wait"] = min(1.0, self._meter.waited / seconds)
        return found

    def _called(
        self, batches: Iterator, rates: np.ndarray, n: int
    ) -> tuple[int, dict, tf.Tensor | None]:
        """Takes `n` steps; returns their number, the logs and whether a guarded step is finite."""
        last, self._rate = self._rate, rates[n - 1]
        if n > 1:
            return n, self._call(batches, tf.constant(rates), tf.constant(n)), None
        if self._rate != last:
            self.model.optimizer.learning_rate = self._rate
        return 1, *self._step(batches)

    def means(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """The mean of the replicas' logs."""
        return {
            name: float(
                value
                if isinstance(value, float)
                else self.strategy.reduce("MEAN", value, axis=None)
            )
            for name, value in logs.items()
        }

    def _plain(self, batches: Iterator) -> tuple[dict, None]:
        """A step; returns its logs."""
        return self._on_next(batches), None

    def _on_next(self, batches: Iterator) -> dict:
        take = self._meter.next
        return strategies.run_on_next(self.strategy, self._train_step, batches, take)

    def _several(self, batches: Iterator, rates: tf.Tensor, n: tf.Tensor) -> dict:
        """`n` steps with the first `n` of `rates`; returns the logs after the last one."""

        def step(i: tf.Tensor, unused: dict) -> tuple[tf.Tensor, dict]:
            self.model.optimizer.learning_rate = rates[i]
            logs, _ = self._step(batches)  # a graph of its own, traced once
            return i + 1, logs

        first = step(tf.constant(0), {})
        return tf.while_loop(lambda i, _: i < n, step, first)[1]

    def _guarded(self, batches: Iterator) -> tuple[dict, tf.Tensor]:
        """A step that is undone where a number is not finite; returns logs and whether all are."""
        before = [tf.convert_to_tensor(variable) for variable in self._variables]
        logs = self._on_next(batches)
        numbers = [self.strategy.reduce("MEAN", value, axis=None) for value in logs.values()]
        numbers += [tf.convert_to_tensor(weight) for weight in self.model.trainable_variables]
        is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(x)) for x in numbers])

        def undo() -> tf.Tensor:
            for variable, value in zip(self._variables, before, strict=True):
                variable.assign(value)
            return is_finite

        return logs, tf.cond(is_finite, lambda: is_finite, undo)

    @functools.cached_property
    def _variables(self) -> list:
        """All variables that a step may change."""
        means = [variable for metric in self.model.metrics for variable in metric.variables]
        return [*self.model.variables, *self.model.optimizer.variables, *means]


class LBFGS(Method):
    """`iterations` iterations of L-BFGS over all rows."""

    def __init__(self, model: Recommender, strategy: tf.distribute.Strategy, train: TrainConfig):
        super().__init__(model, strategy, train)
        self._problem = lbfgs.FullBatch(model, strategy, ())  # traced once for all epochs

    def compile(self) -> None:
        self.model.compile("sgd")  # Keras needs an optimizer, which is not used
        self.model.optimizer.build(self.model.trainable_variables)

    def epoch(
        self, dataset: tf.data.Dataset, epoch: int, rows: tf.data.Dataset, watch: Watch
    ) -> dict[str, float]:
        self.model.begin_epoch(epoch, rows)
        self._problem.dataset = self.strategy.experimental_distribute_dataset(dataset)
        return {"loss": lbfgs.epoch(self._problem, self.train.iterations, lambda: watch.step({}))}


def method(cls: type[Recommender], settings: object, train: TrainConfig) -> type[Method]:
    """The training method of a model.

    Args:
        cls: The model's class.
        settings: Its `Config`.
        train: Training settings.

    Raises:
        ValueError: L-BFGS for a model whose loss it cannot minimize.
    """
    full_batch = train.optimizer == "lbfgs"
    if full_batch and not cls.full_batch(settings):
        raise ValueError(
            f"--train optimizer=lbfgs: {cls.__name__} with these settings cannot be fitted by "
            "L-BFGS, which needs a loss over all rows that draws no random numbers; choose another "
            "--train optimizer, such as adam"
        )
    if cls.closed_form:
        return ClosedForm
    return LBFGS if full_batch else Steps
