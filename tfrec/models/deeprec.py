"""DeepRec: Kuchaiev and Ginsburg, "Training Deep AutoEncoders for Collaborative Filtering",
2017 (NVIDIA/DeepRecommender).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import ACTIVATIONS, Dense
from tfrec.layers.densify import densify
from tfrec.layers.tied import TiedDense
from tfrec.models import output_bias
from tfrec.models.residual import Residual


@keras.saving.register_keras_serializable("tfrec")
class DeepRec(Residual):
    """A deep autoencoder f on users' ratings, trained with dense re-feeding.

    Every layer, with `last_activation` the last one too, ends in SELU; dropout acts on the code
    only. Loss (eq. 1): MMSE = sum m (r - y)^2 / sum m over the batch, y = f(x), x the ratings, 0
    where missing. With `base="biases"`, which is not in the paper, ratings are first reduced by
    damped biases, x and y are residuals (`models/residual.py`), and so is what is fed again.

    Dense re-feeding: at the optimum f(f(x)) = f(x), so each batch is followed by
    `aug_steps` steps of the optimizer on x' = y (the training pass's output, detached) with
    loss mean (x' - f(x'))^2 over ALL entries; each step feeds on the output of the last.

    `regularization` adds lambda / 2 |W|^2, W all kernels, to the SUM of the squared errors of all n
    training ratings: lambda / 2n |W|^2 to their mean, so that it weighs less the more is known.

    The defaults are what works across data sets; the paper's numbers are the preset
    `deeprec-paper`.

    Departs from the paper: without a base the output biases start where the output is the mean
    rating (paper: at 0), so that an item with few or no training ratings predicts about the mean.
    """

    task = "rating"
    paper = TrainConfig(
        epochs=50,
        batch_size=32,
        learning_rate=1e-3,
        clip_norm=1.0,
        patience=4,
    )
    paper_settings = {"regularization": 0.0}

    @dataclasses.dataclass(frozen=True)
    class Config(Residual.Config):
        """DeepRec's settings.

        Attributes:
            hidden: Encoder sizes; the decoder mirrors them.
            dropout: Rate on the code.
            activation: Of every layer; the paper finds SELU, ELU and LReLU best.
            last_activation: Whether the output layer has the activation too.
            constrained: Decoder kernels are the encoder's, transposed.
            aug_steps: Re-feeding steps a batch; 0 trains without.
            regularization: lambda.
        """

        hidden: tuple[int, ...] = setting(
            (128, 32),
            "at least 1",
            search=OneOf((32,), (64,), (128,), (64, 32), (128, 32), (256, 64)),
        )
        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.8))
        activation: str = setting("selu", choices=ACTIVATIONS)
        last_activation: bool = False
        constrained: bool = False
        aug_steps: int = setting(1, "0 or more", search=Range(0, 2))
        regularization: float = setting(300.0, "0 or more", search=Range(10, 5000, log=True))

        @classmethod
        def renewed(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
            """Versions without this setting had no such term."""
            return {"regularization": 0.0, **super().renewed(fields)}

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        widths = (info.n_columns, *c.hidden)
        self.kernel_decay = self.l2_by_ratings(c.regularization)
        self.encoder = [
            Dense(size, c.activation, kernel_regularizer=self.kernel_decay, name=f"encoder_{i}")
            for i, size in enumerate(c.hidden)
        ]
        self.dropout = keras.layers.Dropout(c.dropout)
        self.decoder = [self._decoder_layer(i, widths[i]) for i in reversed(range(len(c.hidden)))]
        self.refeed_tracker = keras.metrics.Mean("refeed_loss")

    def _decoder_layer(self, level: int, units: int) -> keras.layers.Layer:
        """The decoder layer that undoes encoder layer `level`."""
        linear = level == 0 and not self.config.last_activation
        activation = "linear" if linear else self.config.activation
        start = 0.0 if level else output_bias.of_mean(self.output_mean, activation)
        options = {
            "activation": activation,
            "bias_initializer": keras.initializers.Constant(start),
            "name": f"decoder_{level}",
        }
        if self.config.constrained:
            return TiedDense(self.encoder[level], units, **options)
        return Dense(units, kernel_regularizer=self.kernel_decay, **options)

    def reconstruct(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """f, from dense rows `[batch, n_columns]` to dense rows."""
        for layer in self.encoder:
            x = layer(x)
        x = self.dropout(x, training=training)
        for layer in self.decoder:
            x = layer(x)
        return x

    def forward(self, features, training=False):
        """Ratings, and the net's output, `[batch, n_columns]` each: the same without a base."""
        base, values = self.base_and_input(features)
        x = densify(features["items"], values, self.info.n_columns)
        y = self.reconstruct(x, training)
        return base + tf.cast(y, tf.float32), y

    def objective(self, features, targets, scores):
        ratings, _ = scores
        return losses.pooled_squared_error(
            ratings, targets["target_items"], targets["target_values"]
        )

    def train_step(self, data):
        """One step on the ratings, then `aug_steps` steps of dense re-feeding."""
        features, targets = data
        with tf.GradientTape() as tape:
            scores = self.run_forward(features, training=True)
            loss = self.compute_loss(features, targets, scores)
            scaled = self.optimizer.scale_loss(loss)
        outputs = scores[1]
        self._apply(tape, scaled)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(loss * replicas)
        for _ in range(self.config.aug_steps):
            x = tf.stop_gradient(outputs)
            with tf.GradientTape() as tape:
                outputs = self.reconstruct(x, training=True)
                error = tf.cast(x, tf.float32) - tf.cast(outputs, tf.float32)
                loss = tf.reduce_mean(tf.square(error)) / replicas
                scaled = self.optimizer.scale_loss(loss)
            self._apply(tape, scaled)
            self.refeed_tracker.update_state(loss * replicas)
        logs = {"loss": self._loss_tracker.result()}
        return logs | (
            {"refeed_loss": self.refeed_tracker.result()} if self.config.aug_steps else {}
        )

    def _apply(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """One step of the optimizer."""
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    def fixed_point_gap(self, features) -> tf.Tensor:
        """Mean of (f(f(x)) - f(x))^2 a row, `[batch]`: what dense re-feeding makes small."""
        _, y = self.forward(features)
        return tf.reduce_mean(tf.square(self.reconstruct(y) - y), axis=1)
