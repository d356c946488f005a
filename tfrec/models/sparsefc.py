"""SparseFC: Muller, Martel and Indiveri, "Kernelized Synaptic Weight Matrices", ICML 2018."""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, Settings, TrainConfig, setting
from tfrec.layers.dense import ACTIVATIONS
from tfrec.layers.densify import densify
from tfrec.layers.kernel import KernelDense
from tfrec.models import output_bias
from tfrec.models.base import Recommender
from tfrec.models.capabilities import ItemRows


@keras.saving.register_keras_serializable("tfrec")
class SparseFC(ItemRows, Recommender):
    """An item autoencoder of kernel-masked layers y = f(x (W * K) + b).

    K_ij = max(0, 1 - |u_i - v_j|^2) with learned embeddings u of the input units and v of the
    output units. With r an item's ratings by all users, 0 where missing, and p the output, the loss
    is

        1/2 sum over observed (r - p)^2 + sum over layers (lambda_2/2 |W|^2 + lambda_s/2 |K|^2)

    over all items at once, minimised by L-BFGS, which is restarted every `iterations`. Minimised is
    the loss divided by the number of training rows, so that mini-batches estimate it without bias.
    The evaluation report clips predictions to the rating scale. A full batch is filled up to
    `batch_size` with empty rows: a size just above the number of rows is the fastest.

    Departs from the paper: the output bias of a column without training ratings is the mean rating,
    and with user rows all columns start there (`models/output_bias.py`); the best epoch is chosen
    on validation (authors' code: a fixed number of iterations); `input_dropout`.
    """

    task = "rating"
    defaults = TrainConfig(
        epochs=64, batch_size=0, optimizer="adam", learning_rate=1e-3, average=0.998, patience=5
    )
    paper = TrainConfig(epochs=20, optimizer="lbfgs", iterations=50, batch_size=4096, patience=3)
    paper_settings = dict(regularization=60.0, kernel_regularization=0.013, input_dropout=0.0)
    search = {"weight_decay": None}  # it has an L2 penalty

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """SparseFC's settings.

        Attributes:
            rows: "item" (the paper's) or "user".
            hidden: Sizes of the hidden layers.
            activation: f of the hidden layers; the output is linear.
            regularization: lambda_2.
            kernel_regularization: lambda_s.
            kernel_size: Dimension of the embeddings u and v.
            input_dropout: Dropout rate on the observed ratings; not with lbfgs, whose line search
                needs a deterministic loss.
        """

        rows: str = setting("item", choices=("item", "user"))
        hidden: tuple[int, ...] = setting(
            (500, 500), "at least 1", search=OneOf((250,), (500,), (500, 500))
        )
        activation: str = setting("sigmoid", choices=ACTIVATIONS)
        regularization: float = setting(20.0, "0 or more", search=Range(5, 200, log=True))
        kernel_regularization: float = setting(
            0.006, "0 or more", search=Range(2e-4, 0.05, log=True)
        )
        kernel_size: int = setting(5, "at least 1")
        input_dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.7))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        shared = {
            "size": self.config.kernel_size,
            "l2": self.config.regularization / (2 * self.training_rows),
        }
        self.encoder = [
            KernelDense(size, self.config.activation, name=f"encoder_{i}", **shared)
            for i, size in enumerate(self.config.hidden)
        ]
        self.dropout = keras.layers.Dropout(self.config.input_dropout)
        start = output_bias.initializer(info.rows, info.rating_mean)
        self.decoder = KernelDense(
            info.n_columns, "linear", bias_initializer=start, name="decoder", **shared
        )

    @classmethod
    def full_batch(cls, config):
        return not config.input_dropout

    def begin_epoch(self, epoch, rows):
        if epoch == 0:
            output_bias.fill_unrated(self.decoder.b, rows, self.info.rating_mean)

    def dense_rows(self, features) -> tf.Tensor:
        """The input of the first layer, `[batch, n_columns]`."""
        return densify(features["items"], features["values"], self.info.n_columns)

    def encode(self, features) -> tf.Tensor:
        """The last hidden layer, `[batch, hidden[-1]]`."""
        return self._hidden(self.dense_rows(features))[0]

    def _hidden(self, code: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The last hidden layer for dense rows, and |K|^2 of each hidden layer."""
        kernels = []
        for layer in self.encoder:
            code, squares = layer(code)
            kernels.append(squares)
        return code, kernels

    def forward(self, features, training=False):
        """Scores `[batch, n_columns]`, and the sum of |K|^2 of all layers, repeated `[batch]`."""
        values = self.dropout(features["values"], training=training)
        code, hidden = self._hidden(self.dense_rows(features | {"values": values}))
        scores, squares = self.decoder(code)
        return scores, tf.fill(tf.shape(scores)[:1], tf.add_n([*hidden, squares]))

    def score_columns(self, codes, columns) -> tf.Tensor:
        """As in `ItemRows`, with codes from `encode`."""
        return self.decoder.columns(codes, columns)

    def objective(self, features, targets, scores):
        """Half the squared error plus the penalty of K; that of W is a Keras regularizer."""
        scores, squares = scores
        errors = losses.squared_error(scores, targets["target_items"], targets["target_values"])
        return (errors + self.config.kernel_regularization / self.training_rows * squares) / 2
