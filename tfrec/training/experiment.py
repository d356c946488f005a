"""One run from raw data to `metrics.json`, as `tfrec.train` does it."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrec import memory
from tfrec.config import TrainConfig
from tfrec.data import prepared, records
from tfrec.datasets.sources import Sources
from tfrec.metrics import Report
from tfrec.models.base import Recommender
from tfrec.models.popularity import Popularity
from tfrec.training import (
    batches,
    lists,
    loop,
    memory_check,
    methods,
    overlap,
    readings,
    record,
    strategies,
    tensorboard,
    warm_start,
    workers,
)
from tfrec.training.build import build
from tfrec.training.callbacks import EpochLine, HistoryFile
from tfrec.training.evaluation import Evaluator, protocol
from tfrec.training.profile import Profile
from tfrec.training.progress import Progress
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir


class Experiment:
    """A run with its model, its data and its directory.

    Args:
        config: What to run.
        run_dir: The run directory.
        strategy: From `strategies.make`, which is called once in a process.
        raw: Raw files, where the data is not prepared yet.
        callbacks: Keras callbacks of the user.
        start: A model whose weights training starts from, instead of random ones.
        verbose: Print a line for each epoch.
    """

    def __init__(
        self,
        config: RunConfig,
        run_dir: RunDir,
        strategy: tf.distribute.Strategy,
        raw: str | Sources | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        start: Recommender | None = None,
        verbose: bool = True,
    ):
        self.run_dir, self.strategy = run_dir, strategy
        self.callbacks, self.start = list(callbacks), start
        self.say = functools.partial(print, flush=True) if verbose else lambda text: None
        with strategies.chief_first(strategy):
            self.info = prepared.ensure(config.data, config.data_dir, raw, config.check_range)
        known = dataclasses.replace(config, fingerprint=self.info.fingerprint)
        self.config = known.settled(self.info)
        if not run_dir.finished:
            memory_check.check(
                config.model, self.info, self.config.model_config, self.config.train, self.say
            )
        self.chief = strategies.is_chief(strategy)
        record.commit()  # read now: the checkout may change while the run lasts
        self.model = self.make_model()
        self.task_object = self.model.task_object
        self.evaluator = Evaluator(self.model, strategy)
        self.held_out = {x: lists.HeldOut(config.data_dir, x) for x in ("validation", "test")}
        self.validated: Any = None  # the report of the latest validation
        self.progress = Progress()  # at the end of `fit`
        self.result: dict = {}  # the metrics of `run`
        self._start, self._earlier = _clocks(), (0.0, 0.0)
        self.monitor = config.train.monitor or self.task_object.monitor
        try:
            self.higher_is_better = self.task_object.higher_is_better(self.monitor)
        except ValueError as error:
            raise ValueError(f"--train monitor={self.monitor}: {error}") from None

    def make_model(self) -> Recommender:
        """A new model, initialized from the run's seed."""
        model = build(self.config, self.info, self.strategy)
        if self.start is not None:
            model.set_weights(self.start.get_weights())
        return model

    def batches(self, split: str, epoch: int = 0) -> tf.data.Dataset:
        """Batches of `split`; training batches as the training method needs them."""
        model, data_dir, train = self.model, self.config.data_dir, self.config.train
        if not split.startswith("train"):
            return batches.read(model, data_dir, split, train.eval_batch_size, seed=train.seed)
        if methods.method(type(model), model.config, train).whole:
            return self.rows(split)
        return batches.of_epoch(model, data_dir, split, train, epoch)

    def rows(self, split: str) -> tf.data.Dataset:
        """All training rows as stored, the last batch padded."""
        return batches.all_rows(self.model, self.config.data_dir, split, self.config.train)

    def measure(self, split: str) -> tuple[dict[str, float], Report]:
        """Evaluates the model on `split`; returns the metrics and their report."""
        report = self.report()
        return self.evaluator(self.batches(split), report), report

    def report(self) -> Report:
        """An empty report of the model's task."""
        return self.task_object.new_report(self.info, self.config.train.cuts)

    def has(self, split: str) -> bool:
        """Whether anything is held out for `split`."""
        return self.info.n_ratings.get(split, 0) > 0

    def fit(self, resume: bool, keep: bool = True) -> Progress:
        """Trains on the training part.

        Args:
            resume: As in `run`.
            keep: Whether the model of the best epoch by validation is saved as `model.keras`.
        """
        trainer = self._trainer(self.config.train, {"phase": "train"})
        progress, own = self._resumed("train") if resume else (None, {})
        if progress is None:
            self._warm_start()
        self._learn_items("train")
        with self._together(progress):
            self.progress = trainer.fit(
                lambda epoch: self.batches("train", epoch),
                self._validate if self.has("validation") else None,
                make_rows=lambda: self.rows("train"),
                monitor=self.monitor,
                higher_is_better=self.higher_is_better,
                callbacks=[*self._watchers(), *self.callbacks],
                progress=progress,
                own=own,
                on_best=lambda: self._write(self._keep) if keep else None,
            )
        return self.progress

    @contextlib.contextmanager
    def _together(self, progress: Progress | None) -> Iterator[None]:
        """Checks that all workers start alike, and stops where one of them is lost."""
        with workers.ending_without_others(self.strategy):
            values = {
                "the step to resume from": progress.where if progress else "the first",
                "the data": self.info.fingerprint,
                "the settings": [
                    self.config.model,
                    self.config.settings,
                    dataclasses.asdict(self.config.train),
                ],
            }
            workers.refuse_different(self.strategy, self.run_dir.path, values)
            yield

    def _trainer(self, train: TrainConfig, phase: dict) -> loop.Trainer:
        """The trainer, which saves its progress together with `phase`."""

        def save(progress: Progress, own: loop.Own) -> None:
            seconds, cpu_seconds = self._seconds()
            state = phase | {"progress": dataclasses.asdict(progress), "seconds": seconds}
            state |= {"cpu_seconds": cpu_seconds}
            keep = self.config.train.save_keep
            self._write(lambda: self.run_dir.save_state(self.model, state, own, keep))

        return loop.Trainer(self.model, self.strategy, train, save)

    def _resumed(self, phase: str) -> tuple[Progress | None, loop.Own]:
        """Restores the variables; returns the saved progress and the arrays that the model saved.

        Returns None and no arrays where the run has not reached this phase yet.
        """
        saved = self.run_dir.saved_progress()
        if saved is None or saved["phase"] != phase:
            if phase == "train":
                self.say("nothing was saved yet: training starts from the beginning")
            return None, {}
        with self.run_dir.reading_state():
            progress = Progress(**saved["progress"])
        own = self.run_dir.load_state(self.model)
        self._earlier = saved["seconds"], saved.get("cpu_seconds", 0.0)
        note = " of the refit" if phase == "refit" else ""
        self.say(f"resuming {progress.where}{note}")
        return progress, own

    def _seconds(self) -> tuple[float, ...]:
        """Duration of the run and its CPU time, with those before an interruption."""
        every = zip(self._earlier, _clocks(), self._start, strict=True)
        return tuple(earlier + now - start for earlier, now, start in every)

    def _watchers(self) -> list[keras.callbacks.Callback]:
        """The callbacks that every run has."""
        shown, train = self.task_object.figures(self.monitor), self.config.train
        line = EpochLine(shown, self.say, 0 < train.patience < train.epochs)
        logs = self.run_dir.logs
        curves = tensorboard.Curves(logs, (self.config, self.info), train.histograms)
        files = [curves, HistoryFile(self.run_dir)] if self.chief else []
        profile = [Profile(logs if self.chief else None)] if train.profile else []
        return [line, *files, *profile]

    def _validate(self) -> dict[str, float]:
        result, self.validated = self.measure("validation")
        return result

    def _keep(self) -> None:
        """Saves the model and its validation predictions."""
        self.run_dir.save_model(self.model)
        if self.task_object.keeps_predictions and self.validated is not None:
            self.run_dir.save_predictions("validation", self.validated.predictions())

    def refit(self, epochs: int, chosen: dict | None = None, resume: bool = False) -> None:
        """Trains a new model on train + validation for `epochs`; it replaces `model.keras`.

        Its lists are ordered by the rule that was chosen for the model before it.

        Args:
            epochs: Number of epochs.
            chosen: The result of `_choose`; by default the rule is that of `model`.
            resume: Resume an interrupted refit.
        """
        self.say(f"refit: {epochs} epochs on train + validation")
        chosen = chosen or {"rule": lists.own_rule(self.model)}
        self.model = self.make_model()
        self.evaluator = Evaluator(self.model, self.strategy)
        train = self.config.train
        until = train.schedule_epochs or train.epochs  # the same learning rates as before
        config = dataclasses.replace(train, epochs=epochs, patience=0, schedule_epochs=until)
        trainer = self._trainer(config, {"phase": "refit", "chosen": chosen})
        progress, own = self._resumed("refit") if resume else (None, {})
        if progress is None:
            self._warm_start()
        self._learn_items("train+validation")
        lists.set_rule(self.model, chosen["rule"])
        curves = [tensorboard.Curves(self.run_dir.logs / "refit")] if self.chief else []
        with self._together(progress):
            trainer.fit(
                lambda epoch: self.batches("train+validation", epoch),
                None,
                make_rows=lambda: self.rows("train+validation"),
                callbacks=[EpochLine((), self.say), *curves],
                progress=progress,
                own=own,
            )
        self._write(lambda: self.run_dir.save_model(self.model))

    def _learn_items(self, split: str) -> None:
        """Sets the item counts and vectors of the model's list order, where the data has items."""
        if self.info.has_ids:
            share = self.config.train.recent_share
            lists.learn_items(self.model, self.config.data_dir, split, share)

    def _choose_rule(self) -> None:
        """Chooses by validation how lists are ordered, and saves the choice in `model.keras`."""
        if lists.rates(self.model) and self.has("validation"):
            lists.choose_rule(self.model, self.held_out["validation"])
            self._write(self._keep_rule)

    def _keep_rule(self) -> None:
        """Saves the rule in `model.keras`, with the optimizer state of the best epoch."""
        kept = self.run_dir.load_model(compiled=True)
        lists.set_rule(kept, lists.own_rule(self.model))
        self.run_dir.save_model(kept)

    def _floors(self, part: str) -> dict[str, dict[str, float]]:
        """Metrics of Popularity, and for ratings of Biases, on `part`."""
        counts = self.model.list_order.counts
        if lists.rates(self.model):
            refit = self.config.train.refit and self.has("validation")
            trained_on = "train+validation" if refit else "train"
            return lists.floors(self.held_out[part], trained_on, counts)
        if not self.task_object.ranks:
            return {}
        with self.strategy.scope():
            popular = Popularity.create(self.info)
        popular.counts.assign(counts)
        return {"popularity": Evaluator(popular, self.strategy)(self.batches(part), self.report())}

    def _warm_start(self) -> None:
        """Initializes the model from an earlier run, where the run has a warm start."""
        earlier, config = self.config.warm_start, self.config
        if earlier:
            note = overlap.check(config.data_dir, self.info, earlier)
            message = warm_start.start(self.model, config.data_dir, earlier, config.train)
            self.say("\n".join(filter(None, [message, note])))

    def _write(self, action: Callable[[], object]) -> None:
        """Runs `action` on the chief: only one worker writes."""
        if self.chief:
            action()

    def restore(self) -> None:
        """Loads the weights of `model.keras`, once the chief has written them."""
        strategies.wait_for_all(self.strategy)
        self.model.set_weights(self.run_dir.load_model().get_weights())

    def try_out(self, resume: bool = False) -> Progress:
        """Trains only: no model is saved, and test is not read.

        Args:
            resume: As in `run`.

        Returns:
            The final progress, with the validation metrics of the best epoch.
        """
        with records.naming_damage(self.config.data_dir, self.info):
            return self.fit(resume, keep=False)

    def run(self, resume: bool = False, test: bool = True) -> dict:
        """Trains, restores the best epoch, refits where `refit` is set, and evaluates on test.

        Args:
            resume: Continue the run in `run_dir`; a finished run is only evaluated on test, where
                that was left out.
            test: Evaluate on test; False while settings are being chosen.

        Returns:
            The content of `metrics.json`, also kept as `result`.
        """
        with records.naming_damage(self.config.data_dir, self.info):
            if resume and self.run_dir.finished:
                self._finished(test)
            else:
                self._run(resume, test)
        return self.result

    def _finished(self, test: bool) -> None:
        """Loads a finished run; evaluates it on test where that was left out."""
        self.result = self.run_dir.metrics()
        self.restore()
        if self.result["test"] or not (test and self.has("test")):
            self.say("this run is finished; nothing to resume")
            return
        self.say("this run is finished except for the evaluation on test")
        tested, report = self._tested()
        self.result |= {"test": tested, "floors": self._floors("test")}
        if self.chief:
            self._finish(report)

    def _tested(self) -> tuple[dict[str, float], Report]:
        """Test metrics, and their report."""
        tested, report = self.measure("test")
        self._write(lambda: readings.append(self.config, protocol(self.model, report), "train"))
        return tested | lists.result(self.model, self.held_out["test"]), report

    def _run(self, resume: bool, test: bool) -> None:
        self._start = _clocks()
        memory.forget_peak()
        saved = self.run_dir.saved_progress() if resume else None
        in_refit = saved is not None and saved["phase"] == "refit"
        chosen = saved["chosen"] if saved and in_refit else self._choose(resume)
        if self.config.train.refit and self.has("validation"):
            if self.task_object.ranks and not in_refit:
                self._write(self.run_dir.keep_validated)
            self.refit(chosen["best_epoch"], chosen, in_refit)
        is_tested = test and self.has("test")
        tested, report = self._tested() if is_tested else ({}, self.report())
        seconds, cpu_seconds = self._seconds()
        self.result = {
            "protocol": protocol(self.model, report),
            "model": self.config.model,
            "best_epoch": chosen["best_epoch"],
            "epochs": chosen["epochs"],
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu_seconds, 1),
            "peak_memory_mb": memory.peak() >> 20,
            "loss": chosen["loss"],
            "validation": chosen["validation"],
            "test": tested,
            "floors": self._floors("test") if is_tested else {},
        }
        if self.chief:
            self._finish(report)

    def _choose(self, resume: bool) -> dict:
        """Trains, restores the best epoch and chooses the list order; returns the results as JSON.

        A refit needs the number of epochs and the rule, `metrics.json` the rest.
        """
        progress = self.fit(resume)
        self.restore()
        self._choose_rule()
        has_validation = self.has("validation")
        validated = lists.result(self.model, self.held_out["validation"]) if has_validation else {}
        return {
            "best_epoch": progress.best_epoch,
            "epochs": progress.epoch,
            "validation": progress.metrics | validated,
            "rule": lists.own_rule(self.model),
            "loss": {"first_step": progress.first_loss, "last_epoch": progress.last_loss},
        }

    def _finish(self, report: Any) -> None:
        """Writes the metrics, and removes the saved states."""
        if self.result["test"]:
            report.save(self.run_dir.per_user)
            if self.task_object.keeps_predictions:
                self.run_dir.save_predictions("test", report.predictions())
        tensorboard.write_end(self.run_dir.logs, self.result)
        if self.info.has_ids:
            tensorboard.write_items(self.run_dir.logs, self.model, self.config.data_dir)
        tested = report if self.result["test"] else None
        self.run_dir.write_json(record.FILE, record.of_run(self.config, self.result, tested))
        self.run_dir.write_json("metrics.json", self.result)
        for path in self.run_dir.states:
            path.unlink()


def _clocks() -> tuple[float, float]:
    """Seconds of the clock, and of this process on all cores."""
    return time.perf_counter(), time.process_time()
