"""The one training loop: every model, one device or many.

`model.train_step` on all replicas over a distributed dataset, Keras' own callbacks beside it.
Keras' `fit` is not used because it fails with several workers and is fragile under replicas;
it still works for whoever builds on a model.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf
from tqdm import tqdm

from tfrec import ranking
from tfrec.config import TrainConfig
from tfrec.models.base import Recommender
from tfrec.training import lbfgs, optimizers, strategies

MakeDataset = Callable[[int], tf.data.Dataset]  # epoch -> batches


@dataclasses.dataclass
class Progress:
    """Where a run stands; saved after each epoch so that --resume goes on exactly there."""

    epoch: int = 0  # finished epochs
    best_epoch: int = 0
    best: float | None = None
    stale: int = 0  # epochs since the best
    seconds: float = 0.0
    metrics: dict = dataclasses.field(default_factory=dict)  # validation of the best epoch


def steps(function: Callable, dataset) -> Iterator:
    """Yields `function(iterator)` until the dataset ends."""
    iterator = iter(dataset)
    while True:
        try:
            yield function(iterator)
        except tf.errors.OutOfRangeError:
            return


class Trainer:
    """Trains one model; a run makes one for each model it trains.

    Args:
        model: A built model, made under `strategy.scope()`.
        strategy: Any strategy.
        config: Training numbers.
    """

    def __init__(self, model: Recommender, strategy: tf.distribute.Strategy, config: TrainConfig):
        self.model, self.strategy, self.config = model, strategy, config
        with strategy.scope():
            optimizer = optimizers.make(config, model)
            # Keras wants an optimizer to compile; lbfgs never uses it.
            model.compile(optimizer=optimizer or "sgd")
            if not model.closed_form:
                model.optimizer.build(model.trainable_variables)
        self._full_batch = lbfgs.FullBatch(model, strategy, ())  # traced once for all epochs
        self._train = tf.function(
            lambda batches: strategies.run_on_next(strategy, model.train_step, batches)
        )

    def epoch(
        self, dataset: tf.data.Dataset, epoch: int, rows: tf.data.Dataset | None = None
    ) -> dict[str, float]:
        """One pass over `dataset`; returns the training logs.

        Args:
            dataset: Training batches.
            epoch: From 0.
            rows: All training rows for the model's `begin_epoch`; default `dataset`.
        """
        self.model.reset_metrics()
        if self.model.closed_form:
            self.model.fit(dataset)
            return {}
        self.model.begin_epoch(epoch, dataset if rows is None else rows)
        bar = tqdm(desc=f"epoch {epoch + 1}", unit=" steps", leave=False, disable=None)
        with bar:
            if self.config.optimizer == "lbfgs":
                self._full_batch.dataset = self._distribute(dataset)
                loss = lbfgs.epoch(self._full_batch, self.config.iterations, bar.update)
                return {"loss": loss}
            self.model.optimizer.learning_rate = optimizers.learning_rate(self.config, epoch)
            logs: dict = {}
            for step_logs in steps(self._train, self._distribute(dataset)):
                logs = step_logs
                bar.update()
        if not logs:
            raise ValueError("not one training batch: the training rows are fewer than replicas")
        return {k: self._mean(v) for k, v in logs.items()}

    def _distribute(self, dataset):
        return self.strategy.experimental_distribute_dataset(dataset)

    def _mean(self, value) -> float:
        return float(self.strategy.reduce("MEAN", value, axis=None))

    def fit(
        self,
        make_train: MakeDataset,
        validate: Callable[[], dict[str, float]] | None,
        *,
        make_rows: Callable[[], tf.data.Dataset] | None = None,
        monitor: str = "",
        higher_is_better: bool = False,
        callbacks: list[keras.callbacks.Callback] = (),
        progress: Progress | None = None,
        on_best: Callable[[], None] = lambda: None,
        on_epoch: Callable[[Progress], None] = lambda progress: None,
    ) -> Progress:
        """Trains until the epochs are through or validation stops getting better.

        Args:
            make_train: Epoch (from 0) -> training batches in that epoch's order.
            validate: Measures the model; None trains without, and the last epoch is best.
            make_rows: All training rows, of which `make_train` may leave out a remainder: what
                the model's `begin_epoch` sees. Default: the batches of the epoch.
            monitor: Metric of `validate` that picks the best epoch.
            higher_is_better: Of `monitor`.
            callbacks: Keras callbacks; logs have `val_` before validation's names, and the
                `seconds` and `cpu_seconds` of the epoch without its validation.
            progress: Where to go on from.
            on_best: Called when the model is the best so far.
            on_epoch: Called at the end of each epoch, after `on_best`.
        """
        progress = progress or Progress()
        epochs = 1 if self.model.closed_form else self.config.epochs
        listeners = keras.callbacks.CallbackList(list(callbacks), model=self.model, epochs=epochs)
        rows = make_rows() if make_rows else None
        self.model.stop_training = False
        listeners.on_train_begin()
        while progress.epoch < epochs and not self._stale(progress):
            epoch, start, cpu = progress.epoch, time.perf_counter(), time.process_time()
            listeners.on_epoch_begin(epoch)
            logs = self.epoch(make_train(epoch), epoch, rows)
            _refuse_not_finite(logs, epoch)
            spent = {"seconds": time.perf_counter() - start}
            spent["cpu_seconds"] = time.process_time() - cpu
            progress.epoch += 1
            due = progress.epoch % self.config.validate_every == 0 or progress.epoch == epochs
            with self._averaged():
                measured = validate() if due and validate else {}
                progress.seconds += time.perf_counter() - start
                if due and self._is_best(progress, measured, monitor, higher_is_better):
                    progress.best_epoch, progress.stale = progress.epoch, 0
                    progress.metrics = measured
                    on_best()
                elif due:
                    progress.stale += self.config.validate_every
            logs |= {f"val_{k}": v for k, v in measured.items()}
            listeners.on_epoch_end(epoch, logs | spent)
            on_epoch(progress)
            if self.model.stop_training:
                break
        listeners.on_train_end()
        self._take_average()
        return progress

    def _take_average(self) -> None:
        """Puts the moving average in the weights' place, where the run asks for one."""
        if self.config.average and not self.model.closed_form:
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The moving average for a while; training goes on from the weights themselves."""
        weights = self.model.trainable_variables if self.config.average else []
        trained = [weight.numpy() for weight in weights]
        self._take_average()
        yield
        for weight, value in zip(weights, trained, strict=True):
            weight.assign(value)

    def _stale(self, progress: Progress) -> bool:
        return 0 < self.config.patience <= progress.stale

    @staticmethod
    def _is_best(progress: Progress, measured: dict, monitor: str, higher: bool) -> bool:
        """Whether this epoch beats all before; notes its value."""
        if not measured:
            return True
        if monitor not in measured:
            raise ValueError(
                f"--train monitor={monitor} is not measured; known: " + ", ".join(measured)
            )
        value, best = measured[monitor], progress.best
        if value != value:
            raise ValueError(f"validation {monitor} is not a number: lower the learning rate")
        if best is None or (value > best if higher else value < best):
            progress.best = value
            return True
        return False


def _refuse_not_finite(logs: dict[str, float], epoch: int) -> None:
    """Stops a run that can only go on in vain."""
    for name, value in logs.items():
        if not math.isfinite(value):
            raise ValueError(
                f"training {name} is {value} in epoch {epoch + 1}: lower --train learning_rate, "
                "or bound the gradients with --train clip_norm=1"
            )


def make_evaluator(
    model: Recommender, strategy: tf.distribute.Strategy
) -> Callable[[tf.data.Dataset, object], dict[str, float]]:
    """Makes `evaluate(dataset, report) -> report.result()`, compiled once for many calls.

    Replicas share the rows. Workers do not: each measures all of them, because all must see
    the same numbers, or they would stop at different epochs.
    """
    alone = strategies.is_multiworker(strategy)

    @tf.function
    def step(batches, depth, keep):
        def on_replica(batch):
            features, targets = batch
            scores = model.score(features)
            if keep:
                scores = keep(features, targets, scores)
            if depth:
                _, scores = ranking.top_k(ranking.checked(scores), features["items"], depth)
            return features, targets, scores

        return strategies.run_on_next(strategy, on_replica, batches)

    def evaluate(dataset: tf.data.Dataset, report) -> dict[str, float]:
        batches = dataset if alone else strategy.experimental_distribute_dataset(dataset)
        for result in steps(lambda iterator: step(iterator, report.depth, report.keep), batches):
            parts = list(_replicas(strategy, result))
            for features, targets, scores in parts[:1] if alone else parts:
                report.update(features, targets, scores)
        return report.result()

    return evaluate


def _replicas(strategy: tf.distribute.Strategy, result) -> Iterator[tuple]:
    """Splits a result of `strategy.run` into one nest a replica of this worker."""
    flat = [strategy.experimental_local_results(x) for x in tf.nest.flatten(result)]
    for leaves in zip(*flat, strict=True):
        yield tf.nest.pack_sequence_as(result, leaves)
