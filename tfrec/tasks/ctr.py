"""Clicks (likes, installs): the scores are logits of their probabilities."""

from tfrec.metrics import CtrReport
from tfrec.tasks.base import Task


class Ctr(Task):
    """Clicks, which are labels 0 and 1."""

    def predictions(self, scores, info):
        import tensorflow as tf  # not needed by metrics of plain arrays

        return tf.sigmoid(scores)

    def check(self, info, model, is_setting):
        if (info.rating_min, info.rating_max) != (0, 1):
            raise ValueError(
                f"{model} with task=ctr needs labels 0 and 1, {info.name} is prepared with "
                "ratings: add --data label_above=3"
                + (", or train with --set task=rating" if is_setting else "")
            )


CTR = Ctr(
    name="ctr",
    report=CtrReport,
    monitor="logloss",
    shown=("logloss", "auc"),
    table=("auc", "gauc", "logloss", "calibration", "ece", "positives", "n_events"),
    words="probabilities in `rate`, `score`, `regress` and `classify`, logits elsewhere",
    event_signatures=("regress", "classify"),
)
