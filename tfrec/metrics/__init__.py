"""A report for each task: takes rows, returns a dict of metrics; and comparisons of two runs.

`ranking`, `rating` and `clicks` compute the same metrics of plain arrays and frames. Only
`SampledRankingReport.keep` imports TensorFlow.

Reports keep one value for each row (or rating, or event) and reduce them at the end in float64,
in order of the row ids: metrics do not depend on batch size, order of batches or replicas.
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
