"""Confidence intervals of metrics, and significance tests of the difference of two runs."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfrec.config import known_names
from tfrec.metrics.report import Report, SavedValues

_AT_ONCE = 2_000_000  # random numbers drawn in one step: 16 MB

# Metrics that are a quotient over all users: sum of the first / sum of the second, transformed.
_POOLED: dict[str, tuple[str, str, Callable[..., np.ndarray]]] = {
    "rmse": ("squared_error", "n_ratings", np.sqrt),
    "mae": ("absolute_error", "n_ratings", np.asarray),
    "logloss": ("logloss", "n_events", np.asarray),
    "gauc": ("gauc", "gauc_events", np.asarray),
}
_NOT_METRICS = {"targets"}.union(*(columns[:2] for columns in _POOLED.values()))


@dataclasses.dataclass(frozen=True)
class Interval:
    """A metric of one run.

    Attributes:
        value: Over all users.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The difference of run a and run b on the same users.

    Attributes:
        metric: The metric compared.
        mean_difference: Value of a minus value of b.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        p_value: Two-sided, for the hypothesis that a and b are equally good.
        n: Users (rows) compared.
    """

    metric: str
    mean_difference: float
    low: float
    high: float
    p_value: float
    n: int

    def __str__(self) -> str:
        return (
            f"{self.metric} {self.mean_difference:+.5f} [{self.low:+.5f}, {self.high:+.5f}] "
            f"(95 %), p = {self.p_value:.4f}, {self.n:,} users"
        )


def compare(
    a: Report | SavedValues | str | os.PathLike,
    b: Report | SavedValues | str | os.PathLike,
    metric: str,
    seed: int = 0,
    draws: int = 10_000,
) -> Comparison:
    """Compares two runs on one metric, user by user.

    The interval is a paired percentile bootstrap over users. The test is Fisher's paired
    randomization test: in each draw every user's two values are swapped with probability
    1/2, and p = (1 + draws whose difference is at least that of the runs) / (1 + draws).
    Smucker, Allan and Carterette (CIKM 2007) recommend both for ranking metrics, and advise
    against Wilcoxon's and the sign test. For rmse, mae and logloss users are drawn with all
    their ratings, and the test is on the users' summed errors: with equal ratings in both runs
    that is the same hypothesis. The same holds for gauc, among the users with both labels. An
    auc over all events is not a sum over users and cannot be compared.

    Args:
        a: A report, or a file written by its `save`.
        b: The other run.
        metric: A name of `per_user()`, or "rmse", "mae", "logloss", "gauc".
        seed: Seed of the draws.
        draws: Number of bootstrap samples, and of random swaps.

    Raises:
        ValueError: unknown metric, or the runs differ in users or targets.
    """
    first, second = _values(a), _values(b)
    left, right = first.per_user(), second.per_user()
    _require_same(first.users, second.users, left, right)
    _require_known(metric, comparable(first), "first")
    _require_known(metric, comparable(second), "second")
    x, weight, scale = _summands(left, metric)
    y, _, _ = _summands(right, metric)
    x, y, weight = (values[weight > 0] for values in (x, y, weight))

    def difference(pick: np.ndarray) -> np.ndarray:
        total = weight[pick].sum(axis=-1)
        return scale(x[pick].sum(axis=-1) / total) - scale(y[pick].sum(axis=-1) / total)

    rng = np.random.default_rng(seed)
    low, high = _bootstrap(rng, difference, len(x), draws)
    return Comparison(
        metric=metric,
        mean_difference=float(difference(np.arange(len(x)))),
        low=low,
        high=high,
        p_value=_randomization_test(rng, x - y, draws),
        n=len(x),
    )


def interval(
    run: Report | SavedValues | str | os.PathLike, metric: str, seed: int = 0, draws: int = 2_000
) -> Interval:
    """A metric with its percentile bootstrap interval over users, as in `compare`.

    The interval covers only the sampling of users, not other splits or other training seeds.

    Args:
        run: A report, or a file written by its `save`.
        metric: As in `compare`.
        seed: Seed of the draws.
        draws: Number of bootstrap samples.

    Raises:
        ValueError: unknown metric.
    """
    values = _values(run)
    _require_known(metric, comparable(values), "measured")
    x, weight, scale = _summands(values.per_user(), metric)
    x, weight = x[weight > 0], weight[weight > 0]

    def value(pick: np.ndarray) -> np.ndarray:
        return scale(x[pick].sum(axis=-1) / weight[pick].sum(axis=-1))

    low, high = _bootstrap(np.random.default_rng(seed), value, len(x), draws)
    return Interval(float(value(np.arange(len(x)))), low, high)


def auc_interval(auc: float, positives: int, negatives: int) -> Interval:
    """An AUC with its 95 % interval by the normal approximation of Hanley and McNeil (1982).

    It takes events for independent; those of one user are not quite.

    Args:
        auc: In [0, 1].
        positives: Events of label 1.
        negatives: Events of label 0.
    """
    of_positives, of_negatives = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    spread = (positives - 1) * of_positives + (negatives - 1) * of_negatives
    error = 1.96 * np.sqrt((auc * (1 - auc) + spread) / (positives * negatives))
    return Interval(auc, max(0.0, float(auc - error)), min(1.0, float(auc + error)))


def _summands(
    columns: dict[str, np.ndarray], metric: str
) -> tuple[np.ndarray, np.ndarray, Callable[..., np.ndarray]]:
    """`[n]` values and weights by user, and the transformation of the quotient of their sums."""
    column, count, scale = _POOLED.get(metric, (metric, "", np.asarray))
    x = columns[column]
    return x, columns[count] if count else np.ones(len(x)), scale


def _bootstrap(
    rng: np.random.Generator, statistic: Callable[[np.ndarray], np.ndarray], n: int, draws: int
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic of n positions drawn with replacement."""
    samples = [statistic(rng.integers(n, size=(size, n))) for size in _chunks(n, draws)]
    low, high = np.quantile(np.concatenate(samples), [0.025, 0.975])
    return float(low), float(high)


