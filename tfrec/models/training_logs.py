"""What training logs of a model beside its loss."""

from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfrec.models.clipping import Clipping


class TrainingLogs:
    """A base class of `Recommender`: running means over an epoch, of parts of the loss and more.

    Attributes:
        logged: Names of what `loss_parts` gives, and of what a `train_step` of the model's own
            adds to it.
        logged_means: Of a model: the means by name, Keras' metrics, which a run saves and resumes.
    """

    logged: ClassVar[tuple[str, ...]] = ()
    losses: Any
    compute_metrics: Any

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        names = ("regularization", "gradient_norm", *self.logged)
        self.logged_means = {name: keras.metrics.Mean(name) for name in names}
        self._logs_gradient_norm = False

    def loss_parts(self, features: Any, targets: Any, scores: Any) -> dict[str, tf.Tensor]:
        """Parts of the loss that are worth watching, such as a KL term and its weight.

        Args:
            features: As of `objective`.
            targets: As of `objective`.
            scores: As of `objective`.

        Returns:
            float32 scalars, or one value a row, `[batch]`, by the names of `logged`.
        """
        return {}

    def training_logs(
        self, features: Any, targets: Any, outputs: Any, **parts: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Counts a step's parts of the loss; returns all that training logs.

        That is the loss, its parts, what regularizers add to it, and the gradients' norm where
        `log_gradient_norm` was called: means over the epoch's steps until here.

        Args:
            features: Of the batch.
            targets: Of the batch.
            outputs: What `forward` gave.
            **parts: Besides those of `loss_parts`.
        """
        parts |= self.loss_parts(features, targets, tf.nest.map_structure(float32, outputs))
        real = tf.cast(features["user"] >= 0, tf.float32)
        for name, value in parts.items():
            weight = real if value.shape.rank else None
            self.logged_means[name].update_state(value, sample_weight=weight)
        names = [*parts]
        names += ["regularization"] if self.losses else []
        names += ["gradient_norm"] if self._logs_gradient_norm else []
        means = {name: self.logged_means[name].result() for name in names}
        return self.compute_metrics(features, targets, outputs) | means

    def log_gradient_norm(self, optimizer: Clipping) -> None:
        """Training logs the global norm of the gradients, before clipping, from now on.

        Args:
            optimizer: The one that takes the model's steps.
        """
        optimizer.on_norm = self.logged_means["gradient_norm"].update_state
        self._logs_gradient_norm = True


def float32(part: tf.Tensor) -> tf.Tensor:
    """Floats of any precision as float32; whole numbers as they are."""
    return tf.cast(part, tf.float32) if part.dtype.is_floating else part
