"""One experiment from raw data to `metrics.json`: what `tfrec.train` runs."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import resource
import time
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfrec import config as config_lib
from tfrec import metrics
from tfrec.config import DataConfig
from tfrec.data import fields, inputs, prepare, protocol, records, stored
from tfrec.datasets import registry as datasets
from tfrec.models import registry as models
from tfrec.models.base import Recommender
from tfrec.schema import INFO_FILE, DatasetInfo
from tfrec.training import loop, memory, overlap, strategies, warm_start
from tfrec.training.callbacks import EpochLine, HistoryFile
from tfrec.training.runs import RunConfig, RunDir


def default_data_dir(data: DataConfig, raw: str = "") -> str:
    """Where `data` is prepared when no --data_dir is given: a folder of the cache.

    Args:
        data: How it is prepared.
        raw: Its raw files: a user's own tables all have the same name.
    """
    text = json.dumps(config_lib.to_dict(data), sort_keys=True)
    entry = datasets.DATASETS.get(data.dataset)
    if entry and entry.named_columns:
        text += str(pathlib.Path(raw).absolute())
    name = f"{data.dataset}-{data.split}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return str(datasets.cache_dir() / "prepared" / name)


def prepared(data: DataConfig, data_dir: str, raw: str | None = None) -> DatasetInfo:
    """Returns what `data_dir` holds; prepares it first where nothing is there, and says so.

    Args:
        data: How it should be prepared.
        data_dir: The directory.
        raw: The raw files. Where they are given, `data_dir` must have been made of them;
            else they are not needed any more.

    Raises:
        ValueError: settings that cannot work, or it was prepared with other settings, of
            other files or in another format.
    """
    protocol.check(data)
    is_there = (pathlib.Path(data_dir) / INFO_FILE).exists()
    if is_there:
        info = DatasetInfo.load(data_dir)
        stored.refuse_other(info, data, data_dir)
        if raw is None:
            return info
    else:
        print(f"preparing {data.dataset} ({data.split} split) into {data_dir}", flush=True)
    found = datasets.open_as(data, raw)
    return prepare.prepare_checked(found, data, data_dir, progress=not is_there)


class Experiment:
    """A run: its model, its data and its directory.

    Args:
        config: What to run.
        run_dir: Where it is written.
        strategy: Made by `strategies.make`, once a process.
        raw: Raw files, where the data is yet to be prepared.
        callbacks: Keras callbacks of the user's.
        start: A model whose weights training starts from, instead of random ones.
        verbose: Print a line an epoch.
    """

    def __init__(
        self,
        config: RunConfig,
        run_dir: RunDir,
        strategy: tf.distribute.Strategy,
        raw: str | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        start: Recommender | None = None,
        verbose: bool = True,
    ):
        self.run_dir, self.strategy = run_dir, strategy
        self.callbacks, self.start = list(callbacks), start
        self.say = functools.partial(print, flush=True) if verbose else lambda text: None
        with strategies.chief_first(strategy):
            self.info = prepared(config.data, config.data_dir, raw)
        if not run_dir.finished:
            memory.check(config.model, self.info, config.model_config, config.train, self.say)
        self.config = dataclasses.replace(config, fingerprint=self.info.fingerprint)
        self.chief = strategies.is_chief(strategy)
        self.model = self.make_model()
        self.task_object = self.model.task_object
        self.evaluator = loop.make_evaluator(self.model, strategy)
        self.validated = None  # the report of the last validation
        self.result: dict = {}  # what `run` has measured
        self.monitor = config.train.monitor or self.task_object.monitor
        try:
            self.higher_is_better = self.task_object.higher_is_better(self.monitor)
        except ValueError as error:
            raise ValueError(f"--train monitor={self.monitor}: {error}") from None

    def make_model(self) -> Recommender:
        """A new model from the run's seed."""
        train = self.config.train
        keras.utils.set_random_seed(train.seed)
        keras.config.set_dtype_policy("mixed_bfloat16" if train.mixed_precision else "float32")
        with self.strategy.scope():
            cls = models.model_class(self.config.model)
            model = cls.create(self.info, self.config.model_config)
            if model.reads == "events":
                model.take_tables(fields.read(self.config.data_dir))
        if self.start is not None:
            model.set_weights(self.start.get_weights())
        return model

    def batches(self, split: str, epoch: int = 0) -> tf.data.Dataset:
        """Batches of `split`; those of training are shuffled anew each epoch."""
        whole = self.model.closed_form or self.config.train.optimizer == "lbfgs"
        return self._batches(split, epoch, whole)

    def rows(self, split: str) -> tf.data.Dataset:
        """All rows of `split` as stored, those of training with the last batch filled up."""
        return self._batches(split, 0, whole=True)

    def _batches(self, split: str, epoch: int, whole: bool) -> tf.data.Dataset:
        train, model = self.config.train, self.model
        training = split.startswith("train")
        # A ranking needs to know what each user has seen.
        by_row = model.reads == "histories" or (self.task_object.ranks and not training)
        reader = inputs.histories if by_row else inputs.events
        size = train.batch_size if training else train.eval_batch_size
        if by_row and not training:
            size = inputs.rows_to_score(self.info, size)
        return reader(
            self.config.data_dir,
            self.info,
            split,
            size,
            shuffle=training and not whole,
            seed=train.seed,
            epoch=epoch,
            fill=whole or not training,
            **({"by_length": model.max_items} if by_row else {"context": model.context}),
        )

    def report(self, sampled: str = ""):
        """An empty report of the model's task; `sampled` as for `evaluate_run`."""
        if not sampled:
            return self.task_object.new_report(self.info, self.config.train.cuts)
        sampler, _, negatives = sampled.partition("-")
        if not (self.task_object.ranks and negatives.isdecimal()):
            raise ValueError(
                f"--sampled={sampled}: a sampler and a number, such as uniform-100, for models "
                f"that rank; this one's task is {self.model.task}"
            )
        return metrics.SampledRankingReport(self.info, sampler, self.popularity(), int(negatives))

    def popularity(self) -> np.ndarray:
        """Training ratings of each item, `[n_items]`."""
        counts = np.zeros(self.info.n_items, np.int64)
        for _, targets in inputs.histories(
            self.config.data_dir, self.info, "train", 512, fill=True
        ):
            items = targets["target_items"].numpy()
            counts += np.bincount(items[items >= 0], minlength=self.info.n_items)
        return counts

    def measure(self, split: str, sampled: str = "") -> tuple[dict[str, float], object]:
        """Evaluates the model on `split`; returns its numbers and the report behind them."""
        report = self.report(sampled)
        return self.evaluator(self.batches(split), report), report

    def has(self, split: str) -> bool:
        """Whether anything is held out for `split`."""
        return self.info.n_ratings.get(split, 0) > 0

    def fit(self, resume: bool) -> loop.Progress:
        """Trains on the training part; the best epoch by validation lies in `model.keras`."""
        trainer = loop.Trainer(self.model, self.strategy, self.config.train)
        progress = None
        if resume and self.run_dir.state.exists():
            progress = loop.Progress(**self.run_dir.load_state(self.model))
            self.say(f"resuming after epoch {progress.epoch}")
        else:
            self._warm_start()
        return trainer.fit(
            lambda epoch: self.batches("train", epoch),
            self._validate if self.has("validation") else None,
            make_rows=lambda: self.rows("train"),
            monitor=self.monitor,
            higher_is_better=self.higher_is_better,
            callbacks=[*self._watchers(), *self.callbacks],
            progress=progress,
            on_best=lambda: self._write(self._keep),
            on_epoch=lambda p: self._write(
                lambda: self.run_dir.save_state(self.model, dataclasses.asdict(p))
            ),
        )

    def _watchers(self) -> list[keras.callbacks.Callback]:
        """The callbacks that every run has."""
        shown = self.task_object.figures(self.monitor)
        files = [keras.callbacks.TensorBoard(self.run_dir.logs), HistoryFile(self.run_dir)]
        return [EpochLine(shown, self.say), *(files if self.chief else [])]

    def _validate(self) -> dict[str, float]:
        result, self.validated = self.measure("validation")
        return result

    def _keep(self) -> None:
        """Writes the model, and what it predicted for validation."""
        self.run_dir.save_model(self.model)
        if self.task_object.keeps_predictions and self.validated is not None:
            self.run_dir.save_predictions("validation", self.validated.predictions())

    def refit(self, epochs: int) -> None:
        """Trains a new model on train + validation for `epochs`; it replaces `model.keras`."""
        self.say(f"refit: {epochs} epochs on train + validation")
        self.model = self.make_model()
        self.evaluator = loop.make_evaluator(self.model, self.strategy)
        config = dataclasses.replace(self.config.train, epochs=epochs, patience=0)
        trainer = loop.Trainer(self.model, self.strategy, config)
        self._warm_start()
        trainer.fit(
            lambda epoch: self.batches("train+validation", epoch),
            None,
            make_rows=lambda: self.rows("train+validation"),
            callbacks=[EpochLine((), self.say)],
        )
        self._write(lambda: self.run_dir.save_model(self.model))

    def _warm_start(self) -> None:
        """Starts the model from an earlier run, where the run asks for it."""
        earlier, config = self.config.warm_start, self.config
        if earlier:
            note = overlap.check(config.data_dir, self.info, earlier)
            said = warm_start.start(self.model, config.data_dir, earlier, config.train)
            self.say("\n".join(filter(None, [said, note])))

    def _write(self, action) -> None:
        """Only one worker writes."""
        if self.chief:
            action()

    def restore(self) -> None:
        """Takes the weights of `model.keras`, once the chief has written them."""
        strategies.wait_for_all(self.strategy)
        self.model.set_weights(self.run_dir.load_model().get_weights())

    def run(self, resume: bool = False, test: bool = True) -> dict:
        """Trains, restores the best epoch, refits if asked, measures test.

        Args:
            resume: Go on with the run in `run_dir`.
            test: Read the test set; False while settings are being chosen.

        Returns:
            What `metrics.json` holds; it is `result`, too.
        """
        with records.naming_damage(self.config.data_dir, self.info):
            if resume and self.run_dir.finished:
                self.say("this run is finished; nothing to resume")
                self.restore()
                self.result = self.run_dir.metrics()
            else:
                self._run(resume, test)
        return self.result

    def _run(self, resume: bool, test: bool) -> None:
        start = time.perf_counter()
        progress = self.fit(resume)
        if self.config.train.refit and self.has("validation"):
            self.refit(progress.best_epoch)
        else:
            self.restore()
        is_tested = test and self.has("test")
        tested, report = self.measure("test") if is_tested else ({}, self.report())
        self.result = {
            "protocol": report.protocol,
            "model": self.config.model,
            "best_epoch": progress.best_epoch,
            "epochs": progress.epoch,
            "seconds": round(time.perf_counter() - start, 1),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "validation": progress.metrics,
            "test": tested,
        }
        if self.chief:
            self._finish(report)

    def _finish(self, report) -> None:
        """Writes what was measured; nothing is left to resume from."""
        if self.result["test"]:
            report.save(self.run_dir.per_user)
            if self.task_object.keeps_predictions:
                self.run_dir.save_predictions("test", report.predictions())
        self.run_dir.write_json("metrics.json", self.result)
        self.run_dir.state.unlink(missing_ok=True)


def evaluate_run(path: str, part: str, sampled: str = "") -> tuple[dict[str, float], str]:
    """Measures a finished run again.

    Args:
        path: The run directory.
        part: "validation" or "test".
        sampled: Rank among sampled items instead of all: "uniform-100" or "popularity-100", with
            any number.

    Returns:
        The numbers and the protocol.
    """
    if part not in ("validation", "test"):
        raise ValueError(f"--part={part} is unknown; known: validation, test")
    run_dir = RunDir(path)
    config = run_dir.config()
    run_dir.data_dir()  # refuses other data than the run was trained on
    if part == "validation" and config.train.refit:
        raise ValueError(
            f"--part=validation: {path} was trained anew on train + validation (refit); what "
            "it measured before is in its metrics.json"
        )
    trial = Experiment(config, run_dir, tf.distribute.get_strategy())
    trial.restore()
    with records.naming_damage(config.data_dir, trial.info):
        result, report = trial.measure(part, sampled)
    return result, report.protocol
