"""What rating autoencoders share: a net on what damped biases leave over."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfrec.config import Settings, setting
from tfrec.models import damped_biases
from tfrec.models.base import Recommender


class Residual(Recommender):
    """A model of histories whose `Config` has `base`: what is added to the net's output.

    With "biases" the net reads and predicts residuals:

        score(u, i) = mu + b_u + b_i + net(x)_i,   x_j = r_j - mu - b_u - b_j, 0 where missing.

    The columns' biases are computed from the training rows before the first step and do not train;
    a row's bias comes from its own ratings, in the graph (`tfrec.models.damped_biases`). With
    "none" the net reads and predicts ratings, as in the papers.
    """

    column_biases: keras.Variable | None = None

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """The setting of the base.

        Attributes:
            base: What is added to the net's output: "biases", damped ones of users and items, so
                that the net learns what they leave over, or "none", as in the papers.
        """

        base: str = setting("biases", choices=("biases", "none"))

        @classmethod
        def renewed(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
            """Versions without this setting had no base."""
            return {"base": "none", **fields}

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        if self.config.base == "biases":
            self.column_biases = self.add_weight(
                (info.n_columns,), "zeros", trainable=False, autocast=False, name="column_biases"
            )

    @property
    def output_mean(self) -> float:
        """What the net's output is on average: the mean rating, or the mean residual."""
        return self.info.rating_mean if self.column_biases is None else 0.0

    def l2_by_ratings(self, regularization: float, l2: float = 0.0) -> keras.regularizers.L2:
        """The penalty lambda / 2 |W|^2 on the sum of all n training ratings' squared errors.

        On their mean, which is minimised, it is lambda / 2n |W|^2: the more ratings, the less it
        weighs.

        Args:
            regularization: lambda.
            l2: A weight on the mean, added to that.
        """
        n_ratings = max(1, self.info.n_ratings.get("train", 0))
        return keras.regularizers.L2(regularization / (2 * n_ratings) + l2)

    @property
    def output_start(self) -> str:
        """How the output layer's kernel starts: on a base at 0, so that the net adds nothing yet.

        Items with few ratings would else keep the noise of a random start.
        """
        return "glorot_uniform" if self.column_biases is None else "zeros"

    def begin_epoch(self, epoch, rows):
        """Before the first pass: the biases of all columns."""
        if epoch == 0 and self.column_biases is not None:
            info = self.info
            biases = damped_biases.of_columns(rows, info.n_columns, info.rating_mean)
            self.column_biases.assign(biases)

    def base_and_input(self, features) -> tuple[tf.Tensor, tf.Tensor]:
        """What is added to the net's output, and what the net reads of each entry.

        Returns:
            float32 `[batch, n_columns]`, or `[1, 1]` zeros; and `[batch, length]`.
        """
        if self.column_biases is None:
            return tf.zeros([1, 1]), features["values"]
        rows, values = self.row_base(features)
        return rows + tf.convert_to_tensor(self.column_biases), values

    def row_base(self, features) -> tuple[tf.Tensor, tf.Tensor]:
        """Mu + b_row, float32 `[batch, 1]`, and the residuals, `[batch, length]`."""
        mean = self.info.rating_mean
        rest = damped_biases.left_over(features, tf.convert_to_tensor(self.column_biases), mean)
        biases = damped_biases.of_rows(features, rest)
        return mean + biases, tf.where(features["items"] >= 0, rest - biases, 0.0)
