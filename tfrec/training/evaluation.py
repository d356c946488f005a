"""Evaluation of a model: one pass over held-out rows that updates one report, or several."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec import metrics, ranking
from tfrec.config import TrainConfig
from tfrec.data import inputs, pairs, prepared, records
from tfrec.data import protocol as data_protocol
from tfrec.metrics import Report
from tfrec.models import top_items
from tfrec.models.base import Recommender
from tfrec.models.ensemble import Ensemble
from tfrec.training import batches, lists, readings, strategies
from tfrec.training.build import build
from tfrec.training.runs import RunDir

Tensors = dict[str, tf.Tensor]
Reported = Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]


class Evaluator:
    """Scores held-out batches and updates reports; traced once for many calls.

        Evaluator(model)(batches.read(model, data_dir, "test", 512), report)

    Replicas share the rows. Workers do not: each evaluates all of them, because all need the same
    metrics to stop at the same epoch.

    Args:
        model: A built model.
        strategy: The strategy that the model was created under; default: the current one.
        reported: (features, targets) -> (features, targets), run in the graph: what reports see
            instead of the batch that the model scored. Ranked lists leave out the "items" of these
            features. Default: the batch itself.
    """

    def __init__(
        self,
        model: Recommender,
        strategy: tf.distribute.Strategy | None = None,
        reported: Reported | None = None,
    ):
        self.model, self.reported = model, reported
        self.strategy = strategy or tf.distribute.get_strategy()
        self._step = tf.function(self._scored, autograph=False)

    def __call__(self, dataset: tf.data.Dataset, report: Report, *others: Any) -> dict[str, float]:
        """Updates the reports with every batch.

        Args:
            dataset: Held-out batches, as `batches.read` returns them.
            report: Its `depth` and `keep` determine what it receives of the scores.
            others: More reports, of the same depth, updated with the same.

        Returns:
            The result of `report`.
        """
        alone = strategies.is_multiworker(self.strategy)
        shared = dataset if alone else self.strategy.experimental_distribute_dataset(dataset)

        def step(iterator: Iterator) -> Any:
            return self._step(iterator, report.depth, report.keep)

        taken = strategies.steps(step, shared)
        for scored in tqdm(taken, desc="measuring", unit=" steps", leave=False, disable=None):
            parts = list(_replicas(self.strategy, scored))
            for part in parts[:1] if alone else parts:
                for each in (report, *others):
                    each.update(*part)
        return report.result()

    def _scored(self, iterator: Iterator, depth: int, keep: Callable | None) -> Any:
        """Features, targets and the scores for the report, of each replica's next batch."""

        def on_replica(batch: tuple[Tensors, Tensors]) -> tuple[Tensors, Tensors, tf.Tensor]:
            shown = self.reported(*batch) if self.reported else batch
            if depth and not keep and top_items.by_blocks(self.model):
                return *shown, self._top_by_blocks(batch[0], shown[0]["items"], depth)
            scores = self.model.score(batch[0])
            if keep:
                scores = keep(*shown, scores)
            if depth:
                seen = shown[0]["items"]
                order = ranking.checked(self.model.list_order(scores, seen))
                _, scores = ranking.top_k(scores, seen, depth, order=order)
            return *shown, scores

        return strategies.run_on_next(self.strategy, on_replica, iterator)

    def _top_by_blocks(self, features: Tensors, seen: tf.Tensor, depth: int) -> tf.Tensor:
        """The items of the lists, without scores of all items in memory."""

        def order(scores: tf.Tensor, items: tf.Tensor | None = None) -> tf.Tensor:
            return ranking.checked(self.model.list_order(scores, seen, items=items))

        score = top_items.scorer(self.model, features)
        return top_items.best(score, order, self.model.info.n_items, seen, depth)[1]


def _replicas(strategy: tf.distribute.Strategy, result: Any) -> Iterator[tuple]:
    """Splits a result of `strategy.run` into one nest for each replica of this worker."""
    flat = [strategy.experimental_local_results(x) for x in tf.nest.flatten(result)]
    for leaves in zip(*flat, strict=True):
        yield tf.nest.pack_sequence_as(result, leaves)


