"""Metrics of ranked lists, computed from the top k of each row."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec.metrics import held_out
from tfrec.metrics.report import Report, checksum
from tfrec.schema import PAD, DatasetInfo


class RankingReport(Report):
    """Recall, NDCG, precision, MAP, MRR, hit rate and coverage of top-k lists.

    With T a row's held-out items, and hit_j = 1 if the item at rank j (from 1) is in T:

    * `recall@k` = hits / |T|.
    * `recall_min@k` = hits / min(k, |T|), the convention of Liang et al. (WWW 2018).
    * `ndcg@k` = sum_{j<=k} hit_j / log2(j+1), divided by its best value
      sum_{j<=min(k,|T|)} 1 / log2(j+1).
    * `precision@k` = hits / k, also if fewer than k items could be listed.
    * `map@k` = sum_{j<=k} hit_j * (hits up to j) / j, divided by min(k, |T|).
    * `hr@k` = 1 if there is any hit, else 0.
    * `mrr@K`, K the largest cut: 1 / rank of the first hit, 0 without one.
    * `coverage@k` = share of all items that are in the top k of at least one counted row.

    All but coverage are means over the rows with at least one target; rows without one and
    filler rows (user -1) are ignored.

    Args:
        info: The info of the prepared data.
        ks: The cuts.
    """

    directions = dict.fromkeys(
        ("recall", "recall_min", "ndcg", "precision", "map", "hr", "mrr", "coverage"), True
    )

    def __init__(self, info: DatasetInfo, ks: tuple[int, ...] = (10, 20, 50, 100)):
        super().__init__(info, ks)
        self._rows: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []
        self._metrics: list[dict[str, np.ndarray]] = []
        self._listed = {k: np.zeros(info.n_columns, bool) for k in self.ks}

    @property
    def depth(self) -> int:
        """The required length of lists in `update`: the largest cut."""
        return self.ks[-1]

    @property
    def protocol(self) -> str:
        """A description of split and evaluation."""
        columns = "items" if self.info.rows == "user" else "users"
        return (
            f"{self.info.protocol}; full ranking over {self.info.n_columns:,} {columns}, seen "
            f"{columns} excluded, ties in pseudo-random order, mean over rows with a target"
        )

    def update(
        self, features: Mapping[str, Any], targets: Mapping[str, Any], top_items: Any
    ) -> None:
        """Adds a batch.

        Args:
            features: "user" `[batch]` int, -1 for filler rows; "items" `[batch, L]` int,
                the input, which must contain neither a target nor a listed item.
            targets: "target_items" `[batch, M]` int, padded with -1.
            top_items: `[batch, K]` int from `ranking.top_k`, K at least the largest cut;
                -1 where fewer items could be listed.

        Raises:
            ValueError: a leaking split, duplicates, seen items in a list, wrong shapes.
        """
        batch = held_out.read(self.info, features, targets)
        top = np.asarray(top_items)
        if top.ndim != 2 or len(top) != len(batch.rows) or top.shape[1] < self.depth:
            raise ValueError(
                f"top_items must be [{len(batch.rows)}, at least {self.depth}], got "
                f"{list(top.shape)}"
            )
        counted = np.flatnonzero(batch.count)
        top = top[:, : self.depth].astype(np.int64)
        _check_lists(batch, top, np.asarray(features["items"]))
        hits = batch.contains(top)[counted]
        self._rows.append(batch.rows[counted])
        self._metrics.append(row_metrics(hits, batch.count[counted], self.ks))
        self._targets.append(checksum(batch.row, batch.item, len(batch.rows))[counted])
        for k, listed in self._listed.items():
            items = top[counted, :k]
            listed[items[items != PAD]] = True

    @property
    def users(self) -> np.ndarray:
        """`[n]` int64: the rows with at least one target, ascending."""
        return np.sort(self._all_rows())

    def per_user(self) -> dict[str, np.ndarray]:
        """All metrics but coverage by row, aligned with `users`.

        Returns:
            `[n]` float64 by metric, and "targets" (uint64, equal for equal targets).
        """
        order = np.argsort(self._all_rows())
        names = self._metrics[0]
        values = {name: np.concatenate([m[name] for m in self._metrics])[order] for name in names}
        return values | {"targets": np.concatenate(self._targets)[order]}

    def result(self) -> dict[str, float]:
        """The metrics by name, and `n_rows`, the rows with at least one target.

        Raises:
            ValueError: no row had a target, or a row was repeated.
        """
        values = self.per_user()
        del values["targets"]
        coverage = {f"coverage@{k}": float(seen.mean()) for k, seen in self._listed.items()}
        means = {name: float(np.mean(value)) for name, value in values.items()}
        return means | coverage | {"n_rows": len(self._all_rows())}

    def _all_rows(self) -> np.ndarray:
        if not sum(map(len, self._rows)):
            raise ValueError("no row had a held-out item: nothing to report")
        rows = np.concatenate(self._rows)
        ids, counts = np.unique(rows, return_counts=True)
        if len(ids) < len(rows):
            raise ValueError(f"row {ids[counts.argmax()]} was evaluated {counts.max()} times")
        return rows


def row_metrics(
    hits: np.ndarray, n_targets: np.ndarray, ks: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """The metrics of each row, as `RankingReport` defines them.

    Args:
        hits: `[n, K]` bool, by rank.
        n_targets: `[n]` int, at least 1.
        ks: Cuts, ascending, at most K.

    Returns:
        `[n]` float64 by metric.
    """
    rank = np.arange(1, hits.shape[1] + 1)
    discount = 1 / np.log2(rank + 1)
    found = np.cumsum(hits, axis=1)
    gain = np.cumsum(hits * discount, axis=1)
    precisions = np.cumsum(hits * found / rank, axis=1)
    best_gain = np.cumsum(discount)
    metrics = {}
    for k in ks:
        n, within = found[:, k - 1], np.minimum(k, n_targets)
        metrics[f"recall@{k}"] = n / n_targets
        metrics[f"recall_min@{k}"] = n / within
        metrics[f"ndcg@{k}"] = gain[:, k - 1] / best_gain[within - 1]
        metrics[f"precision@{k}"] = n / k
        metrics[f"map@{k}"] = precisions[:, k - 1] / within
        metrics[f"hr@{k}"] = (n > 0).astype(np.float64)
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    return metrics | {f"mrr@{ks[-1]}": first}


def _check_lists(batch: held_out.HeldOut, top: np.ndarray, inputs: np.ndarray) -> None:
    """Raises ValueError if a list has an invalid, a repeated or a seen item."""
    if ((top < PAD) | (top >= batch.width)).any():
        raise ValueError(f"top_items hold positions outside [0, {batch.width})")
    ordered = np.sort(top, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PAD)
    if twice.any():
        row, column = np.argwhere(twice)[0]
        raise ValueError(f"row {batch.rows[row]} lists item {ordered[row, column]} twice")
    offset = np.arange(len(top))[:, np.newaxis] * batch.width
    real = (batch.rows != PAD)[:, np.newaxis]
    listed = (offset + top)[real & (top != PAD)]
    seen = listed[np.isin(listed, (offset + inputs)[real & (inputs != PAD)])]
    if seen.size:
        row, item = divmod(int(seen[0]), batch.width)
        raise ValueError(
            f"row {batch.rows[row]} lists item {item}, which is in its input: exclude "
            "seen items with ranking.top_k"
        )
