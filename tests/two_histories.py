"""A batch of two users and four items, for recomputing models in NumPy."""

import tensorflow as tf

FEATURES = {
    "user": tf.constant([0, 1]),
    "items": tf.constant([[0, 2, 3], [1, 3, -1]]),
    "values": tf.constant([[5.0, 3.0, 1.0], [2.0, 4.0, 0.0]]),
}
TARGETS = {"target_items": FEATURES["items"], "target_values": FEATURES["values"]}
