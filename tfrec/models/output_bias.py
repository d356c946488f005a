"""Initial output biases: of rating autoencoders the mean rating, of rankings the popularity.

For ratings with item rows it is 0 (SparseFC's authors: within .02 of 0). Initialized with the mean
rating instead, the hidden units have little to learn at first, some die, and the result is worse
(docs/results.md). With user rows it is the mean rating: the columns are items, many of which have
too few ratings to train it.
"""

import keras
import numpy as np
import tensorflow as tf

_LARGEST = 1024.0  # bound of the bias
_HALVINGS = 60  # bisection steps, enough for float precision


def initializer(
    rows: str, mean: float, activation: str = "linear"
) -> keras.initializers.Initializer:
    """The initializer of the bias of an output layer.

    Args:
        rows: "user" or "item".
        mean: Mean of the targets.
        activation: Name of the layer's activation.
    """
    return keras.initializers.Constant(0.0 if rows == "item" else of_mean(mean, activation))


def of_mean(mean: float, activation: str = "linear") -> float:
    """The bias b with activation(b) = mean.

    Where the activation does not reach the mean, as a sigmoid, it is the mean itself.
    """
    apply = keras.activations.get(activation)

    def at(x: float) -> float:
        return float(apply(tf.constant([[x]], tf.float64))[0, 0])

    low, high = -_LARGEST, _LARGEST
    if at(mean) == mean or not at(low) < mean < at(high):
        return mean
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle) < mean else (low, middle)
    return (low + high) / 2


def fill_unrated(bias: keras.Variable, rows: tf.data.Dataset, mean: float) -> None:
    """Sets the bias of columns without training ratings, which is not trained.

    Args:
        bias: `[n_columns]`; entries other than 0, as after a warm start, stay.
        rows: Batches of (features, targets) of all training rows.
        mean: The bias for the mean rating, from `of_mean`.
    """
    value = keras.ops.convert_to_numpy(bias)
    unrated = value == 0
    if not unrated.any():
        return
    for features, _ in rows:
        items = features["items"].numpy()
        unrated[items[items >= 0]] = False
    bias.assign(np.where(unrated, mean, value))


def set_popularity(bias: keras.Variable, rows: tf.data.Dataset) -> None:
    """Sets the biases of items to the logarithm of their training counts, centred.

    A softmax then starts from the popularity of items, and the model learns how a user differs from
    the average.

    Args:
        bias: `[n_items]`; unchanged if an entry is not 0, as after a warm start.
        rows: Batches of (features, targets) of all training rows.
    """
    if np.any(keras.ops.convert_to_numpy(bias)):
        return
    counts = np.zeros(bias.shape[0] + 1)
    for features, _ in rows:
        items = np.asarray(features["items"]).ravel()
        counts += np.bincount(items + 1, minlength=len(counts))
    logs = np.log(counts[1:] + 1)
    bias.assign(logs - logs.mean())
