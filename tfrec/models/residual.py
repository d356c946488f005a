"""Base of the rating autoencoders: a network on the residuals of damped biases."""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import Range, Settings, setting
from tfrec.models import damped_biases
from tfrec.models.base import Recommender


class Residual(Recommender):
    """A model of histories that predicts ratings or, with the setting `base`, their residuals.

    With base="biases" the network's input and output are residuals:

        score(u, i) = mu + b_u + b_i + net(x)_i,   x_j = r_j - mu - b_u - b_j, 0 where missing.

    The biases of columns are computed from the training rows before the first step and are not
    trained; a row's bias is computed from the ratings in its features
    (`tfrec.models.damped_biases`). With base="none" the network reads and predicts ratings, as in
    the papers.
    """

    column_biases: keras.Variable | None = None

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """The setting of the base.

        Attributes:
            base: "biases": the network learns the residuals of damped user and item biases, to
                which its output is added; "none": it learns the ratings, as in the papers.
        """

        base: str = setting("biases", choices=("biases", "none"))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        if self.config.base == "biases":
            self.column_biases = self.add_weight(
                (info.n_columns,), "zeros", trainable=False, autocast=False, name="column_biases"
            )

    @property
    def output_mean(self) -> float:
        """Mean of the network's targets: the mean rating, or 0 for residuals."""
        return self.info.rating_mean if self.column_biases is None else 0.0

    def l2_by_ratings(self, regularization: float, l2: float = 0.0) -> keras.regularizers.L2:
        """The penalty lambda / 2 |W|^2 relative to the sum of the squared errors of all n ratings.

        Minimised is the mean of the squared errors, so that its factor is lambda / 2n.

        Args:
            regularization: lambda.
            l2: A factor relative to the mean, added to that.
        """
        n_ratings = max(1, self.info.n_ratings.get("train", 0))
        return keras.regularizers.L2(regularization / (2 * n_ratings) + l2)

    @property
    def output_start(self) -> str:
        """Initializer of the output layer's kernel: zeros for residuals.

        Training then starts at the biases, and items with few ratings keep no noise of a random
        initialization.
        """
        return "glorot_uniform" if self.column_biases is None else "zeros"

    def begin_epoch(self, epoch, rows):
        """Before the first epoch: computes the biases of all columns."""
        if epoch == 0 and self.column_biases is not None:
            info = self.info
            biases = damped_biases.column_biases(rows, info.n_columns, info.rating_mean)
            self.column_biases.assign(biases)

    def base_and_input(self, features) -> tuple[tf.Tensor, tf.Tensor]:
        """The base, which is added to the network's output, and the network's input values.

        Returns:
            The base, float32 `[batch, n_columns]`, or zeros `[1, 1]` with base="none"; and a value
            for each entry, `[batch, length]`.
        """
        if self.column_biases is None:
            return tf.zeros([1, 1]), features["values"]
        rows, values = self.row_base(features)
        return rows + tf.convert_to_tensor(self.column_biases), values

    def row_base(self, features) -> tuple[tf.Tensor, tf.Tensor]:
        """Mu + b_row, float32 `[batch, 1]`, and the residuals of both biases, `[batch, length]`."""
        mean = self.info.rating_mean
        columns = tf.convert_to_tensor(self.column_biases)
        residuals = damped_biases.column_residuals(features, columns, mean)
        rows = damped_biases.row_biases(features, residuals)
        return mean + rows, tf.where(features["items"] >= 0, residuals - rows, 0.0)


@dataclasses.dataclass(frozen=True)
class PenaltyConfig(Residual.Config):
    """The setting of the base, and of the penalty `l2_by_ratings`.

    Attributes:
        regularization: lambda of the penalty lambda / 2 |W|^2, W all kernels, relative to the
            sum of the squared errors of all n training ratings: lambda / 2n to their mean.
    """

    regularization: float = setting(300.0, "0 or more", search=Range(10, 5000, log=True))
