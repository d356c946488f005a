"""Ranked lists of rating models, evaluated on the held-out items that users liked.

A list is the model's top k of all items that are not in its input, in the order that serving uses
(`Recommender.list_order`); a hit is a held-out item that the user liked (`liked_from`). Lists are
by user, even where rows of the data are by item or the model reads events.
"""

import dataclasses
import functools
import itertools
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import scipy.sparse
import tensorflow as tf

from tfrec import ranking
from tfrec.data import by_user, inputs, pairs, sparse
from tfrec.layers.list_order import SIZE
from tfrec.metrics import RankingReport, RatingReport
from tfrec.models.base import Recommender
from tfrec.models.biases import Biases
from tfrec.models.capabilities import ItemRows
from tfrec.models.ensemble import Ensemble
from tfrec.models.popularity import Popularity
from tfrec.schema import PAD, DatasetInfo

CUT = 10
METRICS = (f"hr@{CUT}", f"ndcg@{CUT}", f"coverage@{CUT}")
WEIGHTS, CHOICES = (0.0, 0.5, 1.0, 2.0), (0.0, 0.1, 0.3, 1.0)
RULES = tuple(itertools.product(WEIGHTS, CHOICES))

_BATCH = 256
_USERS = 5120  # to choose a rule by
_ROWS = 50_000  # maximum number of users that the items' vectors are computed from
_DENSE = 1 << 20  # number of entries above which a sparse solver is faster
_Features = dict[str, tf.Tensor]
Made = TypeVar("Made", bound=RankingReport)
Rule = tuple[float, float]  # weight and choice of `ListOrder`


class HeldOut:
    """The held-out part of users' rows, opened once for many evaluations.

    Args:
        data_dir: The prepared data.
        part: "validation" or "test".
    """

    def __init__(self, data_dir: str | pathlib.Path, part: str):
        self.data_dir, self.part = data_dir, part

    @functools.cached_property
    def info(self) -> DatasetInfo:
        return DatasetInfo.load(self.data_dir)

    @functools.cached_property
    def rows(self) -> tf.data.Dataset:
        """Batches of rows by user, even where rows of the data are by item."""
        return by_user.histories(self.data_dir, self.info, self.part, self.batch_size)

    @property
    def batch_size(self) -> int:
        """Rows a batch: fewer where there are many items."""
        return inputs.rows_to_score(of_users(self.info), _BATCH)


def learn_items(
    model: Recommender, data_dir: str | pathlib.Path, split: str, recent_share: float = 1.0
) -> None:
    """Sets the item counts and item vectors of a model's `list_order`.

    For new users recent popularity is the better baseline than popularity of all time (Ji, Sun,
    Zhang and Li, "A Re-visit of the Popularity Baseline in Recommender Systems", SIGIR 2020).

    Args:
        model: Any model.
        data_dir: The prepared data.
        split: "train" or "train+validation".
        recent_share: The share of the newest interactions of `split` whose popularity ranks items
            for an empty history; without times, or with 1, all interactions count.
    """
    info, order = DatasetInfo.load(data_dir), model.list_order
    counts, kept = np.zeros(info.n_items, np.int64), []
    for users, items in pairs.read(data_dir, info, split):
        counts += np.bincount(items, minlength=info.n_items)
        if order.scale:
            kept.append((users[users < _ROWS], items[users < _ROWS]))
    order.counts.assign(counts)
    recent = np.zeros_like(counts)
    if recent_share < 1:
        recent = pairs.recent_counts(data_dir, info, split, recent_share)
    order.recent.assign(recent)
    if order.scale:
        users, items = (np.concatenate(part) for part in zip(*kept, strict=True))
        shape = (min(info.n_users, _ROWS), info.n_items)
        chosen = scipy.sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape)
        order.vectors.assign(_vectors(chosen) * np.float32(np.sqrt(info.n_items)))


def _vectors(chosen: scipy.sparse.csr_matrix) -> np.ndarray:
    """The first right singular vectors, float32 `[n_items, SIZE]`, 0 beyond the rank."""
    if np.prod(chosen.shape) <= _DENSE or min(chosen.shape) <= 2:
        _, lengths, rows = np.linalg.svd(chosen.toarray(), full_matrices=False)
        found = rows[lengths > 1e-4 * max(1.0, lengths[0])][:SIZE]
    else:
        found = sparse.right_singular(chosen, SIZE)
    return np.pad(found.T, [(0, 0), (0, SIZE - len(found))]).astype(np.float32)


def liked_from(info: DatasetInfo) -> float:
    """The lowest rating that counts as liked: three quarters up the scale, such as 4 of 1 to 5."""
    low, high, step = info.rating_min, info.rating_max, info.rating_step
    share = 0.75 * (high - low)
    return low + (math.ceil(share / step - 1e-6) * step if step else share)


def choose_rule(model: Recommender, validation: HeldOut) -> None:
    """Sets the rule whose validation lists have the best NDCG.

    Where no user liked anything, lists are ordered by the scores alone.
    """
    found = measure(model, validation, RULES, _USERS)
    best = max(range(len(found)), key=lambda i: found[i][f"ndcg@{CUT}"], default=None)
    set_rule(model, (0.0, 0.0) if best is None else RULES[best])


def own_rule(model: Recommender) -> Rule:
    """The rule that orders a model's lists; (0, 0) for models that do not predict ratings."""
    order = model.list_order
    if not order.scale:
        return 0.0, 0.0
    weight, choice = (tf.convert_to_tensor(v) for v in (order.weight, order.choice))
    return float(weight), float(choice)


