"""One report a task: rows in, a dict of numbers out; and the comparison of two runs.

`ranking`, `rating` and `clicks` give the same numbers for plain arrays and frames. TensorFlow is
loaded by `SampledRankingReport.keep` alone.

Reports keep one value a row (or a rating, an event) and reduce at the end in float64, in the
order of the row ids: no number depends on the batch size, the order of batches or the replicas.
"""

from tfrec.metrics.arrays import clicks, clicks_by_user, rating, rating_by_user
from tfrec.metrics.comparison import (
    Comparison,
    Interval,
    comparable,
    compare,
    holm,
    interval,
    metric_value,
)
from tfrec.metrics.ctr_report import CtrReport
from tfrec.metrics.directions import higher_is_better
from tfrec.metrics.frames import ranking, ranking_by_user
from tfrec.metrics.ranking_report import RankingReport
from tfrec.metrics.rating_report import RatingReport
from tfrec.metrics.report import Report, SavedValues
from tfrec.metrics.sampled import SampledRankingReport

__all__ = [
    "Comparison",
    "CtrReport",
    "Interval",
    "RankingReport",
    "RatingReport",
    "Report",
    "SampledRankingReport",
    "SavedValues",
    "clicks",
    "clicks_by_user",
    "comparable",
    "compare",
    "higher_is_better",
    "holm",
    "interval",
    "metric_value",
    "ranking",
    "ranking_by_user",
    "rating",
    "rating_by_user",
]
