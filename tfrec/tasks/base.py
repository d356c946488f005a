"""What a task is."""

import dataclasses
import typing

from tfrec import metrics
from tfrec.metrics import Report
from tfrec.schema import DatasetInfo

if typing.TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Task:
    """What a model is asked for: how it is measured, and what its scores are.

    A model has one by its class attribute `task`: a name of `tfrec.tasks.TASKS`, or an object. A
    subclass says where scores are not yet predictions, and which data do not fit.

    Attributes:
        name: In messages and files.
        report: What measures it; see `Report` for what its methods mean for the task.
        monitor: The validation metric that picks the best epoch, and that runs are compared by.
        shown: Metrics of an epoch's line and of a run in one line; `monitor` is shown anyway.
        table: Metrics of the table after training, in order; empty: all.
        words: What the predictions are, in an export's README: "Predictions are ..."; {low} and
            {high} are the data's range.
        item_signatures: What exports that name the best items have besides: "regress", the
            prediction for one item, or nothing.
        event_signatures: What exports of events have besides: "regress", the prediction, and
            "classify", where predictions are probabilities of the label 1.

    Raises:
        ValueError: `monitor` is no metric of the report's, or an unknown signature.
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
        """Whether lists of the best items are measured, so that it must be known what was seen."""
        return self.report.depth != Report.depth

    @property
    def keeps_predictions(self) -> bool:
        """Whether a run keeps its predictions of validation and test, as ensembles need them."""
        return hasattr(self.report, "predictions")

    def new_report(self, info: DatasetInfo, cuts: tuple[int, ...] = ()) -> Report:
        """An empty report.

        Args:
            info: Of the data to evaluate on.
            cuts: Lengths of the ranked lists; none: the report's own. Without ranks no matter.
        """
        return self.report(info, **({"ks": cuts} if cuts and self.ranks else {}))

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of a metric is better.

        Raises:
            ValueError: unknown metric.
        """
        return metrics.higher_is_better(metric, self.report)

    def figures(self, monitor: str = "") -> tuple[str, ...]:
        """Metrics of one line: `shown` and what picks the best epoch, `monitor` unless given."""
        return tuple(dict.fromkeys((*self.shown, monitor or self.monitor)))

    def predictions(self, scores: "tf.Tensor", info: DatasetInfo) -> "tf.Tensor":
        """What a model's scores, float32 of any shape, say in the data's terms; in graph."""
        del info
        return scores

    def check_range(self, low: float, high: float, data: str, model: str) -> None:
        """Refuses data by the range of its values alone, which may be known before it is prepared.

        Args:
            low: The lowest value.
            high: The highest.
            data: The data's name, for messages.
            model: The model's.

        Raises:
            ValueError: as `check`.
        """

    def in_lists(self, scores: "tf.Tensor", info: DatasetInfo) -> "tf.Tensor":
        """A model's scores as lists of the best items show them; in graph."""
        del info
        return scores

    def check(self, info: DatasetInfo, model: str, is_setting: bool) -> None:
        """Refuses data that a model can not learn this task from.

        Args:
            info: Of the data.
            model: The model's name, for messages.
            is_setting: Whether `--set task` chose it, so that it might have been another.

        Raises:
            ValueError: the data do not fit; says what would.
        """


def _refuse_unknown(names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"a task has no signature {name!r}; known: {', '.join(known)}")
