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

    K_ij = max(0, 1 - |u_i - v_j|^2) with a learned vector for each unit on both sides. With r
    an item's ratings by all users, 0 where missing, and p the network's output, trained on

        1/2 sum over observed (r - p)^2 + sum over layers (lambda_2/2 |W|^2 + lambda_s/2 |K|^2)

    over all items at once by L-BFGS, which starts anew every `iterations`. What is minimised
    is that divided by the number of training rows, so that a mini-batch estimates it without bias.
    Predictions are clipped by the report. A full batch is filled up to `batch_size` with
    empty rows: a size just above the number of rows is the fastest.

    Departs from the paper: the output bias of a column without training ratings is the mean
    rating, with user rows it starts there for all (`models/output_bias.py`); the best epoch is
    chosen on validation (authors' code: a fixed number of iterations); `input_dropout`.
    """

    task = "rating"
    defaults = TrainConfig(
        epochs=32, batch_size=64, optimizer="adam", learning_rate=1e-3, average=0.998, patience=5
    )
    paper = TrainConfig(epochs=20, optimizer="lbfgs", iterations=50, batch_size=4096, patience=3)
    paper_settings = {
        "regularization": 60.0,
        "kernel_regularization": 0.013,
        "input_dropout": 0.0,
    }
    search = {"weight_decay": None}  # it has a penalty of its own

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """SparseFC's settings.

        Attributes:
            rows: "item" (the paper's) or "user".
            hidden: Sizes of the hidden layers.
            activation: f of the hidden layers; the output is linear.
            regularization: lambda_2.
            kernel_regularization: lambda_s.
            kernel_size: Dimension of the u and v.
            input_dropout: Share of the input that a training step leaves out, the rest scaled
                up; not with lbfgs, whose line search needs one and the same loss.
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
        """What the first layer reads, `[batch, n_columns]`."""
        return densify(features["items"], features["values"], self.info.n_columns)

    def encode(self, features) -> tf.Tensor:
        """The last hidden layer, `[batch, hidden[-1]]`."""
        return self._hidden(self.dense_rows(features))[0]

    def _hidden(self, code: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Dense rows -> the last hidden layer, and |K|^2 of each hidden layer."""
        found = []
        for layer in self.encoder:
            code, squares = layer(code)
            found.append(squares)
        return code, found

    def forward(self, features, training=False):
        """Scores `[batch, n_columns]`, and |K|^2 of all layers, the same in all `[batch]`."""
        values = self.dropout(features["values"], training=training)
        code, hidden = self._hidden(self.dense_rows(features | {"values": values}))
        scores, squares = self.decoder(code)
        return scores, tf.fill(tf.shape(scores)[:1], tf.add_n([*hidden, squares]))

    def score_columns(self, codes, columns) -> tf.Tensor:
        """As of all `ItemRows`; the codes are those of `encode`."""
        return self.decoder.columns(codes, columns)

    def objective(self, features, targets, scores):
        """Half the squared error, and the kernels' share; W's is a regularizer."""
        scores, squares = scores
        errors = losses.squared_error(scores, targets["target_items"], targets["target_values"])
        return (errors + self.config.kernel_regularization / self.training_rows * squares) / 2
