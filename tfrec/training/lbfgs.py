"""Full-batch training by SciPy's L-BFGS, for the models whose papers' numbers need it."""

from collections.abc import Callable

import numpy as np
import scipy.optimize
import tensorflow as tf

from tfrec.models.base import Recommender

MEMORY = 10  # correction pairs


class FullBatch:
    """Loss and gradient of a model over a whole dataset, as SciPy wants them.

    Args:
        model: A built model. Its loss must not draw random numbers.
        strategy: Replicas share the batches' rows.
        dataset: Batches whose last one is filled with empty rows.
    """

    def __init__(self, model: Recommender, strategy: tf.distribute.Strategy, dataset):
        self.model, self.strategy, self.dataset = model, strategy, dataset
        self.weights = model.trainable_weights
        self.sizes = np.cumsum([np.prod(w.shape, dtype=int) for w in self.weights])

    @tf.function
    def _sums(self, iterator) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
        """Loss and gradients of one batch times its rows, and its rows, over all replicas."""

        def step(batch):
            features, targets = batch
            with tf.GradientTape() as tape:
                scores = self.model(features, training=True)
                loss = self.model.compute_loss(features, targets, scores)
            rows = tf.reduce_sum(tf.cast(features["user"] >= 0, tf.float32))
            scale = rows * self.strategy.num_replicas_in_sync
            gradients = tape.gradient(loss, [w.value for w in self.weights])
            return loss * scale, [tf.convert_to_tensor(g) * scale for g in gradients], rows

        return tf.nest.map_structure(
            lambda x: self.strategy.reduce("SUM", x, axis=None),
            self.strategy.run(step, args=(next(iterator),)),
        )

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean loss a row and its gradient at `x`, float64 `[number of weights]`."""
        self.assign(x)
        loss, rows, gradient = 0.0, 0.0, np.zeros_like(x)
        iterator = iter(self.dataset)
        while True:
            try:
                batch_loss, gradients, batch_rows = self._sums(iterator)
            except tf.errors.OutOfRangeError:
                return loss / rows, gradient / rows
            loss += float(batch_loss)
            rows += float(batch_rows)
            for part, g in zip(np.split(gradient, self.sizes[:-1]), gradients, strict=True):
                part += g.numpy().ravel()

    def value(self) -> np.ndarray:
        """The weights as one float64 vector."""
        return np.concatenate([w.numpy().ravel() for w in self.weights]).astype(np.float64)

    def assign(self, x: np.ndarray) -> None:
        """Puts a vector of `value`'s form into the weights."""
        for w, part in zip(self.weights, np.split(x, self.sizes[:-1]), strict=True):
            w.assign(part.reshape(w.shape))


def epoch(full: FullBatch, iterations: int, tick: Callable[[], None]) -> float:
    """Runs up to `iterations` iterations from the present weights; returns the loss.

    Args:
        full: The problem.
        iterations: Iterations; each evaluates the loss about once.
        tick: Called after each iteration.
    """
    result = scipy.optimize.minimize(
        full,
        full.value(),
        jac=True,
        method="L-BFGS-B",
        callback=lambda intermediate_result: tick(),
        options={"maxiter": iterations, "maxcor": MEMORY, "ftol": 0.0, "gtol": 0.0},
    )
    full.assign(result.x)
    return float(result.fun)
