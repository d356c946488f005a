"""The training loop of every model, on one device or many.

It runs `model.train_step` on all replicas over a distributed dataset, and calls Keras callbacks.
Keras' `fit` is not used because it fails with several workers and is fragile under replicas;
called on a model directly, it still works.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec import interrupts
from tfrec.config import TrainConfig
from tfrec.models.base import Recommender
from tfrec.training import methods, strategies
from tfrec.training.progress import Progress

MakeDataset = Callable[[int], tf.data.Dataset]  # epoch -> batches
Own = Mapping[str, np.ndarray]

LOSS_STEPS = 100  # steps between two checks of the loss
SIGNAL_STEPS = 10  # steps between two exchanges of the workers about signals to stop
EXPLODED = 1e6  # times the loss of the first step: no run recovers from there
CURE = "lower --train learning_rate, or bound the gradients with --train clip_norm=1"


class Trainer:
    """Trains one model; a refit has a trainer of its own.

    Args:
        model: A built model, created under `strategy.scope()`.
        strategy: Any strategy.
        config: Training settings.
        save: Saves the progress, and arrays that the model adds to its state; may raise
            FloatingPointError where a weight is not finite. None: nothing is saved, and SIGINT and
            SIGTERM are not handled.
    """

    def __init__(
        self,
        model: Recommender,
        strategy: tf.distribute.Strategy,
        config: TrainConfig,
        save: Callable[[Progress, Own], None] | None = None,
    ):
        self.model, self.strategy, self.config, self.save = model, strategy, config, save
        self.method = methods.method(type(model), model.config, config)(model, strategy, config)
        self._saved = (time.monotonic(), 0)  # time of the last save, and the steps since
        self._saved_at = ""  # progress of the last saved state
        self._requests = interrupts.Requests()
        self._of_steps: list[keras.callbacks.Callback] = []
        self._n_steps = 0  # steps of the last epoch

    def epoch(
        self,
        dataset: tf.data.Dataset,
        epoch: int,
        rows: tf.data.Dataset | None = None,
        watch: methods.Watch | None = None,
    ) -> dict[str, float]:
        """One pass over `dataset`; returns the training logs.

        Args:
            dataset: Training batches.
            epoch: From 0.
            rows: All training rows, for the model's `begin_epoch`; default: `dataset`.
            watch: Counts the steps; where it starts above 0, an interrupted epoch is resumed.
        """
        watch = watch or methods.Watch()
        if not watch.done:
            self.model.reset_metrics()
        listener = watch.listener
        name = f"epoch {epoch + 1}"
        total, done = self._n_steps or None, watch.done
        with tqdm(
            desc=name, unit=" steps", initial=done, total=total, leave=False, disable=None
        ) as bar:
            watch.listener = lambda watch: (bar.update(watch.done - bar.n), listener(watch))
            logs = self.method.epoch(dataset, epoch, dataset if rows is None else rows, watch)
        self._n_steps = watch.done
        return logs

    def fit(
        self,
        make_train: MakeDataset,
        validate: Callable[[], dict[str, float]] | None,
        *,
        make_rows: Callable[[], tf.data.Dataset] | None = None,
        monitor: str = "",
        higher_is_better: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        progress: Progress | None = None,
        own: Own | None = None,
        on_best: Callable[[], None] = lambda: None,
    ) -> Progress:
        """Trains for all epochs, or until validation stops improving.

        Args:
            make_train: Epoch (from 0) -> training batches in that epoch's order.
            validate: Evaluates the model; None: there is no validation, and the last epoch is best.
            make_rows: All training rows, of which `make_train` may drop a remainder, for the
                model's `begin_epoch`. Default: the batches of the epoch.
            monitor: Metric of `validate` that selects the best epoch.
            higher_is_better: Whether a higher `monitor` is better.
            callbacks: Keras callbacks; logs have validation metrics with the prefix `val_`, and the
                `seconds` and `cpu_seconds` of the epoch without its validation. For a resumed epoch
                `on_epoch_begin` is called again, and its seconds count from there. Of the batch
                methods only `on_train_batch_end` and `on_batch_end` are called.
            progress: Progress to resume from; the model's variables have been restored to it.
            own: The arrays that the model added to the saved state.
            on_best: Called when the model is the best so far.

        Raises:
            interrupts.Interrupted: SIGINT or SIGTERM was received, and the state was saved.
            ValueError: the loss is not finite, or has exploded.
        """
        self._saved_at = progress.where if progress else ""
        progress = progress or Progress()
        epochs = self.method.epochs
        listeners = keras.callbacks.CallbackList(list(callbacks), model=self.model, epochs=epochs)
        self._of_steps = [each for each in callbacks if _sees_steps(each)]
        rows = make_rows() if make_rows else None
        self.model.stop_training = False
        listeners.on_train_begin()
        with self._stopping():
            while progress.epoch < epochs and not (progress.ended or self._stale(progress)):
                epoch, start = progress.epoch, time.perf_counter()
                listeners.on_epoch_begin(epoch)
                watch, own = self._watch(progress, start, own or {}), None
                logs, spent = self._timed(progress, make_train(epoch), rows, watch, start)
                due = (epoch + 1) % self.config.validate_every == 0 or epoch + 1 == epochs
                here = self._within(progress, watch, start)
                measured = self._measured(validate, here, watch) if due and validate else {}
                progress.finish_epoch(logs, time.perf_counter() - start)
                if due and progress.take(measured, monitor, higher_is_better):
                    with self._averaged():
                        on_best()
                elif due:
                    progress.stale += self.config.validate_every
                logs |= {f"val_{k}": v for k, v in measured.items()}
                logs |= {"skipped_steps": watch.skipped} if watch.skipped else {}
                listeners.on_epoch_end(epoch, logs | spent)
                progress.ended = bool(self.model.stop_training)
                self._save(progress)
                if self._is_asked_to_stop():
                    raise interrupts.Interrupted(progress.where)
        listeners.on_train_end()
        self._take_average()
        return progress

    def _timed(
        self,
        progress: Progress,
        dataset: tf.data.Dataset,
        rows: tf.data.Dataset | None,
        watch: methods.Watch,
        start: float,
    ) -> tuple[dict[str, float], dict[str, float]]:
        """An epoch that began at `start`; returns its training logs, and its cost and pace."""
        cpu = time.process_time()
        logs = self.epoch(dataset, progress.epoch, rows, watch)
        self._refuse_bad(progress, logs, watch)
        seconds = time.perf_counter() - start
        spent = {"seconds": seconds, "cpu_seconds": time.process_time() - cpu}
        return logs, spent | self.method.pace(seconds)

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """Handles SIGINT and SIGTERM in the block.

        Where the state can be saved within an epoch, they take effect at the end of a step; else
        they end the block at once, and the last finished epoch is the saved state.
        """
        if self.save and self.method.resumable:
            with interrupts.postponed() as self._requests:
                yield
            return
        try:
            yield
        except KeyboardInterrupt:
            if self._saved_at:
                raise interrupts.Interrupted(self._saved_at) from None
            raise

    def _watch(self, progress: Progress, start: float, own: Own) -> methods.Watch:
        """Checks the loss, saves the state where it is due, and stops, after each step of an epoch.

        Args:
            progress: Progress at the beginning of the epoch, or where it is resumed.
            start: That time on the performance counter.
            own: The arrays that the model added to the saved state.
        """
        before = progress.step  # steps at the last call of the listener

        def listener(watch: methods.Watch) -> None:
            nonlocal before
            taken, before = watch.done - before, watch.done
            for each in self._of_steps:
                each.on_train_batch_end(watch.done - 1, self._means(watch.logs))
            if progress.first_loss is None and watch.logs:
                progress.first_loss = self._means(watch.logs).get("loss")
            if watch.done % LOSS_STEPS == 0:
                self._refuse_bad(progress, self._means(watch.logs), watch)
            if self.save and self.method.resumable:
                stops = self._is_asked_to_stop(watch.done)
                if stops or self._is_due(taken):
                    here = self._within(progress, watch, start)
                    self._refuse_bad(progress, here.logs, watch)
                    self._save(here, watch.save_own())
                if stops:
                    raise interrupts.Interrupted(here.where)

        def room(watch: methods.Watch) -> int:
            if progress.first_loss is None or self._of_steps:
                return 1
            return self._room(watch.done)

        return methods.Watch(
            listener, progress.step, progress.logs, progress.skipped, own, room=room
        )

    def _room(self, done: int) -> int:
        """Number of steps after the first `done` until the loss is checked, or the state saved."""
        room = LOSS_STEPS - done % LOSS_STEPS
        if self.save and self.config.save_steps:
            room = min(room, self.config.save_steps - self._saved[1])
        return room

    def _measured(
        self, validate: Callable[[], dict], here: Progress, watch: methods.Watch
    ) -> dict[str, float]:
        """Validation metrics; a signal ends validation at once, and the state before it is saved.

        Several workers continue to a step after which all of them stop.
        """
        if not self._requests.postponed or strategies.is_multiworker(self.strategy):
            with self._averaged():
                return validate()
        try:
            with self._averaged(), self._requests.at_once():
                return validate()
        except KeyboardInterrupt:
            self._save(here, watch.save_own())
            raise interrupts.Interrupted(here.where) from None

    def _means(self, logs: Mapping) -> dict[str, float]:
        return self.method.means(logs) if isinstance(self.method, methods.Steps) else {}

    def _within(self, progress: Progress, watch: methods.Watch, start: float) -> Progress:
        """The current progress, within the epoch."""
        return dataclasses.replace(
            progress,
            step=watch.done,
            logs=self._means(watch.logs),
            skipped=watch.skipped,
            seconds=progress.seconds + time.perf_counter() - start,
        )

    def _is_due(self, taken: int) -> bool:
        """Whether to save the state within the epoch, `taken` steps after the last check."""
        (then, steps), config = self._saved, self.config
        self._saved = then, steps + taken
        late = config.save_minutes and time.monotonic() - then >= 60 * config.save_minutes
        return bool(late or (config.save_steps and steps + taken >= config.save_steps))

    def _is_asked_to_stop(self, step: int = 0) -> bool:
        """Whether any worker has received a signal: all stop after the same step."""
        if not strategies.is_multiworker(self.strategy):
            return self._requests.asked
        return step % SIGNAL_STEPS == 0 and strategies.any_of_all(
            self.strategy, self._requests.asked
        )

    def _save(self, progress: Progress, own: Own | None = None) -> None:
        """Saves the progress.

        Raises:
            ValueError: a weight is not finite.
        """
        if self.save is None:
            return
        try:
            self.save(progress, own or {})
        except FloatingPointError as error:
            raise ValueError(f"{error} {progress.where}: {self._cure()}") from None
        self._saved, self._saved_at = (time.monotonic(), 0), progress.where

    def _refuse_bad(self, progress: Progress, logs: dict, watch: methods.Watch) -> None:
        """Stops a run that has diverged.

        Raises:
            ValueError: a number is not finite, or the loss has exploded; it says what to try.
        """
        where = f"in epoch {progress.epoch + 1}"
        if watch.skipped and watch.skipped == watch.done:
            raise ValueError(f"not one of {watch.done} steps {where} gave finite numbers: {CURE}")
        for name, value in logs.items():
            if not math.isfinite(value):
                raise ValueError(f"training {name} is {value} {where}: {self._cure()}")
        first, loss = progress.first_loss, logs.get("loss")
        if first and loss is not None and loss > EXPLODED * first > 0:
            raise ValueError(
                f"training loss is {loss:.3g} {where}, and was {first:.3g} after the first step: "
                + CURE
            )

    def _cure(self) -> str:
        """What to try where a number is not finite."""
        if not self._saved_at or not isinstance(self.method, methods.Steps):
            return CURE
        return (
            f"{CURE}; the last state before it is kept: --resume with --train on_nan=skip "
            "continues from there and skips batches that give such numbers"
        )

    def _take_average(self) -> None:
        """Replaces the weights by their moving average, where the run keeps one."""
        if self.config.average and isinstance(self.method, methods.Steps):
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Uses the moving average in the block; training continues from the weights themselves."""
        weights = self.model.trainable_variables if self.config.average else []
        trained = [weight.numpy() for weight in weights]
        self._take_average()
        try:
            yield
        finally:
            for weight, value in zip(weights, trained, strict=True):
                weight.assign(value)

    def _stale(self, progress: Progress) -> bool:
        return 0 < self.config.patience <= progress.stale


def _sees_steps(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback overrides a method for the end of a batch."""
    names = ("on_train_batch_end", "on_batch_end")
    own = [getattr(getattr(callback, name), "__func__", None) for name in names]
    return own != [getattr(keras.callbacks.Callback, name) for name in names]
