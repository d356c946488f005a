"""Lists of the best items that a rating model serves, measured by the held-out items users liked.

A list is the model's top k of all items that its input does not hold, in the order that serving
uses (`Recommender.list_order`); a hit is a held-out item that the user liked (`liked_from`).
Whatever a row of the data is and whatever the model reads, lists are of users.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfrec import ranking
from tfrec.data import by_user, inputs
from tfrec.metrics import RankingReport, RatingReport
from tfrec.models.base import Recommender
from tfrec.models.biases import Biases
from tfrec.models.capabilities import ItemRows
from tfrec.models.damped_biases import DAMPING
from tfrec.models.popularity import Popularity
from tfrec.schema import PAD, DatasetInfo

CUT = 10
METRICS = (f"hr@{CUT}", f"ndcg@{CUT}", f"coverage@{CUT}")
TASTES, WEIGHTS = (0.0, 2.0, 4.0, 8.0), (0.0, 0.3, 1.0, 2.0, 4.0)
RULES = tuple(itertools.product(TASTES, WEIGHTS))
AS_GOOD = 0.98  # share of the best NDCG from which coverage decides

_BATCH = 256
_BATCHES = 20  # that a rule is chosen by: 5,120 users
_Features = dict[str, tf.Tensor]
Rule = tuple[float, float]  # taste and weight of `ListOrder`


def learn_items(model: Recommender, data_dir: str, split: str) -> None:
    """Gives a model's `list_order` the items' counts and means of "train" or "train+validation"."""
    info = DatasetInfo.load(data_dir)
    counts, sums = np.zeros(info.n_items, np.int64), np.zeros(info.n_items)
    for features, targets in inputs.histories(data_dir, info, split, _BATCH, fill=True):
        columns, values = (targets[name].numpy() for name in ("target_items", "target_values"))
        row, place = np.nonzero(columns >= 0)
        of_row = features["user"].numpy()[row]
        items = columns[row, place] if info.rows == "user" else of_row
        counts += np.bincount(items, minlength=info.n_items)
        sums += np.bincount(items, values[row, place], info.n_items)
    model.list_order.counts.assign(counts)
    if model.list_order.rates:
        damped = sums + DAMPING * info.rating_mean
        model.list_order.means.assign(damped / (counts + DAMPING))


def liked_from(info: DatasetInfo) -> float:
    """The least rating that counts as liked: three quarters up the scale, 4 of 1 to 5."""
    low, high, step = info.rating_min, info.rating_max, info.rating_step
    share = 0.75 * (high - low)
    return low + (math.ceil(share / step - 1e-6) * step if step else share)


def choose_rule(model: Recommender, data_dir: str) -> None:
    """Gives a model the rule with the best lists of validation.

    Of those that are as good by NDCG it is the one with the widest coverage. Where no user liked
    anything the scores alone decide.
    """
    found = measure(model, data_dir, "validation", RULES, _BATCHES)
    ndcg, coverage = ([result[name] for result in found] for name in METRICS[1:])
    good = [i for i, value in enumerate(ndcg) if value >= AS_GOOD * max(ndcg)]
    set_rule(model, RULES[max(good, key=lambda i: coverage[i])] if good else (0.0, 0.0))


def own_rule(model: Recommender) -> Rule:
    """The rule that orders a model's lists; of one that does not rate (0, 0)."""
    order = model.list_order
    return (float(order.taste), float(order.weight)) if order.rates else (0.0, 0.0)


def set_rule(model: Recommender, rule: Rule) -> None:
    """Gives a model of ratings the rule that orders its lists."""
    model.list_order.taste.assign(rule[0])
    model.list_order.weight.assign(rule[1])


