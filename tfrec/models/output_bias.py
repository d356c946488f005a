"""Where the output bias of a rating autoencoder starts.

Of item rows it starts at 0; SparseFC's authors start it within .02 of that. With the mean rating
there the hidden units have nothing to carry at first, some die, and the result is worse
(docs/results.md). Of user rows it starts at the mean: the columns are items, and many have too few
ratings to move it there.
"""

import keras
import numpy as np
import tensorflow as tf

from tfrec.schema import DatasetInfo


def initializer(info: DatasetInfo) -> keras.initializers.Initializer:
    """Of the bias of all columns."""
    return keras.initializers.Constant(0.0 if info.rows == "item" else info.rating_mean)


def fill_unrated(bias: keras.Variable, rows: tf.data.Dataset, mean: float) -> None:
    """Puts the mean rating where no rating would move the bias from 0.

    Args:
        bias: `[n_columns]`; entries other than 0, as after a warm start, stay.
        rows: Training batches of (features, targets), for `items`.
        mean: The mean training rating.
    """
    value = keras.ops.convert_to_numpy(bias)
    unrated = value == 0
    if not unrated.any():
        return
    for features, _ in rows:
        items = features["items"].numpy()
        unrated[items[items >= 0]] = False
    bias.assign(np.where(unrated, mean, value))
