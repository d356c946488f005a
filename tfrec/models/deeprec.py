"""DeepRec: Kuchaiev and Ginsburg, "Training Deep AutoEncoders for Collaborative Filtering",
2017 (NVIDIA/DeepRecommender).
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec import losses
from tfrec.config import OneOf, Range, TrainConfig, setting
from tfrec.layers.dense import ACTIVATIONS, Dense
from tfrec.layers.densify import densify
from tfrec.layers.tied import TiedDense
from tfrec.models import output_bias
from tfrec.models.residual import PenaltyConfig, Residual


@keras.saving.register_keras_serializable("tfrec")
class DeepRec(Residual):
    """A deep autoencoder f on users' ratings, trained with dense re-feeding.

    Hidden layers, and with `last_activation` the output layer, have the activation SELU; dropout is
    on the code only. Loss (eq. 1): MMSE = sum m (r - y)^2 / sum m over the batch, y = f(x), x the
    ratings, 0 where missing.

    Dense re-feeding: at the optimum f(f(x)) = f(x), so each batch is followed by `aug_steps`
    optimizer steps on x' = y (the output of the previous step, detached) with the loss
    mean (x' - f(x'))^2 over ALL entries.

    `regularization` adds lambda / 2 |W|^2, W all kernels, to the SUM of the squared errors of all n
    training ratings, that is, lambda / 2n |W|^2 to their mean.

    The defaults work across data sets; the paper's settings are the preset `deeprec-paper`.

    Departs from the paper: with base="biases", the default, x and y are residuals of damped biases
    (`models/residual.py`); with base="none" the output biases are initialized so that the output is
    the mean rating (paper: 0), which items with few or no training ratings keep.
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
    logged = ("refeed_loss",)

    @dataclasses.dataclass(frozen=True)
    class Config(PenaltyConfig):
        """DeepRec's settings.

        Attributes:
            hidden: Sizes of the encoder's layers; the decoder mirrors them.
            dropout: Dropout rate on the code.
            activation: Activation of all layers; the paper finds SELU, ELU and LReLU best.
            last_activation: Whether the output layer has the activation, too.
            constrained: Tie the decoder's kernels to the encoder's, transposed.
            aug_steps: Number of re-feeding steps for each batch; 0: no re-feeding.
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

    def _decoder_layer(self, level: int, units: int) -> keras.layers.Layer:
        """The decoder layer that mirrors encoder layer `level`."""
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
        """The network f on dense rows, `[batch, n_columns]` -> `[batch, n_columns]`."""
        for layer in self.encoder:
            x = layer(x)
        x = self.dropout(x, training=training)
        for layer in self.decoder:
            x = layer(x)
        return x

    def forward(self, features, training=False):
        """Predicted ratings, and the output of f: equal with base="none"; `[batch, n_columns]`."""
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
        errors = []
        for _ in range(self.config.aug_steps):
            x = tf.stop_gradient(outputs)
            with tf.GradientTape() as tape:
                outputs = self.reconstruct(x, training=True)
                error = tf.cast(x, tf.float32) - tf.cast(outputs, tf.float32)
                loss = tf.reduce_mean(tf.square(error)) / replicas
                scaled = self.optimizer.scale_loss(loss)
            self._apply(tape, scaled)
            errors.append(loss * replicas)
        parts = {"refeed_loss": tf.add_n(errors) / len(errors)} if errors else {}
        return self.training_logs(features, targets, scores, **parts)

    def _apply(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """One step of the optimizer."""
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    def fixed_point_gap(self, features) -> tf.Tensor:
        """Mean of (f(f(x)) - f(x))^2 for each row, `[batch]`, which re-feeding minimises."""
        _, y = self.forward(features)
        return tf.reduce_mean(tf.square(self.reconstruct(y) - y), axis=1)
