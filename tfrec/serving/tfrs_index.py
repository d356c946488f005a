"""The index of TensorFlow Recommenders (TFRS), which the extra `tfrs` installs.

It is exact: brute force over all items. `tfrec.serving.approximate` has an approximate index.

TFRS uses Keras 2, which TensorFlow imports only if TF_USE_LEGACY_KERAS=1 is set before TensorFlow
is imported, so it needs its own process (`tfrec.export --index=tfrs`). The models remain Keras 3
there, and the export needs neither.
"""

import importlib.util
import os
import pathlib

import numpy as np
import tensorflow as tf

from tfrec.models.base import Recommender
from tfrec.models.capabilities import Factors
from tfrec.models.events import EventModel
from tfrec.models.registry import MODELS
from tfrec.schema import PAD
from tfrec.serving.answers import LOWEST
from tfrec.serving.known_users import EventTopK

SWITCH = "TF_USE_LEGACY_KERAS"
# TFRS subtracts 1e5 from the scores of excluded items; filler items score between these and others.
NO_ITEM, NO_ITEM_SCORE = -2, -1e4
USERS = 1024  # whose vectors are computed at once


def require() -> None:
    """Checks that TFRS can be used, without importing it.

    Raises:
        ValueError: it is not installed, or TensorFlow was imported without the switch.
    """
    if importlib.util.find_spec("tensorflow_recommenders") is None:
        raise ValueError(
            "--index=tfrs needs TensorFlow Recommenders: `pip install 'tfrec[tfrs]'` installs it; "
            "--index=exact needs nothing and finds the same items"
        )
    if os.environ.get(SWITCH) != "1":
        raise ValueError(
            f"TensorFlow Recommenders needs {SWITCH}=1 in the environment before TensorFlow is "
            "imported, in its own process; `python -m tfrec.export --index=tfrs` does this"
        )


def make(model: Recommender, data_dir, k: int, titles_file: pathlib.Path) -> EventTopK:
    """The signatures of a factorised model, with `serving_default` by the index.

    Raises:
        ValueError: TFRS cannot be used, or the model has no factors.
    """
    require()
    if not (isinstance(model, Factors) and isinstance(model, EventModel)):
        factorised = [
            name
            for name, cls in MODELS.items()
            if issubclass(cls, Factors) and issubclass(cls, EventModel)
        ]
        raise ValueError(
            f"--index=tfrs: {type(model).__name__} has no vectors of users and items whose "
            "dot product is the score; models that have: " + ", ".join(factorised)
        )
    return TfrsTopK(model, data_dir, k, titles_file)


class TfrsTopK(EventTopK):
    """`serving_default` by `BruteForce` of TFRS; the other signatures are those of `EventTopK`.

    Of items with equal scores the first in the vocabulary is ranked first.
    """

    def __init__(self, model, data_dir, k, titles_file):
        super().__init__(model, data_dir, k, titles_file)
        import tensorflow_recommenders as tfrs

        info, splits = model.info, self.users.seen_splits.numpy()
        # The index requests k + longest items, so there must be as many: add filler items.
        self.longest = int(np.diff(splits).max())
        missing = max(0, self.k + self.longest - info.n_items)
        users = tf.concat([tf.range(info.n_users), [PAD]], axis=0)  # the last: an unknown user
        queries = self._ordered(users, model.query_vectors({"user": users}))
        vectors = model.candidate_vectors(tf.range(info.n_items))
        items = tf.concat([vectors, model.list_order.keys()], axis=1)
        queries = np.pad(queries, [(0, 0), (0, 1)], constant_values=1)
        items = np.pad(items, [(0, missing), (0, 1)])
        items[info.n_items :, -1] = NO_ITEM_SCORE
        positions = np.pad(np.arange(info.n_items), (0, missing), constant_values=NO_ITEM)
        self.queries = tf.Variable(queries, trainable=False, name="queries")
        self.index = tfrs.layers.factorized_top_k.BruteForce(k=self.k)
        self.index.index(tf.constant(items), tf.constant(positions, tf.int32))

    def _ordered(self, users: tf.Tensor, queries: tf.Tensor) -> tf.Tensor:
        """The users' vectors followed by those of `ListOrder`; computed in blocks of users."""
        parts = []
        for start in range(0, len(users), USERS):
            block = users[start : start + USERS]
            seen = tf.pad(self.users.seen_by(block), [[0, 0], [1, 0]], constant_values=PAD)
            added, cold = self.model.list_order.queries(seen)
            own = tf.where(cold, 0.0, queries[start : start + USERS])
            parts.append(tf.concat([own, added], axis=1))
        return tf.concat(parts, axis=0)

    def recommend_all(self, user) -> dict[str, tf.Tensor]:
        """Top k for users by raw id, string `[batch]`."""
        users = self.users.positions.lookup(user)
        seen = self.users.seen_by(users)
        seen = tf.pad(seen, [[0, 0], [0, self.longest - tf.shape(seen)[1]]], constant_values=PAD)
        seen = tf.ensure_shape(seen, [None, self.longest])
        query = tf.gather(self.queries, tf.where(users < 0, self.model.info.n_users, users))
        _, top = self.index.query_with_exclusions(query, seen)
        scores = self.pair_scores(users, top)
        answer = self.with_ids(*self.shown(scores, tf.maximum(top, PAD)))
        return answer | {"scores": tf.where(top >= 0, answer["scores"], LOWEST)}