def _values(run: Report | SavedValues | str | os.PathLike) -> Report | SavedValues:
    """A run's values by user, read from its file if it is one."""
    return run if isinstance(run, (Report, SavedValues)) else SavedValues.load(pathlib.Path(run))


def metric_value(values: Report | SavedValues, metric: str) -> float:
    """A metric over all users of `values`: their mean, or the pooled quotient.

    Raises:
        ValueError: unknown metric.
    """
    _require_known(metric, comparable(values), "measured")
    x, weight, scale = _summands(values.per_user(), metric)
    return float(scale(x.sum() / weight.sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) for testing several comparisons at once.

    Returns:
        Adjusted p-values in the given order; one below alpha is significant at level alpha for
        the whole family.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted.tolist()


def comparable(run: Report | SavedValues) -> list[str]:
    """Names of the metrics of a run that `compare` accepts."""
    values = run.per_user()
    known = [name for name in values if name not in _NOT_METRICS]
    return known + [name for name, (column, *_) in _POOLED.items() if column in values]


def _require_known(metric: str, known: list[str], run: str) -> None:
    """Raises ValueError, naming the known metrics, unless `metric` is one."""
    if metric not in known:
        raise ValueError(f"the {run} run has no {metric!r} by user; " + known_names(metric, known))


def _randomization_test(rng: np.random.Generator, difference: np.ndarray, draws: int) -> float:
    """Two-sided p-value of a mean difference of zero, by random swaps within the pairs."""
    difference = difference[difference != 0]  # swapping equal values changes nothing
    if not difference.size:
        return 1.0
    # Swapped sums may differ from the observed one only by rounding.
    bound = abs(difference.sum()) - 1e-9 * np.abs(difference).sum()
    extreme = 0
    for size in _chunks(len(difference), draws):
        signs = rng.integers(0, 2, size=(size, len(difference)), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.count_nonzero(np.abs(signs @ difference) >= bound))
    return (1 + extreme) / (1 + draws)


def _chunks(n: int, draws: int) -> Iterator[int]:
    """Splits `draws` rows of n numbers so that a piece fits in memory."""
    step = max(1, _AT_ONCE // n)
    for start in range(0, draws, step):
        yield min(step, draws - start)


def _require_same(
    a: np.ndarray, b: np.ndarray, left: dict[str, np.ndarray], right: dict[str, np.ndarray]
) -> None:
    """Raises ValueError unless both runs were tested on the same users and targets."""
    only_a, only_b = np.setdiff1d(a, b), np.setdiff1d(b, a)
    if only_a.size or only_b.size:
        raise ValueError(
            f"the runs were tested on different users: {only_a.size} only in the first "
            f"(such as {only_a[:3].tolist()}), {only_b.size} only in the second (such as "
            f"{only_b[:3].tolist()}); compare runs on one prepared data directory"
        )
    other = a[left["targets"] != right["targets"]]
    if other.size:
        raise ValueError(
            f"the runs were tested on different targets: user {other[0]} and {other.size - 1} "
            "others have other held-out entries; compare runs on one prepared data directory"
        )