def new_report(
    model: Recommender, data_dir: str | pathlib.Path, cuts: tuple[int, ...] = (), sampled: str = ""
) -> Report:
    """An empty report of the model's task.

    Args:
        model: A model.
        data_dir: Its prepared data.
        cuts: Lengths of the ranked lists; empty: the report's own.
        sampled: Rank among sampled items instead of all: "uniform-100" or "popularity-100", with
            any number of items.

    Raises:
        ValueError: `sampled` is not of that form, or the model does not rank.
    """
    if not sampled:
        return model.task_object.new_report(model.info, cuts)
    sampler, _, negatives = sampled.partition("-")
    if not (model.task_object.ranks and negatives.isdecimal()):
        raise ValueError(
            f"--sampled={sampled}: a sampler and a number, such as uniform-100, for models "
            f"that rank; this one's task is {model.task}"
        )
    counts = pairs.counts(data_dir, model.info, "train")
    return metrics.SampledRankingReport(model.info, sampler, counts, int(negatives))


def protocol(model: Recommender, report: Report) -> str:
    """The split, how metrics are computed, and what the model ignores of the data, as text."""
    ignored = "" if model.uses_values else data_protocol.ignored_values(model.info)
    return report.protocol + lists.protocol(model) + ignored


def evaluate_run(path: str, part: str, sampled: str = "") -> tuple[dict[str, float], str]:
    """Evaluates a finished run again.

    Args:
        path: The run directory.
        part: "validation" or "test".
        sampled: As in `new_report`.

    Returns:
        The metrics and the protocol.

    Raises:
        ValueError: another part, validation of a run that was refitted on it, or other data than
            that of the run.
    """
    if part not in ("validation", "test"):
        raise ValueError(f"--part={part} is unknown; known: validation, test")
    run_dir = RunDir(path)
    config, data_dir, train = run_dir.config(), run_dir.data_dir(), run_dir.config().train
    if part == "validation" and train.refit:
        raise ValueError(
            f"--part=validation: {path} was refitted on train + validation; its validation "
            "metrics from before the refit are in its metrics.json"
        )
    info = prepared.ensure(config.data, config.data_dir)  # raises for an older format
    model = run_dir.load_model()
    if not isinstance(model, Ensemble):
        trained = model.get_weights()
        model = build(config, info, tf.distribute.get_strategy())
        model.set_weights(trained)
    report = new_report(model, data_dir, train.cuts, sampled)
    with records.naming_damage(data_dir, info):
        result = measure(model, data_dir, part, report, train)
        result |= lists.result(model, lists.HeldOut(data_dir, part))
        described = protocol(model, report)
        if part == "test":
            readings.append(config, described, "evaluate")
        return result, described


def measure(
    model: Recommender,
    data_dir: str | pathlib.Path,
    part: str,
    report: Report,
    train: TrainConfig,
) -> dict[str, float]:
    """Updates a report with a held-out part; returns its result.

    Members of an ensemble that cannot score histories are evaluated one by one.
    """
    if not isinstance(model, Ensemble) or model.reads == "histories":
        rows = train.eval_batch_size
        if report.keep:  # of the scores of all items
            rows = inputs.rows_to_score(model.info, rows)
        held_out = batches.read(model, data_dir, part, rows, seed=train.seed)
        return Evaluator(model)(held_out, report)
    columns = []
    for member, folder in zip(model.members, model.config.data_dirs, strict=True):
        own: Any = new_report(member, folder)
        measure(member, folder, part, own, train)
        columns.append(own.predictions())
    add_weighted(report, columns, model.config.weights)
    return report.result()


def add_weighted(
    report: Report, columns: Sequence[dict[str, np.ndarray]], weights: Sequence[float]
) -> None:
    """Adds the weighted sum of several models' predictions to a report of ratings.

    Args:
        report: A report of ratings.
        columns: `RatingReport.predictions` of each model, for the same ratings.
        weights: The weight of each model.
    """
    first = columns[0]
    total = np.stack([x["prediction"] for x in columns], axis=1) @ np.asarray(weights)
    events = {"user": first["user"], "item": first["item"]}
    report.update(events, {"value": first["value"]}, total)
