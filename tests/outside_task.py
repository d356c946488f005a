"""A task and its model, no part of tfrec: the file that docs/adding-a-task.md shows."""

import keras
import numpy as np
import tensorflow as tf

from tfrec import losses
from tfrec.config import TrainConfig
from tfrec.layers.densify import densify
from tfrec.metrics import Report
from tfrec.models import Recommender
from tfrec.tasks import Task


class SideReport(Report):
    """`agreement`: the share of a user's held-out ratings whose side of the middle is right.

    A score above 0 says that a rating is in the upper half of the range. Mean over the users with a
    held-out rating.
    """

    directions = {"agreement": True}

    def __init__(self, info):
        super().__init__(info)
        self._users, self._right, self._items = [], [], []

    @property
    def protocol(self):
        return f"{self.info.protocol}; sides of the middle, mean over users"

    def update(self, features, targets, scores):
        users, items = np.asarray(features["user"]), np.asarray(targets["target_items"])
        row, column = np.nonzero((items >= 0) & (users >= 0)[:, np.newaxis])
        item, value = items[row, column], np.asarray(targets["target_values"])[row, column]
        is_upper = value > middle(self.info)
        self._users.append(users[row])
        self._items.append(item)
        self._right.append((np.asarray(scores)[row, item] > 0) == is_upper)

    @property
    def users(self):
        return np.unique(np.concatenate(self._users))

    def per_user(self):
        _, owner = np.unique(np.concatenate(self._users), return_inverse=True)
        right, items = np.concatenate(self._right), np.concatenate(self._items)
        # Two runs are compared where the targets are the same; the sum of the items tells.
        return {
            "agreement": np.bincount(owner, right) / np.bincount(owner),
            "targets": np.bincount(owner, items),
        }

    def result(self):
        return {
            "agreement": float(np.mean(self.per_user()["agreement"])),
            "n_users": len(self.users),
        }


class Side(Task):
    """Upper or lower half of the range; a prediction is 1 (surely upper) to -1 (surely lower)."""

    def predictions(self, scores, info):
        return tf.tanh(scores)

    def check(self, info, model, is_setting):
        if info.rating_min == info.rating_max:
            raise ValueError(f"{model} needs ratings that differ; all of {info.name} are the same")


SIDE = Side(
    name="side",
    report=SideReport,
    monitor="agreement",
    words="sides of the middle of {low:g} to {high:g}, from -1 to 1",
    item_signatures=("regress",),
)


def middle(info):
    """The middle of the range of ratings."""
    return (info.rating_min + info.rating_max) / 2


@keras.saving.register_keras_serializable("shop")
class SideTaker(Recommender):
    """Scores = x W + b, x being 1 and -1 for ratings in the upper and lower half; logistic loss."""

    task = SIDE
    paper = TrainConfig(epochs=20, batch_size=8, learning_rate=0.05)

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        self.scores = keras.layers.Dense(info.n_columns, name="scores")

    def call(self, features, training=False) -> tf.Tensor:
        """Scores of all items, `[batch, n_columns]`."""
        sides = tf.sign(features["values"] - middle(self.info))
        return self.scores(densify(features["items"], sides, self.info.n_columns))

    def objective(self, features, targets, scores) -> tf.Tensor:
        """One loss a row, `[batch]`."""
        items, values = targets["target_items"], targets["target_values"]
        entries, cells = losses.entries_of(items)
        is_upper = tf.cast(tf.gather_nd(values, entries) > middle(self.info), tf.float32)
        loss = tf.nn.sigmoid_cross_entropy_with_logits(is_upper, tf.gather_nd(scores, cells))
        return tf.math.unsorted_segment_sum(loss, entries[:, 0], tf.shape(items)[0])
