"""One report a task: rows in, a dict of numbers out; and the comparison of two runs.

Reports keep one value a row (or a rating, an event) and reduce at the end in float64, in the
order of the row ids: no number depends on the batch size, the order of batches or the replicas.
"""

from tfrec.metrics.comparison import Comparison, compare, holm
from tfrec.metrics.ctr_report import CtrReport
from tfrec.metrics.ranking_report import RankingReport
from tfrec.metrics.rating_report import RatingReport
from tfrec.metrics.registry import REPORTS, higher_is_better, report_for
from tfrec.metrics.report import Report, SavedValues
from tfrec.metrics.sampled import SampledRankingReport

__all__ = [
    "REPORTS",
    "Comparison",
    "CtrReport",
    "RankingReport",
    "RatingReport",
    "Report",
    "SampledRankingReport",
    "SavedValues",
    "compare",
    "higher_is_better",
    "holm",
    "report_for",
]
