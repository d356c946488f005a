"""Whether higher values of a metric are better."""

from tfrec.config import known_names
from tfrec.metrics.ctr_report import CtrReport
from tfrec.metrics.ranking_report import RankingReport
from tfrec.metrics.rating_report import RatingReport
from tfrec.metrics.report import Report

_KNOWN = {
    "loss": False,
    **RatingReport.directions,
    **RankingReport.directions,
    **CtrReport.directions,
}


def higher_is_better(metric: str, report: type[Report] = Report) -> bool:
    """Whether a greater value of `metric`, such as "ndcg@100" or "val_rmse", is better.

    Args:
        metric: With or without a cut.
        report: The report that computes it; not needed for those of tfrec.

    Raises:
        ValueError: unknown metric.
    """
    name = metric.removeprefix("val_").partition("@")[0]
    known = {**_KNOWN, **report.directions}
    if name not in known:
        raise ValueError(f"unknown metric {metric!r}; " + known_names(name, known))
    return known[name]
