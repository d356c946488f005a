"""The baseline for rating prediction: regularized user and item biases."""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import Range, Settings, setting
from tfrec.models import damped_biases
from tfrec.models.base import Recommender


@keras.saving.register_keras_serializable("tfrec")
class Biases(Recommender):
    """r_ui = mu + b_u + b_i, see `tfrec.models.damped_biases`.

    b_u is computed from the history in the request, so that users who were not in training need no
    special case.
    """

    task = "rating"
    closed_form = True

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """Biases' settings.

        Attributes:
            damping: Strength of the biases' shrinkage to 0, as a number of ratings.
            sweeps: Number of alternations between users and items.
        """

        damping: float = setting(
            damped_biases.DAMPING, "0 or more", search=Range(0.5, 50, log=True)
        )
        sweeps: int = setting(damped_biases.SWEEPS, "at least 1")

    def build(self, input_shape=None):
        self.column_biases = self.add_weight(
            shape=(self.info.n_columns,), initializer="zeros", trainable=False, name="columns"
        )
        self.built = True

    def call(self, features, training=False):
        biases, mean = tf.convert_to_tensor(self.column_biases), self.info.rating_mean
        residuals = damped_biases.column_residuals(features, biases, mean)
        return mean + damped_biases.row_biases(features, residuals, self.config.damping) + biases

    def objective(self, features, targets, scores):
        return losses.pooled_squared_error(
            scores, targets["target_items"], targets["target_values"]
        )

    def fit(self, rows, **unused):
        """Computes the biases of all columns from `rows`, batches of (features, targets)."""
        c, info = self.config, self.info
        self.column_biases.assign(
            damped_biases.column_biases(rows, info.n_columns, info.rating_mean, c.damping, c.sweeps)
        )
