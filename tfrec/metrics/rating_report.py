"""Errors of predicted ratings, pooled over all held-out ratings."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec.metrics import held_out
from tfrec.metrics.report import Report, checksum
from tfrec.schema import DatasetInfo


class RatingReport(Report):
    """RMSE, MAE and re-ranking precision on held-out ratings.

    * `rmse`, `mae`: pooled over ALL held-out ratings, neither a mean over users nor over
      batches. Predictions are first clipped to the rating range (unless `clip=False`).
    * `rerank_precision@k`: each user's held-out items are ranked by their unclipped
      predictions; hits / min(k, number of held-out items), mean over users with at least one.
      A hit is an item that the user rated `relevant` or better. For equal predictions the
      expected number of hits over all orders counts, so that a constant prediction gives
      exactly the value of chance.

    Rows without a target and filler rows (user -1) are ignored. With item rows the ratings are
    regrouped by user.

    Args:
        info: The info of the prepared data.
        clip: Whether to clip predictions to the rating range for the errors.
        relevant: Least rating, in the unit of the ratings, that counts as a hit.
        ks: Cuts of the re-ranking precision.
    """

    directions = {"rmse": False, "mae": False, "rerank_precision": True}

    def __init__(
        self,
        info: DatasetInfo,
        clip: bool = True,
        relevant: float = 4.0,
        ks: tuple[int, ...] = (5, 10),
    ):
        super().__init__(info, ks)
        self.clip = clip
        self.relevant = relevant
        self._codes: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._predictions: list[np.ndarray] = []

    @property
    def protocol(self) -> str:
        """A description of split and evaluation."""
        low, high = self.info.rating_min, self.info.rating_max
        clipped = f"clipped to {low:g}-{high:g}" if self.clip else "not clipped"
        return (
            f"{self.info.protocol}; errors pooled over all held-out ratings, predictions "
            f"{clipped}; re-ranking of a user's held-out items, relevant from "
            f"{self.relevant:g}, ties by expectation, mean over users"
        )

    def update(self, features: Mapping[str, Any], targets: Mapping[str, Any], scores: Any) -> None:
        """Adds a batch of histories, or of events; the same ratings give the same metrics.

        Args:
            features: "user" `[batch]` int, -1 for filler rows; "items" `[batch, L]` int,
                the input, which must not contain a target. Events: "user" and "item"
                `[batch]` int, users and items even if rows are items.
            targets: "target_items" `[batch, M]` int, padded with -1; "target_values"
                `[batch, M]` float. Events: "value" `[batch]` float.
            scores: `[batch, n_columns]` float, the predicted ratings. Events: `[batch]`.

        Raises:
            ValueError: a leaking split, duplicates, wrong shapes, or a prediction that is
                not a finite number.
        """
        if "item" in features:
            events = held_out.read_events(self.info, features, targets, scores)
            self._add(events.codes, events.value, events.score)
        else:
            self._add(*self._read_histories(features, targets, scores))

    def _add(self, codes: np.ndarray, values: np.ndarray, predictions: np.ndarray) -> None:
        self._codes.append(codes)
        self._values.append(values)
        self._predictions.append(predictions)

    def _read_histories(
        self, features: Mapping[str, Any], targets: Mapping[str, Any], scores: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Codes, values and predictions of a batch of histories."""
        batch = held_out.read(self.info, features, targets)
        scores = np.asarray(scores)
        if scores.shape != (len(batch.rows), batch.width):
            raise ValueError(
                f"scores must be [{len(batch.rows)}, {batch.width}], got {list(scores.shape)}"
            )
        items = np.asarray(targets["target_items"])
        values = np.asarray(targets["target_values"], np.float64)
        if values.shape != items.shape:
            raise ValueError(f"target_values must be {list(items.shape)}, got {list(values.shape)}")
        predictions = scores[batch.row, batch.item].astype(np.float64)
        _refuse_not_finite(batch, predictions)
        real = (items >= 0) & (batch.rows >= 0)[:, np.newaxis]
        return batch.codes, values[real], predictions

    @property
    def users(self) -> np.ndarray:
        """`[n]` int64: users with at least one held-out rating, ascending."""
        return np.unique(self._ratings()[0])

    def per_user(self) -> dict[str, np.ndarray]:
        """Sums and precisions by user, aligned with `users`.

        Returns:
            "squared_error" and "absolute_error" (sums over the user's ratings), "n_ratings",
            "rerank_precision@k", and "targets" (uint64, equal for equal held-out ratings).
        """
        user, item, value, prediction = self._ratings()
        first, owner = held_out.groups(user)
        # A target's code combines item and value, in thousandths of a rating.
        code = item * 1_000_000_007 + np.rint(value * 1000).astype(np.int64)
        sums = error_sums(owner, self._clipped(prediction) - value)
        targets = {"targets": checksum(owner, code, len(first))}
        precision = _rerank_precision(owner, prediction, value >= self.relevant, self.ks)
        return sums | targets | precision

    def predictions(self) -> dict[str, np.ndarray]:
        """The held-out ratings, sorted by user, then item.

        Returns:
            `[n]` each: "user" and "item", int64, "value" and the clipped "prediction", float64.
        """
        user, item, value, prediction = self._ratings()
        return {
            "user": user,
            "item": item,
            "value": value,
            "prediction": self._clipped(prediction),
        }

    def per_interaction(self) -> dict[str, np.ndarray]:
        return self.predictions()

    @classmethod
    def errors(cls, value: np.ndarray, prediction: np.ndarray) -> dict[str, np.ndarray]:
        return error_sums(np.arange(len(value)), prediction - value)

    def result(self) -> dict[str, float]:
        """rmse, mae, n_ratings and rerank_precision@k.

        Raises:
            ValueError: there was no held-out rating, or one was repeated.
        """
        user, _, value, prediction = self._ratings()
        _, owner = held_out.groups(user)
        precision = _rerank_precision(owner, prediction, value >= self.relevant, self.ks)
        errors = mean_errors(self._clipped(prediction) - value)
        return errors | {name: float(np.mean(values)) for name, values in precision.items()}

    def _clipped(self, predictions: np.ndarray) -> np.ndarray:
        if not self.clip:
            return predictions
        return np.clip(predictions, self.info.rating_min, self.info.rating_max)

    def _ratings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All ratings so far as user, item, value, prediction; by user, then item."""
        if not sum(map(len, self._codes)):
            raise ValueError("no row had a held-out rating: nothing to report")
        user, item, order = held_out.by_user(self.info, np.concatenate(self._codes))
        value, prediction = np.concatenate(self._values), np.concatenate(self._predictions)
        return user, item, value[order], prediction[order]


def mean_errors(error: np.ndarray) -> dict[str, float]:
    """rmse, mae and n_ratings of errors `[N]`, pooled."""
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "n_ratings": len(error),
    }


def error_sums(owner: np.ndarray, error: np.ndarray) -> dict[str, np.ndarray]:
    """Sums of each owner's errors, `[n]` each.

    Args:
        owner: `[N]` int in `[0, n)`, each at least once.
        error: `[N]` float.
    """
    return {
        "squared_error": np.bincount(owner, error**2),
        "absolute_error": np.bincount(owner, np.abs(error)),
        "n_ratings": np.bincount(owner),
    }


def _rerank_precision(
    owner: np.ndarray, prediction: np.ndarray, relevant: np.ndarray, ks: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Expected precision of each owner's own entries, ranked by prediction.

    Args:
        owner: `[N]` int in `[0, n)`, ascending.
        prediction: `[N]` float.
        relevant: `[N]` bool.
        ks: Cuts.

    Returns:
        `[n]` float64 for each cut.
    """
    order = np.lexsort((-prediction, owner))
    prediction, relevant = prediction[order], relevant[order]
    count = np.bincount(owner)
    new_tie = np.append(True, (owner[1:] != owner[:-1]) | (prediction[1:] != prediction[:-1]))
    start = np.flatnonzero(new_tie)  # entries of one owner with one prediction: one tie
    size = np.diff(np.append(start, len(owner)))
    above = start - (np.cumsum(count) - count)[owner[start]]  # better entries of the owner
    share = np.add.reduceat(relevant.astype(np.float64), start) / size
    result = {}
    for k in ks:
        taken = np.clip(k - above, 0, size)  # how many of the tie fit above the cut
        hits = np.bincount(owner[start], taken * share)
        result[f"rerank_precision@{k}"] = hits / np.minimum(k, count)
    return result


def _refuse_not_finite(batch: held_out.HeldOut, predictions: np.ndarray) -> None:
    wrong = np.flatnonzero(~np.isfinite(predictions))
    if wrong.size:
        row, item = batch.rows[batch.row[wrong[0]]], batch.item[wrong[0]]
        raise ValueError(
            f"the prediction of row {row} for item {item} is {predictions[wrong[0]]}: "
            "the model diverged, or divides by an empty row"
        )
