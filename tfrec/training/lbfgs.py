"""Full-batch training by L-BFGS, which some papers' results need.

SciPy's L-BFGS-B was measured first: on AutoRec's six million weights its bookkeeping for
bounds, in float64, took longer than loss and gradient. This is unconstrained L-BFGS, in float32.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.models.base import Recommender
from tfrec.training import strategies

MEMORY = 10  # correction pairs
SUFFICIENT = 1e-4  # Armijo condition: the required share of the decrease that the slope predicts
HALVINGS = 20  # of a step, before the line search gives up


class FullBatch:
    """Loss and gradient of a model over a whole dataset, as a function of one vector of weights.

    Args:
        model: A built model. Its loss must not draw random numbers.
        strategy: Replicas share the batches' rows.
        dataset: Batches, the last one padded with empty rows.
    """

    def __init__(self, model: Recommender, strategy: tf.distribute.Strategy, dataset: Any):
        self.model, self.strategy, self.dataset = model, strategy, dataset
        self.weights = model.trainable_weights
        self.sizes = np.cumsum([np.prod(w.shape, dtype=int) for w in self.weights])

    @tf.function(autograph=False)
    def _sums(self, iterator: Iterator) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
        """Sums over a batch: loss and gradients times the number of rows, and that number."""

        def step(batch: Any) -> tuple:
            features, targets = batch
            with tf.GradientTape() as tape:
                scores = self.model.run_forward(features, training=True)
                loss = self.model.compute_loss(features, targets, scores)
            rows = tf.reduce_sum(tf.cast(features["user"] >= 0, tf.float32))
            scale = rows * self.strategy.num_replicas_in_sync
            gradients = tape.gradient(loss, [w.value for w in self.weights])
            return loss * scale, [tf.convert_to_tensor(g) * scale for g in gradients], rows

        return tf.nest.map_structure(
            lambda x: self.strategy.reduce("SUM", x, axis=None),
            strategies.run_on_next(self.strategy, step, iterator),
        )

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean loss by row and its gradient at `x`, float32 `[number of weights]`."""
        self.assign(x)
        loss, rows, gradient = 0.0, 0.0, np.zeros_like(x)
        for batch_loss, gradients, batch_rows in strategies.steps(self._sums, self.dataset):
            loss += float(batch_loss)
            rows += float(batch_rows)
            for part, g in zip(np.split(gradient, self.sizes[:-1]), gradients, strict=True):
                part += g.numpy().ravel()
        return loss / rows, gradient / np.float32(rows)

    def value(self) -> np.ndarray:
        """The weights as one float32 vector."""
        return np.concatenate([w.numpy().ravel() for w in self.weights])

    def assign(self, x: np.ndarray) -> None:
        """Sets the weights from a vector as `value` returns it."""
        for w, part in zip(self.weights, np.split(x, self.sizes[:-1]), strict=True):
            w.assign(part.reshape(w.shape))


def minimize(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    x: np.ndarray,
    iterations: int,
    tick: Callable[[], object] = lambda: None,
) -> tuple[np.ndarray, float]:
    """L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5), backtracking steps.

    Args:
        function: x -> value and gradient.
        x: Starting point, float32 `[n]`.
        iterations: Maximum number of iterations; it ends earlier if the line search fails.
        tick: Called after each iteration.

    Returns:
        The last x and its value, which is never above the value at the start.
    """
    value, gradient = function(x)
    pairs: deque = deque(maxlen=MEMORY)
    for _ in range(iterations):
        direction = -two_loop(gradient, pairs)
        slope = float(direction @ gradient)
        step = 1.0 if pairs else 1.0 / max(1.0, float(np.linalg.norm(gradient)))
        for _ in range(HALVINGS):
            new_x = x + np.float32(step) * direction
            new_value, new_gradient = function(new_x)
            if new_value <= value + SUFFICIENT * step * slope:
                break
            step /= 2
        else:
            return x, value
        s, y = new_x - x, new_gradient - gradient
        curvature = float(s @ y)
        if curvature > 1e-10 * float(y @ y):  # keeps the inverse Hessian positive definite
            pairs.append((s, y, curvature))
        x, value, gradient = new_x, new_value, new_gradient
        tick()
    return x, value


def two_loop(gradient: np.ndarray, pairs: deque) -> np.ndarray:
    """The inverse Hessian that `pairs` of (s, y, s.y) imply, times `gradient` (alg. 7.4)."""
    q = gradient.copy()
    alphas = []
    for s, y, curvature in reversed(pairs):
        alphas.append(np.float32(s @ q / curvature))
        q -= alphas[-1] * y
    if pairs:
        _, y, curvature = pairs[-1]
        q *= np.float32(curvature / float(y @ y))
    for (s, y, curvature), alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - np.float32(y @ q / curvature)) * s
    return q


def epoch(full: FullBatch, iterations: int, tick: Callable[[], object]) -> float:
    """Runs up to `iterations` iterations from the current weights; returns the loss.

    Args:
        full: The loss to minimize.
        iterations: Maximum number of iterations; each evaluates the loss about once.
        tick: Called after each iteration.
    """
    x, loss = minimize(full, full.value(), iterations, tick)
    full.assign(x)
    return loss
