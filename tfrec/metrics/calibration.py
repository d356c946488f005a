"""Predictions against what came: by what was predicted, and by what came."""

import dataclasses

import numpy as np

BINS = 10
_MOST_VALUES = 12  # of ratings, that get a bin each


@dataclasses.dataclass(frozen=True)
class Bins:
    """Held-out interactions in bins; empty bins are left out.

    Attributes:
        low: `[n]`, lower ends of the bins.
        high: `[n]`, upper ends; equal to `low` where a bin is one value.
        count: `[n]` int, interactions.
        predicted: `[n]`, mean prediction.
        actual: `[n]`, mean rating, or share of clicks.
        rmse: `[n]`, root of the mean squared error.
    """

    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    predicted: np.ndarray
    actual: np.ndarray
    rmse: np.ndarray


def by_prediction(
    prediction: np.ndarray, value: np.ndarray, low: float, high: float, bins: int = BINS
) -> Bins:
    """Bins of equal width of what was predicted: of a calibrated model, both means are equal.

    Args:
        prediction: `[N]` float.
        value: `[N]` float, what came.
        low: Least prediction there can be.
        high: Greatest.
        bins: How many.
    """
    edges = np.linspace(low, high, bins + 1)
    owner = np.clip(np.searchsorted(edges, prediction, "right") - 1, 0, bins - 1)
    return _binned(owner, edges[:-1], edges[1:], prediction, value)


def by_value(prediction: np.ndarray, value: np.ndarray) -> Bins:
    """Bins of what came: one a value where these are few, else ten with equally many.

    Args:
        prediction: `[N]` float.
        value: `[N]` float.
    """
    values, owner = np.unique(value, return_inverse=True)
    if len(values) <= _MOST_VALUES:
        return _binned(owner, values, values, prediction, value)
    edges = np.unique(np.quantile(value, np.linspace(0, 1, BINS + 1)))
    owner = np.clip(np.searchsorted(edges, value, "right") - 1, 0, len(edges) - 2)
    return _binned(owner, edges[:-1], edges[1:], prediction, value)


def _binned(
    owner: np.ndarray, low: np.ndarray, high: np.ndarray, prediction: np.ndarray, value: np.ndarray
) -> Bins:
    count = np.bincount(owner, minlength=len(low))
    kept = count > 0

    def mean(each: np.ndarray) -> np.ndarray:
        return np.bincount(owner, each, len(low))[kept] / count[kept]

    squared = mean((prediction - value) ** 2)
    return Bins(low[kept], high[kept], count[kept], mean(prediction), mean(value), np.sqrt(squared))
