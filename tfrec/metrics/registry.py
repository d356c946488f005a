"""Which report a task gets, and which way its metrics point."""

from typing import Any

from tfrec.config import known_names
from tfrec.metrics.ctr_report import CtrReport
from tfrec.metrics.ranking_report import RankingReport
from tfrec.metrics.rating_report import RatingReport
from tfrec.metrics.report import Report
from tfrec.schema import DatasetInfo

REPORTS = {"rating": RatingReport, "ranking": RankingReport, "ctr": CtrReport}

_HIGHER_IS_BETTER = {
    "loss": False,
    "rmse": False,
    "mae": False,
    "rerank_precision": True,
    "recall": True,
    "recall_min": True,
    "ndcg": True,
    "precision": True,
    "map": True,
    "hr": True,
    "mrr": True,
    "coverage": True,
    "auc": True,
    "gauc": True,
    "logloss": False,
    "ece": False,
}


def report_for(task: str, info: DatasetInfo, **settings: Any) -> Report:
    """A new, empty report.

    Args:
        task: A model's `task`.
        info: Of the data to evaluate on.
        **settings: Passed on to the report, such as `ks` or `clip`.

    Raises:
        ValueError: unknown task.
    """
    if task not in REPORTS:
        raise ValueError(f"there is no report for task {task!r}; " + known_names(task, REPORTS))
    return REPORTS[task](info, **settings)


def higher_is_better(metric: str) -> bool:
    """Whether a greater value of `metric`, such as "ndcg@100" or "val_rmse", is better.

    Raises:
        ValueError: unknown metric.
    """
    name = metric.removeprefix("val_").partition("@")[0]
    if name not in _HIGHER_IS_BETTER:
        raise ValueError(f"unknown metric {metric!r}; " + known_names(name, _HIGHER_IS_BETTER))
    return _HIGHER_IS_BETTER[name]