def set_rule(model: Recommender, rule: Rule) -> None:
    """Sets the rule that orders the lists of a rating model; other models have none."""
    if model.list_order.scale:
        model.list_order.weight.assign(rule[0])
        model.list_order.choice.assign(rule[1])


def measure(
    model: Recommender, held_out: HeldOut, rules: Sequence[Rule] = (), users: int | None = None
) -> list[dict[str, float]]:
    """`METRICS` of the reports that `reports` returns for the same arguments."""
    found: list[RankingReport] = reports(model, held_out, rules, users)
    results = (report.result() for report in found)
    return [{name: result[name] for name in METRICS} for result in results]


def reports(
    model: Recommender,
    held_out: HeldOut,
    rules: Sequence[Rule] = (),
    users: int | None = None,
    make: type[Made] = RankingReport,  # type: ignore[assignment]
) -> list[Made]:
    """Reports of the lists of the users who liked any held-out item.

    Args:
        model: A model whose `list_order` has the item counts.
        held_out: The held-out rows.
        rules: Rules to evaluate, each by itself; default: the model's own.
        users: Their number at most, in whole batches; default: all.
        make: Class of the reports.

    Returns:
        A report for each rule; none where no user liked anything.
    """
    info = held_out.info
    by_history = (
        model.reads == "histories"
    )  # at serving, others know which items were rated, not the ratings
    score, tried = _scorer(model, held_out), rules or [own_rule(model)]
    by_values = model.info.rows == "user" and by_history
    found, n_liked = [make(of_users(info), (CUT,)) for _ in tried], 0
    # There are few batches: eager execution takes less time than tracing a graph would.
    batches = users and -(-users // held_out.batch_size)
    for features, targets in itertools.islice(_likes(held_out.rows, liked_from(info)), batches):
        n_liked += int(np.count_nonzero(targets["target_items"] >= 0))
        scores, items = score(features), features["items"]
        values = features["values"] if by_values else None
        for report, rule in zip(found, tried, strict=True):
            order = ranking.checked(model.list_order(scores, items, values, rule=rule))
            _, top = ranking.top_k(scores, items, CUT, order=order)
            report.update(features, targets, top.numpy())
    return found if n_liked else []


def floors(held_out: HeldOut, trained_on: str, counts: tf.Tensor) -> dict[str, dict[str, float]]:
    """Metrics of the simplest models: `popularity` by its lists, `biases` by RMSE and its lists.

    Lists of Biases are ordered by the predicted ratings alone, which ranks the items with the
    highest damped means first.

    Args:
        held_out: The held-out rows to evaluate on.
        trained_on: "train" or "train+validation": the rows that Biases is fitted to.
        counts: Interactions of `trained_on` with each item, `[n_items]`.
    """
    info = held_out.info
    popular, biases = Popularity.create(of_users(info)), Biases.create(of_users(info))
    popular.counts.assign(counts)
    biases.fit(by_user.histories(held_out.data_dir, info, trained_on, _BATCH))
    report = RatingReport(of_users(info))
    for features, targets in held_out.rows:
        report.update(features, targets, biases.score(features))
    found: list[dict] = [dict(*measure(m, held_out)) for m in (popular, biases)]
    errors = report.result()
    of_biases = found[1] | {name: errors[name] for name in ("rmse", "mae")}
    return {"popularity": found[0], "biases": of_biases}


def rates(model: Recommender) -> bool:
    """Whether a model serves lists ordered by predicted ratings."""
    return model.list_order.scale is not None and model.info.has_ids


def result(model: Recommender, held_out: HeldOut) -> dict[str, float]:
    """List metrics of a rating model; empty for other models."""
    return dict(*measure(model, held_out)) if rates(model) else {}


def protocol(model: Recommender) -> str:
    """How the lists of a rating model are evaluated, as text."""
    least = f"; lists of the {CUT} best items not seen, hits are held-out items from "
    return f"{least}{liked_from(model.info):g}" if rates(model) else ""


def of_users(info: DatasetInfo) -> DatasetInfo:
    """The same data with rows by user."""
    return dataclasses.replace(info, rows="user")


def _likes(rows: tf.data.Dataset, least: float) -> Iterator[tuple[_Features, dict]]:
    """The batches, with targets that users rated below `least` removed."""
    for features, targets in rows:
        items, values = (targets[name].numpy() for name in ("target_items", "target_values"))
        yield features, {"target_items": np.where(values >= least, items, PAD)}


def _scorer(model: Recommender, held_out: HeldOut) -> Callable[[_Features], tf.Tensor]:
    """A function from batches of rows by user to scores of all items, `[batch, n_items]`."""
    if isinstance(model, Ensemble):
        folders = zip(model.members, model.config.data_dirs, strict=True)
        scorers = [_scorer(member, HeldOut(folder, held_out.part)) for member, folder in folders]
        return lambda features: model.combined([score(features) for score in scorers])
    if model.reads == "events":
        return lambda features: model.score({"user": features["user"]})
    if not isinstance(model, ItemRows) or model.info.rows == "user":
        return model.score
    both = held_out.part == "test" and "validation" in model.info.test_history
    known = "train+validation" if both else "train"  # before what is held out
    rows = inputs.histories(held_out.data_dir, model.info, known, _BATCH, fill=True)
    codes = tf.constant(model.encode_all(rows))
    return lambda features: model.score_columns(codes, tf.maximum(features["user"], 0))