def measure(
    model: Recommender,
    data_dir: str,
    part: str,
    rules: Sequence[Rule] = (),
    batches: int | None = None,
) -> list[dict[str, float]]:
    """Measures the lists of users who liked anything of `part`.

    Args:
        model: A model of ratings; its `list_order` knows the items.
        data_dir: The prepared data.
        part: "validation" or "test".
        rules: To order by, each by itself; default the model's own.
        batches: How many batches of 256 users at most; default all.

    Returns:
        `METRICS` for each rule; nothing where no user liked anything.
    """
    info = DatasetInfo.load(data_dir)
    score, tried = _scorer(model, data_dir, part), rules or [own_rule(model)]

    @tf.function(reduce_retracing=True)
    def tops(features: _Features) -> tf.Tensor:
        scores, items = score(features), features["items"]
        cold = tf.reduce_all(items == PAD, axis=1, keepdims=True)

        def top(rule: tf.Tensor) -> tf.Tensor:
            order = model.list_order(scores, cold, rule=(rule[0], rule[1]))
            return ranking.top_k(scores, items, CUT, order=order)[1]

        return tf.map_fn(top, tf.constant(tried, tf.float32), fn_output_signature=tf.int32)

    reports = [RankingReport(_of_users(info), (CUT,)) for _ in tried]
    n_liked = 0
    for features, targets in itertools.islice(_likes(info, data_dir, part), batches):
        n_liked += np.count_nonzero(targets["target_items"] >= 0)
        for report, top in zip(reports, tops(features).numpy(), strict=True):
            report.update(features, targets, top)
    if not n_liked:
        return []
    return [{name: report.result()[name] for name in METRICS} for report in reports]


def floors(data_dir: str, part: str, trained_on: str) -> dict[str, dict[str, float]]:
    """What the simplest models get: `popularity` by its lists, `biases` by RMSE and its lists.

    Args:
        data_dir: The prepared data.
        part: "validation" or "test".
        trained_on: "train" or "train+validation", what they learn from.
    """
    info = DatasetInfo.load(data_dir)
    popular, biases = Popularity.create(_of_users(info)), Biases.create(_of_users(info))
    learn_items(biases, data_dir, "train")
    if info.n_ratings.get("validation"):
        biases.fit(by_user.histories(data_dir, info, "train", _BATCH))
        choose_rule(biases, data_dir)
    learn_items(biases, data_dir, trained_on)
    popular.counts.assign(biases.list_order.counts)
    biases.fit(by_user.histories(data_dir, info, trained_on, _BATCH))
    report = RatingReport(_of_users(info))
    for features, targets in by_user.histories(data_dir, info, part, _BATCH):
        report.update(features, targets, biases.score(features))
    of_popular, of_biases = (dict(*measure(m, data_dir, part)) for m in (popular, biases))
    errors = report.result()
    of_biases |= {name: errors[name] for name in ("rmse", "mae")}
    return {"popularity": of_popular, "biases": of_biases}


def protocol(info: DatasetInfo) -> str:
    """The way of measuring lists, in words."""
    return (
        f"lists of the {CUT} best items not seen, hits are held-out items from {liked_from(info):g}"
    )


def _of_users(info: DatasetInfo) -> DatasetInfo:
    """The same data with rows by user."""
    return dataclasses.replace(info, rows="user")


def _likes(info: DatasetInfo, data_dir: str, part: str) -> Iterator[tuple[_Features, dict]]:
    """The users' batches of `part`, what they did not like taken out of the targets."""
    least = liked_from(info)
    for features, targets in by_user.histories(data_dir, info, part, _BATCH):
        items, values = (targets[name].numpy() for name in ("target_items", "target_values"))
        yield features, {"target_items": np.where(values >= least, items, PAD)}


def _scorer(model: Recommender, data_dir: str, part: str) -> Callable[[_Features], tf.Tensor]:
    """A function from users' batches to scores of all items, `[batch, n_items]`, for graphs."""
    if model.reads == "events":
        return lambda features: model.score({"user": features["user"]})
    if not isinstance(model, ItemRows) or model.info.rows == "user":
        return model.score
    codes = tf.constant(_codes(model, data_dir, part))
    return lambda features: model.score_columns(codes, tf.maximum(features["user"], 0))


def _codes(model: ItemRows, data_dir: str, part: str) -> np.ndarray:
    """The codes of all items from what is known before `part`."""
    info = model.info
    both = part == "test" and "validation" in info.test_history
    codes = np.repeat(model.encode(model.empty_features()).numpy(), info.n_items, axis=0)
    split = "train+validation" if both else "train"
    for features, _ in inputs.histories(data_dir, info, split, _BATCH, fill=True):
        rows = features["user"].numpy()
        codes[rows[rows >= 0]] = model.encode(features).numpy()[rows >= 0]
    return codes
