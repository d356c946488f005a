"""Where the output bias of a rating autoencoder starts.

Of item rows it starts at 0; SparseFC's authors start it within .02 of that. With the mean rating
there the hidden units have nothing to carry at first, some die, and the result is worse
(docs/results.md). Of user rows it starts at the mean: the columns are items, and many have too few
ratings to move it there.
"""

import keras
import numpy as np
import tensorflow as tf

_LARGEST = 1024.0  # bias that is looked for
_HALVINGS = 60  # of the interval that holds it: to a float's last digit


def initializer(
    rows: str, mean: float, activation: str = "linear"
) -> keras.initializers.Initializer:
    """Of the bias of all columns, before an output's `activation`.

    Args:
        rows: "user" or "item".
        mean: What the output is on average.
        activation: Its name.
    """
    return keras.initializers.Constant(0.0 if rows == "item" else of_mean(mean, activation))


def of_mean(mean: float, activation: str = "linear") -> float:
    """The bias at which an output without any input is the mean.

    Where `activation` rises but does not reach the mean, as a sigmoid, it is the mean itself.
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
    """Puts the mean rating where no rating would move the bias from 0.

    Args:
        bias: `[n_columns]`; entries other than 0, as after a warm start, stay.
        rows: All training rows in batches of (features, targets), for `items`.
        mean: What gives the mean training rating, see `of_mean`.
    """
    value = keras.ops.convert_to_numpy(bias)
    unrated = value == 0
    if not unrated.any():
        return
    for features, _ in rows:
        items = features["items"].numpy()
        unrated[items[items >= 0]] = False
    bias.assign(np.where(unrated, mean, value))
