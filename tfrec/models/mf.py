"""Matrix factorisation: Koren, Bell and Volinsky, "Matrix Factorization Techniques for
Recommender Systems", IEEE Computer 2009; SVD++: Koren, KDD 2008.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import Range, Settings, TrainConfig, setting
from tfrec.layers.gathered import gathered
from tfrec.layers.negatives import uniform_items
from tfrec.models.capabilities import Factors
from tfrec.models.events import DampedEventModel, zero_cold_rows

TASK_OF = {"squared": "rating", "bpr": "ranking", "softmax": "ranking"}  # by loss


@keras.saving.register_keras_serializable("tfrec")
class MF(Factors, DampedEventModel):
    """r_ui = mu + b_u + b_i + p_u . q_i.

    With `implicit`, |N_u|^-1/2 sum over j in N_u of y_j is added to p_u (SVD++, eq. 15), N_u being
    the items that the user rated in training. Minimised is the mean over events of one of

        squared:  (r - r_ui)^2
        bpr:      - log sigmoid(r_ui - r_uj)                  (Rendle et al., UAI 2009)
        softmax:  - r_ui + log(exp r_ui + sum_j exp r_uj)     (sampled softmax)

    plus l(n_u) / n_u (b_u^2 + |p_u|^2, and with `implicit` the squared norm of that sum) and
    l(n_i) / n_i (b_i^2 + |q_i|^2), with n_u training events of user u, n_i of item i, and
    l(n) = max(lambda n, damping); for bpr and softmax lambda n. Over all events a user is so
    penalized by l(n_u) in all. j are `negatives` items for each event, sampled uniformly from all
    items in every step; items that the user has rated are not excluded. The first loss is for
    ratings, the others are for ranking, where every event is a positive.

    Cold start: an unknown user has b_u = 0 and p_u = 0, so that the items' biases decide. Users and
    items without a training event start at p_u = 0 and q_i = 0, so that a rating is predicted by mu
    and the biases; items sampled as negatives are trained from there.
    """

    defaults = TrainConfig(epochs=60, batch_size=1024, learning_rate=0.002, patience=3)
    paper = TrainConfig(epochs=60, batch_size=1024, learning_rate=0.003, patience=5)
    paper_settings = {"latent": 64, "regularization": 0.02, "damping": 0.0, "deviation": 0.1}

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """MF's settings.

        Attributes:
            latent: Size of the vectors p and q.
            loss: "squared" (ratings), "bpr" or "softmax" (ranking).
            regularization: lambda.
            damping: Smallest penalty of a user or an item, as a number of ratings; unused by bpr
                and softmax.
            implicit: Add SVD++'s implicit feedback vectors y to those of the users.
            start: Initializer of the vectors: "normal" with standard deviation `deviation`, or
                "xavier" (Glorot uniform).
            deviation: See `start`.
            negatives: Sampled negatives for each event; unused by squared.
        """

        latent: int = setting(32, "at least 1", search=Range(8, 128, log=True))
        loss: str = setting("squared", choices=TASK_OF)
        regularization: float = setting(0.05, "0 or more", search=Range(1e-3, 0.5, log=True))
        damping: float = setting(5.0, "0 or more", search=Range(0.5, 50, log=True))
        implicit: bool = False
        start: str = setting("normal", choices=("normal", "xavier"))
        deviation: float = setting(0.05, "more than 0")
        negatives: int = setting(1, "at least 1")

    @classmethod
    def task_for(cls, config) -> str:
        return TASK_OF[config.loss]

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c, known = self.config, self.info.n_ratings
        self.seed_generator = keras.random.SeedGenerator()
        self.starts = {}  # initializers of the tables
        # The last row is for unknown users and items.
        self._tables(user=info.n_users + 1, item=info.n_items + 1)
        self.p = self._table("p", info.n_users + 1, c.latent)
        self.q = self._table("q", info.n_items + 1, c.latent)
        self.user_bias = self._table("user_bias", info.n_users + 1)
        self.item_bias = self._table("item_bias", info.n_items + 1)
        if c.implicit:
            self.y = self._table("y", info.n_items, c.latent)
            size = sum(n for part, n in known.items() if part != "test")
            self.seen = self._state("seen", size)
            self.seen_splits = self._state("seen_splits", info.n_users + 2)

    def _table(self, name: str, n: int, *size: int):
        start = keras.initializers.RandomNormal(stddev=self.config.deviation)
        if self.config.start == "xavier":
            start = keras.initializers.GlorotUniform()
        self.starts[name] = start
        return self.add_weight((n, *size), start if size else "zeros", name=name)

    def _state(self, name: str, size: int):
        return self.add_weight(
            (size,), "zeros", dtype="int32", trainable=False, autocast=False, name=name
        )

    def begin_epoch(self, epoch, rows):
        """Before the first epoch: zeros for users and items without an event; stores N_u."""
        if epoch == 0:
            n_events = self.count_events(rows)
            for of, table in (("user", self.p), ("item", self.q)):
                zero_cold_rows(table, self.starts[table.name], n_events[of] == 0)
        if self.config.implicit and not keras.ops.convert_to_numpy(self.seen_splits)[-1]:
            self._store_seen(rows)

    def rows_read(self, features):
        return {of: features[of] for of in ("user", "item")}

    def _store_seen(self, rows) -> None:
        """Stores N_u of all training events as a ragged tensor: `seen` and its `seen_splits`."""
        pairs = [(f["user"].numpy(), f["item"].numpy()) for f, _ in rows]
        users, items = (np.concatenate(column) for column in zip(*pairs, strict=True))
        users, items = users[users >= 0], items[users >= 0]
        order = np.lexsort((items, users))
        counts = np.bincount(users, minlength=self.info.n_users + 1)  # 0 for the unknown user
        self.seen_splits.assign(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        self.seen.assign(np.pad(items[order], (0, self.seen.shape[0] - len(items))))

    def users(self, users: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Vectors `[batch, latent]`, biases and squared norms `[batch]` of users `[batch]`."""
        known = users >= 0
        rows = tf.where(known, users, self.info.n_users)
        p = gathered(self.p, rows)
        vectors, squares = p, _squares(p)
        if self.config.implicit:
            y = self._implicit(rows)
            vectors, squares = p + y, squares + _squares(y)
        known = tf.cast(known, vectors.dtype)
        bias = gathered(self.user_bias, rows) * known
        return vectors * known[:, None], bias, squares + tf.square(bias)

    def _implicit(self, users: tf.Tensor) -> tf.Tensor:
        """|N_u|^-1/2 sum of y over N_u, `[batch, latent]`; computed once for each distinct user."""
        users, inverse = tf.unique(users)
        splits = tf.convert_to_tensor(self.seen_splits)
        seen = tf.RaggedTensor.from_row_splits(
            tf.convert_to_tensor(self.seen)[: splits[-1]], splits, validate=False
        )
        rated = tf.gather(seen, users)
        total = tf.math.segment_sum(gathered(self.y, rated.flat_values), rated.value_rowids())
        total = tf.pad(total, [[0, tf.size(users) - tf.shape(total)[0]], [0, 0]])
        n = tf.cast(tf.maximum(1, rated.row_lengths()), total.dtype)
        return tf.gather(total * tf.math.rsqrt(n)[:, None], inverse)

    def call(self, features, training=False):
        """Scores, `[batch]`."""
        return self._scored(features)[0]

    def forward(self, features, training=False):
        """Scores and penalties `[batch]`, and scores of negatives, `[batch, negatives]`."""
        scores, squares, vectors, user_bias = self._scored(features)
        rows = self.rows_read(features)
        penalty = tf.add_n([self.penalty(of, rows[of], square) for of, square in squares.items()])
        if self.task == "rating":
            return scores, penalty, tf.zeros_like(scores)[:, None]
        items = self._sample(tf.shape(scores)[0])
        negatives = tf.einsum("bk,bnk->bn", vectors, gathered(self.q, items))
        negatives += gathered(self.item_bias, items) + user_bias[:, None]
        return scores, penalty, negatives

    def _scored(self, features) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        """Scores, squared norms of user and item, vectors `[batch, latent]` and biases of users."""
        vectors, user_bias, squares = self.users(features["user"])
        # Unknown items share the last row, which is never trained.
        items = tf.where(features["item"] >= 0, features["item"], self.info.n_items)
        q, bias = gathered(self.q, items), gathered(self.item_bias, items)
        scores = self._mean(vectors) + user_bias + bias + tf.reduce_sum(vectors * q, axis=1)
        both = {"user": squares, "item": _squares(q) + tf.square(bias)}
        return scores, both, vectors, user_bias

    def _mean(self, like: tf.Tensor) -> tf.Tensor:
        """Mu for ratings, else 0."""
        return tf.cast(self.info.rating_mean if self.task == "rating" else 0.0, like.dtype)

    def _sample(self, batch: tf.Tensor) -> tf.Tensor:
        """Uniform random items, int32 `[batch, negatives]`."""
        shape = (batch, self.config.negatives)
        return uniform_items(shape, self.info.n_items, self.seed_generator)

    def objective(self, features, targets, scores):
        scores, penalty, negatives = scores
        if self.config.loss == "squared":
            loss = tf.square(targets["value"] - scores)
        elif self.config.loss == "bpr":
            loss = tf.reduce_mean(tf.nn.softplus(negatives - scores[:, None]), axis=1)
        else:
            both = tf.concat([scores[:, None], negatives], axis=1)
            loss = tf.reduce_logsumexp(both, axis=1) - scores
        return loss + penalty

    def score_items(self, users, items):
        return self._products(users, gathered(self.q, items), gathered(self.item_bias, items))

    def score_all(self, users):  # a slice is no copy, as a gather is
        tables = tf.convert_to_tensor(self.q), tf.convert_to_tensor(self.item_bias)
        return self._products(users, *(table[:-1] for table in tables))

    def _products(self, users, q, item_bias) -> tf.Tensor:
        """Scores `[batch, n]` of items, given their vectors and biases."""
        vectors, bias, _ = self.users(users)
        scores = self._mean(q) + bias[:, None] + item_bias
        return tf.cast(scores + tf.matmul(vectors, q, transpose_b=True), tf.float32)

    def item_vectors(self):
        return tf.convert_to_tensor(self.q)[:-1]

    def query_vectors(self, features):
        """[p, mu + b_u, 1]."""
        vectors, bias, _ = self.users(features["user"])
        columns = vectors, (self._mean(bias) + bias)[:, None], tf.ones_like(bias)[:, None]
        return tf.cast(tf.concat(columns, axis=1), tf.float32)

    def candidate_vectors(self, items):
        """[q, 1, b_i]."""
        q, bias = gathered(self.q, items), gathered(self.item_bias, items)[:, None]
        return tf.cast(tf.concat([q, tf.ones_like(bias), bias], axis=1), tf.float32)


def _squares(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(x), axis=-1)
