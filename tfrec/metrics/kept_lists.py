"""A report that keeps the lists that it measures."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec.metrics.ranking_report import RankingReport
from tfrec.schema import PAD, DatasetInfo

LENGTH = 10  # of the lists that are kept


class KeptLists(RankingReport):
    """`RankingReport`, with the first `LENGTH` items of each list in `lists`."""

    def __init__(self, info: DatasetInfo, ks: tuple[int, ...] = (LENGTH,)):
        super().__init__(info, ks)
        self._kept: list[np.ndarray] = []

    def update(
        self, features: Mapping[str, Any], targets: Mapping[str, Any], top_items: Any
    ) -> None:
        """As of `RankingReport`."""
        super().update(features, targets, top_items)
        counted = (np.asarray(targets["target_items"]) != PAD).any(1)
        counted &= np.asarray(features["user"]) != PAD
        self._kept.append(np.asarray(top_items)[counted, :LENGTH])

    def lists(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows with a target, rising, `[n]`; and their lists, `[n, LENGTH or the largest cut]`."""
        rows = self._all_rows()
        order = np.argsort(rows)
        return rows[order], np.concatenate(self._kept)[order]
