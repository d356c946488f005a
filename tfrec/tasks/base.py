"""`Task`, the base of all tasks."""

import dataclasses
import typing

from tfrec import metrics
from tfrec.metrics import Report
from tfrec.schema import DatasetInfo

if typing.TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Task:
    """What a model predicts: its evaluation, and the meaning of its scores.

    A model declares it by its class attribute `task`: a name of `tfrec.tasks.TASKS`, or an
    object. A subclass converts scores to predictions and refuses data that does not fit.

    Attributes:
        name: Its name in messages and files.
        report: The report that evaluates it.
        monitor: The validation metric by which the best epoch is chosen and runs are compared.
        shown: Metrics in an epoch's line and in a run's line; `monitor` is always shown.
        table: Metrics of the table after training, in order; empty: all.
        words: A description of the predictions in an export's README: "Predictions are ...";
            {low} and {high} are the data's range.
        item_signatures: Further signatures of exports that return the best items: "regress", the
            prediction for one item, or none.
        event_signatures: Further signatures of exports of events: "regress", the prediction, and
            "classify", if predictions are probabilities of the label 1.

    Raises:
        ValueError: `monitor` is not a metric of the report, or an unknown signature.
    """

    name: str
    report: type[Report]
    monitor: str
    shown: tuple[str, ...] = ()
    table: tuple[str, ...] = ()
    words: str = "scores"
    item_signatures: tuple[str, ...] = ()
    event_signatures: tuple[str, ...] = ()

    def __post_init__(self):
        self.higher_is_better(self.monitor)
        _refuse_unknown(self.item_signatures, ("regress",))
        _refuse_unknown(self.event_signatures, ("regress", "classify"))

    @property
    def ranks(self) -> bool:
        """Whether ranked lists are evaluated, which needs the items that rows have seen."""
        return self.report.depth != Report.depth

    @property
    def keeps_predictions(self) -> bool:
        """Whether a run keeps its predictions of validation and test, which ensembles need."""
        return hasattr(self.report, "predictions")

    def new_report(self, info: DatasetInfo, cuts: tuple[int, ...] = ()) -> Report:
        """An empty report.

        Args:
            info: The info of the data to evaluate on.
            cuts: Cuts of the ranked lists; the report's own if empty. Ignored without ranks.
        """
        return self.report(info, **({"ks": cuts} if cuts and self.ranks else {}))

    def higher_is_better(self, metric: str) -> bool:
        """Whether a higher value of a metric is better.

        Raises:
            ValueError: unknown metric.
        """
        return metrics.higher_is_better(metric, self.report)

    def figures(self, monitor: str = "") -> tuple[str, ...]:
        """Metrics of one line: `shown` and the metric that chooses the best epoch."""
        return tuple(dict.fromkeys((*self.shown, monitor or self.monitor)))

    def predictions(self, scores: "tf.Tensor", info: DatasetInfo) -> "tf.Tensor":
        """Converts a model's scores, float32 of any shape, to predictions; runs in graph."""
        del info
        return scores

    def check_range(self, low: float, high: float, data: str, model: str) -> None:
        """Refuses data by the range of its values, which may be known before it is prepared.

        Args:
            low: The lowest value.
            high: The highest.
            data: The data's name, for messages.
            model: The model's.

        Raises:
            ValueError: the data does not fit.
        """

    def in_lists(self, scores: "tf.Tensor", info: DatasetInfo) -> "tf.Tensor":
        """Converts a model's scores for display in ranked lists; runs in graph."""
        del info
        return scores

    def check(self, info: DatasetInfo, model: str, is_setting: bool) -> None:
        """Refuses data from which a model cannot learn this task.

        Args:
            info: The data's info.
            model: The model's name, for messages.
            is_setting: Whether `--set task` chose the task, so that another may be chosen.

        Raises:
            ValueError: the data does not fit; with the cure.
        """


def _refuse_unknown(names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"a task has no signature {name!r}; known: {', '.join(known)}")
