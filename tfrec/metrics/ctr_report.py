"""Metrics of predicted clicks (likes, installs), pooled over all held-out events."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec.metrics import held_out
from tfrec.metrics.report import Report, checksum
from tfrec.schema import DatasetInfo

_BINS = 10
_LEAST = 1e-300  # probability of a label: its logarithm is finite


class CtrReport(Report):
    """AUC, log loss and calibration of predicted clicks.

    With labels y (0 or 1), logits z and probabilities p = 1 / (1 + exp(-z)), pooled over ALL
    held-out events, neither a mean over users nor over batches:

    * `auc` = share of the pairs of a positive and a negative event in which the positive one
      has the greater logit, equal logits counting 1/2. Exact; of logits because float32
      probabilities of large logits are all 1.
    * `gauc` = AUC among a user's own events, mean over the users with both labels, weighted
      by their numbers of events (Zhou et al., KDD 2018: "Deep Interest Network for
      Click-Through Rate Prediction"). `gauc_users` is the number of these users. If there are
      none, or the data has no users, `gauc` is missing and `gauc_users` 0.
    * `logloss` = sum of log(1 + exp(-z)) where y = 1 and log(1 + exp(z)) where y = 0, over
      the number of events; natural logarithm, nothing clipped.
    * `calibration` = sum of p / sum of y; 1 is best, predictions are too high above 1 (He et
      al., ADKDD 2014: "Practical Lessons from Predicting Clicks on Ads at Facebook").
    * `ece` = sum over 10 bins of |sum of p - sum of y| / number of events, an event being in
      bin floor(10 p), p = 1 in the last (Naeini et al., AAAI 2015; bins of equal width as in
      Guo et al., ICML 2017).
    * `n_events`, and `positives`, the share of them with y = 1.

    Filler rows (user -1) are ignored. Metrics do not depend on the order of the events.

    Args:
        info: The info of the prepared data.
    """

    directions = {"auc": True, "gauc": True, "logloss": False, "ece": False}

    def __init__(self, info: DatasetInfo):
        super().__init__(info)
        self._codes: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._logits: list[np.ndarray] = []

    @property
    def protocol(self) -> str:
        """A description of split and evaluation."""
        return (
            f"{self.info.protocol}; over all held-out events at once, AUC exact with ties 1/2, "
            + ("gauc within users weighted by events, " if self.info.has_ids else "")
            + f"ece over {_BINS} bins of equal width"
        )

    def update(self, features: Mapping[str, Any], targets: Mapping[str, Any], scores: Any) -> None:
        """Adds a batch of events.

        Args:
            features: "user" `[batch]` int, -1 for filler rows; "item" `[batch]` int.
            targets: "value" `[batch]` float, the labels 0 and 1.
            scores: `[batch]` float, the logits.

        Raises:
            ValueError: values that are not labels, a repeated event, wrong shapes, or a logit
                that is not a finite number.
        """
        events = held_out.read_events(self.info, features, targets, scores)
        wrong = events.value[(events.value != 0) & (events.value != 1)]
        if wrong.size:
            raise ValueError(
                f"value {wrong[0]:g} is not a label (0 or 1): make labels of the ratings, "
                "for example with --data label_above=3"
            )
        self._codes.append(events.codes)
        self._labels.append(events.value == 1)
        self._logits.append(events.score)

    @property
    def users(self) -> np.ndarray:
        """`[n]` int64: users with at least one event, ascending."""
        return np.unique(self._events()[0])

    def per_user(self) -> dict[str, np.ndarray]:
        """Sums by user, aligned with `users`; without AUC, which is not a sum over users.

        Returns:
            "logloss" (sum over the user's events), "n_events", "targets" (uint64, equal for equal
            labelled events), and if any user has both labels: "gauc" (the user's AUC times
            `gauc_events`) and "gauc_events" (the user's events; 0 without both labels).
        """
        user, item, label, logit = self._events()
        first, owner = held_out.groups(user)
        targets = {"targets": checksum(owner, item * 2 + label, len(first))}
        return click_sums(owner, label, logit, self.info.has_ids) | targets

    def per_interaction(self) -> dict[str, np.ndarray]:
        user, item, label, logit = self._events()
        value = label.astype(np.float64)
        return {"user": user, "item": item, "value": value, "prediction": sigmoid(logit)}

    @classmethod
    def errors(cls, value: np.ndarray, prediction: np.ndarray) -> dict[str, np.ndarray]:
        likelihood = np.where(value == 1, prediction, 1 - prediction)
        return {"logloss": -np.log(np.maximum(likelihood, _LEAST)), "n_events": np.ones(len(value))}

    def result(self) -> dict[str, float]:
        """The metrics by name; `gauc` only if there is a user with both labels.

        Raises:
            ValueError: there was no event, one was repeated, or all labels are equal.
        """
        user, _, label, logit = self._events()
        owner = held_out.groups(user)[1] if self.info.has_ids else None
        cure = "prepare the data with another --data label_above"
        return click_metrics(owner, label, logit, sigmoid(logit), cure)

    def _events(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All events so far as user, item, label, logit; by user, then item."""
        if not sum(map(len, self._codes)):
            raise ValueError("there was no held-out event: nothing to report")
        user, item, order = held_out.by_user(self.info, np.concatenate(self._codes))
        label, logit = np.concatenate(self._labels), np.concatenate(self._logits)
        return user, item, label[order], logit[order]


def click_metrics(
    owner: np.ndarray | None,
    label: np.ndarray,
    logit: np.ndarray,
    probability: np.ndarray,
    cure: str,
) -> dict[str, float]:
    """The metrics by name, as `CtrReport` defines them.

    Args:
        owner: `[N]` int in `[0, n)`, ascending: the user of each event; None if unknown.
        label: `[N]` bool.
        logit: `[N]` float64.
        probability: `[N]` float64, the logistic function of `logit`.
        cure: The end of the error for labels that are all equal.

    Raises:
        ValueError: all labels are equal.
    """
    if label.all() or not label.any():
        raise ValueError(
            f"all labels are equal: {len(label):,} events, all {int(label[0])}, have no AUC; {cure}"
        )
    wins, pairs = _pairs(np.zeros(len(label), np.int64), label, logit)
    by_user = {} if owner is None else _gauc(owner, label, logit)
    counted = by_user.get("gauc_events", np.zeros(1))
    gauc = {"gauc": float(by_user["gauc"].sum() / counted.sum())} if by_user else {}
    return {
        "auc": float(wins[0] / pairs[0]),
        **gauc,
        "gauc_users": int(np.count_nonzero(counted)),
        "logloss": float(np.mean(_log_loss(label, logit))),
        **_calibration(label, probability),
        "n_events": len(label),
        "positives": float(np.mean(label)),
    }


def click_sums(
    owner: np.ndarray, label: np.ndarray, logit: np.ndarray, are_users: bool = True
) -> dict[str, np.ndarray]:
    """Sums by owner, `[n]` each: "logloss", "n_events" and the summands of `gauc`.

    Args:
        owner: `[N]` int in `[0, n)`, ascending, each at least once.
        label: `[N]` bool.
        logit: `[N]` float64.
        are_users: Whether owners are users, for `gauc`.
    """
    sums = {
        "logloss": np.bincount(owner, _log_loss(label, logit)),
        "n_events": np.bincount(owner),
    }
    return sums | (_gauc(owner, label, logit) if are_users else {})


def _gauc(owner: np.ndarray, label: np.ndarray, logit: np.ndarray) -> dict[str, np.ndarray]:
    """The columns "gauc" and "gauc_events" of `per_user`; none if no owner has both labels."""
    wins, pairs = _pairs(owner, label, logit)
    events = np.where(pairs > 0, np.bincount(owner), 0)
    if not events.any():
        return {}
    return {"gauc": events * wins / np.maximum(pairs, 1), "gauc_events": events}


def _pairs(
    owner: np.ndarray, label: np.ndarray, logit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a positive and a negative event of the same owner.

    Args:
        owner: `[N]` int in `[0, n)`, ascending, each at least once.
        label: `[N]` bool.
        logit: `[N]` float.

    Returns:
        `[n]` float64 each: pairs in which the positive event is above (ties 1/2), and all.
        Exact, because halves are exact in float64 up to 2**52.
    """
    order = np.lexsort((logit, owner))
    label, logit = label[order], logit[order]
    new_tie = np.append(True, (owner[1:] != owner[:-1]) | (logit[1:] != logit[:-1]))
    start = np.flatnonzero(new_tie)  # events of one owner with one logit: one tie
    whose = owner[start]
    positive, negative = (np.add.reduceat(x.astype(np.int64), start) for x in (label, ~label))
    of_owner = np.bincount(whose, negative)
    earlier = (np.cumsum(of_owner) - of_owner)[whose]  # negative events of other owners
    below = np.cumsum(negative) - negative - earlier
    wins = np.bincount(whose, positive * (below + negative / 2))
    return wins, np.bincount(whose, positive) * of_owner


def _log_loss(label: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """`[N]` float64: -log of the probability given to the label."""
    return np.logaddexp(0, np.where(label, -logit, logit))


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Probabilities of logits, float64."""
    return np.exp(-np.logaddexp(0, -logit))


def _calibration(label: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Predicted against actual positives: in total, and by bins of probability."""
    bins = np.minimum((probability * _BINS).astype(np.int64), _BINS - 1)
    promised = np.bincount(bins, probability, minlength=_BINS)
    found = np.bincount(bins, label, minlength=_BINS)
    return {
        "calibration": float(promised.sum() / found.sum()),
        "ece": float(np.abs(promised - found).sum() / len(label)),
    }
