"""Rankings among sampled candidates: the protocol of older papers, only for comparison with them.

Sampled metrics are high, and may order models differently than full rankings do (Krichene and
Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec.config import known_names
from tfrec.metrics.ranking_report import RankingReport
from tfrec.schema import DatasetInfo

SAMPLERS = ("uniform", "popularity")


class SampledRankingReport(RankingReport):
    """A row's targets ranked among themselves and sampled items that it has not seen.

    Negatives are drawn without replacement: uniformly (SASRec's protocol), or in proportion to
    the items' ratings in training (BERT4Rec's). A row's draw depends only on its id and the seed,
    so it is the same for all models and batch sizes. Ties are broken as in full rankings.

    Args:
        info: The info of the prepared data.
        sampler: "uniform" or "popularity".
        popularity: Training ratings of each item, `[n_items]`.
        negatives: Their number; fewer if a row has fewer unseen items.
        ks: The cuts.
        seed: Seed of the draw.

    Raises:
        ValueError: unknown sampler.
    """

    def __init__(
        self,
        info: DatasetInfo,
        sampler: str,
        popularity: np.ndarray,
        negatives: int = 100,
        ks: tuple[int, ...] = (1, 5, 10),
        seed: int = 0,
    ):
        super().__init__(info, ks)
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler {sampler!r} is unknown; " + known_names(sampler, SAMPLERS))
        self.sampler, self.negatives, self.seed = sampler, negatives, seed
        weights = np.ones(len(popularity)) if sampler == "uniform" else np.asarray(popularity)
        with np.errstate(divide="ignore"):
            self._log_weights = np.log(weights).astype(np.float32)

    @property
    def protocol(self) -> str:
        return (
            f"{self.info.protocol}; SAMPLED ranking: each row's targets among {self.negatives} "
            f"unseen items drawn by {self.sampler} (seed {self.seed}), ties in pseudo-random "
            "order, mean over rows with a target: not comparable with full rankings"
        )

    def keep(self, features: Mapping[str, Any], targets: Mapping[str, Any], scores: Any) -> Any:
        """Scores, with minus infinity for all items but targets and negatives; runs in graph.

        Args:
            features: "user" `[batch]`, "items" `[batch, L]`, padding -1.
            targets: "target_items" `[batch, M]`, padding -1.
            scores: `[batch, n_items]`.
        """
        import tensorflow as tf  # not needed by other metrics

        from tfrec import ranking

        known = tf.concat([features["items"], targets["target_items"]], axis=1)
        # The n largest of log w + Gumbel noise: a sample without replacement in proportion to w.
        noise = ranking.uniform_of(features["user"], tf.shape(scores)[1], self.seed)
        keys = self._log_weights - tf.math.log(-tf.math.log(noise))
        _, negatives = ranking.top_k(keys, known, self.negatives)
        candidates = tf.concat([negatives, targets["target_items"]], axis=1)
        # Items that are masked with minus infinity here are the candidates.
        others = tf.math.is_finite(ranking.mask_seen(tf.zeros_like(scores), candidates))
        return tf.where(others, -float("inf"), scores)
