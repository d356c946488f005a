"""Metrics of `RatingReport` and `CtrReport` for predictions in arrays, without TensorFlow."""

from typing import Any

import numpy as np

from tfrec.metrics import columns, ctr_report, rating_report
from tfrec.metrics.report import SavedValues, checksum

_NO_AUC = "take more events, or other labels"


def rating(
    predicted: Any, actual: Any, low: float | None = None, high: float | None = None
) -> dict[str, float]:
    """Errors of predicted ratings, pooled over all of them.

    Args:
        predicted: `[n]` numbers.
        actual: `[n]` numbers, the ratings.
        low: Lowest rating, to which lower predictions are clipped; None: not clipped.
        high: Highest rating, likewise.

    Returns:
        rmse, mae and n_ratings. Definitions: `RatingReport`.

    Raises:
        ValueError: arrays are empty, shapes differ, or a number is not finite.
    """
    return rating_report.mean_errors(_errors(predicted, actual, low, high))


def rating_by_user(
    predicted: Any,
    actual: Any,
    users: Any,
    low: float | None = None,
    high: float | None = None,
) -> SavedValues:
    """The errors of `rating` summed by user; other arguments and errors as of `rating`.

    Args:
        predicted: `[n]` numbers.
        actual: `[n]` numbers.
        users: `[n]` ids.
        low: Lowest rating.
        high: Highest rating.

    Returns:
        Values that `compare` takes for "rmse" and "mae", and `frame()` shows.
    """
    error = _errors(predicted, actual, low, high)
    user_ids, owner = _owners(users, len(error))
    thousandths = np.rint(np.asarray(actual, np.float64) * 1000).astype(np.int64)
    targets = {"targets": checksum(owner, thousandths, len(user_ids))}
    return SavedValues(user_ids, rating_report.error_sums(owner, error) | targets, "")


def clicks(
    predicted: Any, labels: Any, users: Any = None, *, logits: bool = False
) -> dict[str, float]:
    """AUC, log loss and calibration of predicted clicks, pooled over all events.

    Args:
        predicted: `[n]` probabilities; with `logits` their logits, which distinguish predictions
            whose probabilities are rounded to 1. Nothing is clipped: if a probability of 0 or 1
            is wrong, logloss is infinite.
        labels: `[n]`, 0 or 1.
        users: `[n]` ids, for gauc; None leaves it out.
        logits: Whether `predicted` are logits.

    Returns:
        auc, gauc and gauc_users, logloss, calibration, ece, n_events and positives.
        Definitions: `CtrReport`.

    Raises:
        ValueError: arrays are empty, shapes differ, a number is not finite, a label is neither 0
            nor 1, a probability is outside of [0, 1], or all labels are equal.
    """
    label, logit, probability = _events(predicted, labels, logits)
    if users is None:
        return ctr_report.click_metrics(None, label, logit, probability, _NO_AUC)
    _, owner = _owners(users, len(label))
    order = np.argsort(owner, kind="stable")
    owner, label, logit, probability = (x[order] for x in (owner, label, logit, probability))
    return ctr_report.click_metrics(owner, label, logit, probability, _NO_AUC)


def clicks_by_user(predicted: Any, labels: Any, users: Any, *, logits: bool = False) -> SavedValues:
    """The sums of `clicks` by user; arguments and errors as of `clicks`.

    Returns:
        Values that `compare` takes for "logloss" and "gauc", and `frame()` shows.
    """
    label, logit, _ = _events(predicted, labels, logits)
    user_ids, owner = _owners(users, len(label))
    order = np.argsort(owner, kind="stable")
    sums = ctr_report.click_sums(owner[order], label[order], logit[order])
    targets = {"targets": checksum(owner, label, len(user_ids))}
    return SavedValues(user_ids, sums | targets, "")


def _errors(predicted: Any, actual: Any, low: float | None, high: float | None) -> np.ndarray:
    predicted, actual = _numbers(predicted=predicted, actual=actual)
    clipped = predicted if low is None and high is None else np.clip(predicted, low, high)
    return clipped - actual


def _events(predicted: Any, labels: Any, logits: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (bool), logits and probabilities."""
    predicted, labels = _numbers(predicted=predicted, labels=labels)
    wrong = labels[(labels != 0) & (labels != 1)]
    if wrong.size:
        raise ValueError(f"label {wrong[0]:g} is neither 0 nor 1: compare ratings with a threshold")
    if logits:
        return labels == 1, predicted, ctr_report.sigmoid(predicted)
    wrong = predicted[(predicted < 0) | (predicted > 1)]
    if wrong.size:
        raise ValueError(f"{wrong[0]:g} is not a probability; pass logits=True if these are logits")
    with np.errstate(divide="ignore"):
        return labels == 1, np.log(predicted) - np.log1p(-predicted), predicted


def _owners(users: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The users' sorted ids, and the position in them of each entry's user."""
    users = np.asarray(users)
    if users.shape != (n,):
        raise ValueError(f"users must be [{n}], got {list(users.shape)}")
    return columns.coded(users, "users")


def _numbers(**arrays: Any) -> list[np.ndarray]:
    """Float64 arrays `[n]` of equal length, checked to be finite."""
    found = {name: columns.numbers(array, name) for name, array in arrays.items()}
    shapes = {name: list(array.shape) for name, array in found.items()}
    n = next(iter(found.values())).size
    if not n or any(shape != [n] for shape in shapes.values()):
        raise ValueError(f"arrays must be [n], all of one n above 0; got {shapes}")
    for name, array in found.items():
        if not np.isfinite(array).all():
            at = int(np.argmin(np.isfinite(array)))
            raise ValueError(f"{name}[{at}] is {array[at]}, not a finite number")
    return list(found.values())
