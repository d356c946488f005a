"""AutoRec: Sedhain, Menon, Sanner and Xie, "AutoRec: Autoencoders Meet Collaborative
Filtering", WWW 2015.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import ACTIVATIONS, Dense
from tfrec.layers.densify import densify
from tfrec.models import output_bias
from tfrec.models.capabilities import ItemRows
from tfrec.models.residual import Residual


@keras.saving.register_keras_serializable("tfrec")
class AutoRec(ItemRows, Residual):
    """h(r) = f(W g(V r + mu) + b), r an item's column or a user's row, 0 where missing.

    I-AutoRec (`rows="item"`) is the paper's best; U-AutoRec reads rows by user. The loss is the sum
    over rows and observed entries of (r - h(r))^2 + lambda/2 (|W|^2 + |V|^2). Minimised is that sum
    divided by the number of training rows, so that mini-batches estimate it without bias and lambda
    does not depend on the batch size. The evaluation report clips predictions to the rating scale.

    Departs from the paper: with `base="biases"`, the default, r are the residuals of damped biases
    (`models/residual.py`; paper: ratings); the output bias of a column without training ratings is
    the mean rating (paper: the prediction is 3), and with user rows all columns start there
    (`models/output_bias.py`); deep variants are trained at once, without greedy pre-training;
    L-BFGS for both kinds of rows (paper: RProp or L-BFGS).
    """

    task = "rating"
    defaults = TrainConfig(epochs=10, optimizer="lbfgs", iterations=20, batch_size=1024, patience=3)
    paper = TrainConfig(epochs=25, optimizer="lbfgs", iterations=20, batch_size=1024, patience=3)
    paper_settings = {"base": "none"}
    search = {"weight_decay": None}  # it has an L2 penalty

    @dataclasses.dataclass(frozen=True)
    class Config(Residual.Config):
        """AutoRec's settings.

        Attributes:
            rows: "item" (I-AutoRec) or "user" (U-AutoRec).
            hidden: Sizes of the hidden layers; (500, 250, 500) is the paper's deep net.
            activation: g, of the hidden layers.
            output_activation: f, of the output layer.
            regularization: lambda of the paper's loss; the authors' code uses 400 in this form.
        """

        rows: str = setting("item", choices=("item", "user"))
        hidden: tuple[int, ...] = setting(
            (500,), "at least 1", search=OneOf((100,), (250,), (500,), (1000,))
        )
        activation: str = setting("sigmoid", choices=ACTIVATIONS)
        output_activation: str = setting("linear", choices=ACTIVATIONS)
        regularization: float = setting(400.0, "0 or more", search=Range(10, 2000, log=True))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        weights = self.config.regularization / (2 * self.training_rows)
        self.encoder = [
            Dense(
                size,
                self.config.activation,
                kernel_regularizer=keras.regularizers.L2(weights),
                name=f"encoder_{i}",
            )
            for i, size in enumerate(self.config.hidden)
        ]
        self.decoder = Dense(
            info.n_columns,
            self.config.output_activation,
            kernel_regularizer=keras.regularizers.L2(weights),
            bias_initializer=output_bias.initializer(
                info.rows, self.output_mean, self.config.output_activation
            ),
            name="decoder",
        )

    @classmethod
    def full_batch(cls, config):
        return True

    def begin_epoch(self, epoch, rows):
        super().begin_epoch(epoch, rows)
        if epoch == 0:
            mean = output_bias.of_mean(self.output_mean, self.config.output_activation)
            output_bias.fill_unrated(self.decoder.bias, rows, mean)

    def _hidden(self, features, values) -> tf.Tensor:
        """The last hidden layer, `[batch, hidden[-1]]`."""
        code = densify(features["items"], values, self.info.n_columns)
        for layer in self.encoder:
            code = layer(code)
        return code

    def encode(self, features) -> tf.Tensor:
        """The last hidden layer; with `base="biases"` mu + b_row is appended as a column."""
        if self.column_biases is None:
            return self._hidden(features, features["values"])
        base, values = self.row_base(features)
        return tf.concat([tf.cast(self._hidden(features, values), tf.float32), base], axis=1)

    def call(self, features, training=False):
        base, values = self.base_and_input(features)
        return base + tf.cast(self.decoder(self._hidden(features, values)), tf.float32)

    def score_columns(self, codes, columns) -> tf.Tensor:
        """As in `ItemRows`, with codes from `encode`."""
        base = tf.zeros([1, 1])
        if self.column_biases is not None:
            codes, rows = codes[:, :-1], codes[:, -1]
            base = rows + tf.gather(self.column_biases, columns)[:, None]
        kernel = tf.gather(self.decoder.kernel, columns, axis=1)
        logits = tf.matmul(kernel, codes, transpose_a=True, transpose_b=True)
        output = self.decoder.activation(logits + tf.gather(self.decoder.bias, columns)[:, None])
        return base + output

    def objective(self, features, targets, scores):
        return losses.squared_error(scores, targets["target_items"], targets["target_values"])
