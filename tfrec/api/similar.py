"""Similarity of items according to a model."""

import pathlib

import numpy as np
import tensorflow as tf

from tfrec.models.base import Recommender
from tfrec.schema import PAD
from tfrec.serving import known_users

_BATCH = 256


def similarity(model: Recommender, data_dir: str | pathlib.Path, items: np.ndarray) -> np.ndarray:
    """Similarity of items to all items.

    It is the first of these that the model has:

    1. item vectors (MF, FM, DeepFM, DCN, the two towers, sequence models): their cosine;
    2. rows by item (I-AutoRec, SparseFC, GLocal-K): the cosine of the items' codes;
    3. scores of histories (all others): those of a history of that item alone, with the highest
       rating. For EASE these are its item-item weights.

    Args:
        model: A trained model.
        data_dir: Its prepared data.
        items: Positions, int `[n]`.

    Returns:
        float32 `[n, n_items]`.

    Raises:
        ValueError: the model has none of these.
    """
    vectors = model.item_vectors()
    if vectors is not None:
        return _cosine(tf.cast(vectors, tf.float32).numpy(), items)
    if model.reads == "events":
        raise ValueError(f"{type(model).__name__} has no item vectors and scores no histories")
    if model.info.rows == "item":
        return _cosine(known_users.encode_items(model, data_dir)[0], items)
    return np.concatenate(
        [_alone(model, items[i : i + _BATCH]) for i in range(0, len(items), _BATCH)]
    )


def _cosine(vectors: np.ndarray, items: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit[items] @ unit.T


def _alone(model: Recommender, items: np.ndarray) -> np.ndarray:
    """Scores of histories of one item each."""
    column = tf.constant(items[:, np.newaxis], tf.int32)
    features = {
        "user": tf.fill([len(items)], PAD),
        "items": column,
        "values": tf.fill(tf.shape(column), np.float32(model.usual_value)),
    }
    return model.score(features).numpy()
