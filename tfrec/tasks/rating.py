"""Ratings: the scores are the ratings that users would give."""

from tfrec.metrics import RatingReport
from tfrec.tasks.base import Task


class Rating(Task):
    """Ratings, which are in a range."""

    def predictions(self, scores, info):
        import tensorflow as tf  # not needed by metrics of plain arrays

        return tf.clip_by_value(scores, info.rating_min, info.rating_max)

    def check_range(self, low, high, data, model):
        if low == high:
            raise ValueError(
                f"{model} predicts ratings, but all of {data} are {high:g}: there is nothing to "
                "predict; use a model that ranks, such as --model=ials, ease or multdae, or "
                "--model=auto, which takes the best of several"
            )

    in_lists = predictions

    def check(self, info, model, is_setting):
        if is_setting and (info.rating_min, info.rating_max) == (0, 1):
            raise ValueError(
                f"{model} with task=rating: the values of {info.name} are labels 0 and 1; train "
                "with --set task=ctr"
            )
        self.check_range(info.rating_min, info.rating_max, info.name, model)


RATING = Rating(
    name="rating",
    report=RatingReport,
    monitor="rmse",
    shown=("rmse", "mae"),
    table=(
        *("rmse", "mae", "hr@10", "ndcg@10", "coverage@10"),
        *("rerank_precision@5", "rerank_precision@10", "n_ratings"),
    ),
    words="ratings, from {low:g} to {high:g}; lists of the best items are ordered by them and by "
    "how likely items are to be chosen",
    item_signatures=("regress",),
    event_signatures=("regress",),
)
