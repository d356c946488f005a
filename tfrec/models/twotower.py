"""Two towers: Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
Recommendations", RecSys 2019; user tower after Covington, Adams and Sargin, "Deep Neural Networks
for YouTube Recommendations", RecSys 2016.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import OneOf, Range, Settings, TrainConfig, setting
from tfrec.layers import fields as fields_lib
from tfrec.layers import negatives as negatives_lib
from tfrec.layers.dense import Dense
from tfrec.layers.gathered import gathered
from tfrec.layers.newest_items import newest_items
from tfrec.models.base import Recommender
from tfrec.models.capabilities import Factors, SideTables

READ = ("category", "bucket", "set", "number", "text")  # kinds of an item's fields
_IMPOSSIBLE = -1e9


@keras.saving.register_keras_serializable("tfrec")
class TwoTower(SideTables, Factors, Recommender):
    """s_ui = u . v_i / temperature, the outputs of a user tower and an item tower, of length 1.

        x_i = e_i + sum over the fields f of item i of the mean embedding of its codes in f
        v_i = norm(x_i + W_2 relu(W_1 x_i + b_1) + b_2)
        u = norm(m + U_2 relu(U_1 m + c_1) + c_2),  m the mean of x_j over the newest items j

    The loss is a softmax over the items that all rows of the batch have drawn as targets, and
    `negatives` items more, drawn uniformly. From each logit the logarithm of how often its item is
    expected among them is subtracted (eq. 3), so that u . v_i does not learn the sampling. Items
    of a row's own history are no negatives of it, items of no row are none at all, and a target
    is no part of its own history.

    Cold items: e_i is 0 for items of no row, so that v_i follows from the fields alone; in training
    e_i is left out with probability `id_dropout`, where there are fields, so that they learn to
    stand for it (Volkovs, Yu and Poutanen, "DropoutNet", NeurIPS 2017).

    Departs from the papers: frequencies are counted before the first epoch instead of estimated
    from the stream, the user tower reads the history only, and hidden layers are residual.
    """

    task = "ranking"
    defaults = TrainConfig(epochs=60, batch_size=128, learning_rate=2e-3, patience=4)
    search = {"batch_size": OneOf(64, 128, 256)}

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """Settings of both towers.

        Attributes:
            width: Size of the embeddings and of the towers' outputs.
            hidden: Units of the hidden layer of each tower; 0 for none.
            window: Maximum length of a history: its newest items.
            temperature: See the class.
            targets: Items that are drawn from each row in a step.
            negatives: Uniform negatives of a step, shared by all rows.
            id_dropout: See the class.
            dropout: Dropout rate of the mean of the history.
        """

        width: int = setting(64, "at least 1", search=OneOf(32, 64, 128))
        hidden: int = setting(128, "0 or more")
        window: int = setting(100, "at least 2", search=OneOf(20, 50, 100, 200))
        temperature: float = setting(0.1, "more than 0", search=Range(0.03, 0.3, log=True))
        targets: int = setting(4, "at least 1")
        negatives: int = setting(256, "0 or more")
        id_dropout: float = setting(0.1, "0 or more and less than 1", search=Range(0, 0.5))
        dropout: float = setting(0.1, "0 or more and less than 1", search=Range(0, 0.5))

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        c = self.config
        self.max_items = c.window
        self.seed_generator = keras.random.SeedGenerator()
        fields = tuple(f for f in info.fields if f.of == "item" and f.kind in READ)
        self.codes = fields_lib.FieldCodes(fields, info.n_users, info.n_items) if fields else None
        start = keras.initializers.TruncatedNormal(stddev=0.1)
        self.ids = self.add_weight((info.n_items, c.width), start, name="ids")
        self.log_share = self.add_weight(
            (info.n_items,), "zeros", trainable=False, autocast=False, name="log_share"
        )
        if self.codes:
            self.codes.build()
            start = fields_lib.ZeroUnknown(start, self.codes)
            self.content = self.add_weight((self.codes.size, c.width), start, name="content")
        self.towers = {of: self._tower(of) for of in ("user", "item")} if c.hidden else {}
        self.drop = keras.layers.Dropout(c.dropout)

    def _tower(self, of: str) -> list[Dense]:
        """The hidden layer and the output layer; with the latter at 0, the tower does nothing."""
        hidden = Dense(self.config.hidden, "relu", name=f"{of}_hidden")
        output = Dense(self.config.width, kernel_initializer="zeros", name=f"{of}_output")
        hidden.build((None, self.config.width))
        output.build((None, self.config.hidden))
        return [hidden, output]

    @classmethod
    def activations(cls, info, config, train):
        """The batch's logits, the keys that find accidental hits, and the items' scores."""
        n_targets = train.batch_size * config.targets
        n_candidates = n_targets + config.negatives
        keys = 2 * train.batch_size * (n_candidates + config.window)  # int64
        vectors = 4 * config.width * (train.batch_size * config.window + n_candidates)
        return 3 * n_targets * n_candidates + keys + vectors + train.batch_size * info.n_items

    @property
    def data_weights(self):
        return [*super().data_weights, self.log_share]

    def begin_epoch(self, epoch, rows):
        """Before the first epoch: counts how often items are drawn."""
        if epoch or np.any(keras.ops.convert_to_numpy(self.log_share)):
            return
        share, n_rows = np.zeros(self.info.n_items + 1), 0
        for features, _ in rows:
            items = np.asarray(features["items"])
            length = (items >= 0).sum(axis=1, keepdims=True)
            weights = np.broadcast_to(1 / np.maximum(length, 1), items.shape).ravel()
            share += np.bincount(items.ravel() + 1, weights, minlength=len(share))
            n_rows += int((length > 0).sum())
        logs = np.log(np.maximum(share[1:], 1e-9) / max(1, n_rows))
        self.log_share.assign(np.where(share[1:] > 0, logs, _IMPOSSIBLE))

    def inputs(self, items: tf.Tensor, id_dropped: tf.Tensor | None = None) -> tf.Tensor:
        """X of items int32 `[n]`, `[n, width]`; 0 of padding.

        Args:
            items: Items, -1 for padding.
            id_dropped: bool `[n]`, items whose e is left out.
        """
        real, known = items >= 0, tf.maximum(items, 0)
        kept = real & (tf.gather(tf.convert_to_tensor(self.log_share), known) > _IMPOSSIBLE)
        kept = kept if id_dropped is None else kept & ~id_dropped
        x = gathered(self.ids, known)
        x = tf.where(kept[:, None], x, tf.zeros_like(x))
        for field in self.codes.fields if self.codes else ():
            entries = self.codes.entries(field, {"item": items})
            if field.kind == "number":
                codes, weights = tf.zeros_like(items)[:, None], tf.cast(entries, x.dtype)[:, None]
            else:
                codes = tf.reshape(entries, [-1, field.length])
                member = tf.cast(codes > 0, x.dtype)
                n_members = tf.reduce_sum(member, axis=1, keepdims=True)
                weights = member / tf.maximum(n_members, 1)
            rows = gathered(self.content, codes + self.codes.starts[field.name])
            x += tf.einsum("nl,nlk->nk", weights, tf.cast(rows, x.dtype))
        return x * tf.cast(real, x.dtype)[:, None]

    def through(self, of: str, x: tf.Tensor) -> tf.Tensor:
        """The output of a tower, of length 1."""
        if self.towers:
            hidden, output = self.towers[of]
            x = x + tf.cast(output(hidden(x)), x.dtype)
        return tf.math.l2_normalize(tf.cast(x, tf.float32), axis=-1)

    def users(self, history: tf.Tensor, without: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Outputs of the user tower.

        Args:
            history: int32 `[batch, length]`, padding -1.
            without: int32 `[batch, n]`, items that are left out of the history; -1 for none.
            training: Whether there is dropout.

        Returns:
            float32 `[batch, n, width]`.
        """
        items, index = tf.unique(tf.reshape(history, [-1]))
        shape = tf.concat([tf.shape(history), [self.config.width]], axis=0)
        x = tf.reshape(tf.gather(self.inputs(items), index), shape)
        real = history >= 0
        kept = real[:, None, :] & (history[:, None, :] != without[:, :, None])
        weights = tf.cast(kept, x.dtype)
        n_kept = tf.reduce_sum(weights, axis=-1, keepdims=True)
        mean = tf.einsum("bnl,blk->bnk", weights / tf.maximum(n_kept, 1), x)
        mean = tf.reshape(mean, [-1, self.config.width])
        out = self.through("user", self.drop(mean, training=training))
        return tf.reshape(out, [-1, tf.shape(without)[1], self.config.width])

    def call(self, features, training=False):
        """Scores of all items, float32 `[batch, n_items]`."""
        items = self.candidate_vectors(tf.range(self.info.n_items))
        return tf.matmul(self.query_vectors(features), items, transpose_b=True)

    def query_vectors(self, features):
        """U / temperature."""
        history = newest_items(tf.cast(features["items"], tf.int32), self.config.window)
        none = tf.fill([tf.shape(history)[0], 1], -1)
        return self.users(history, none)[:, 0] / self.config.temperature

    def candidate_vectors(self, items):
        """V of items `[n]`."""
        return self.through("item", self.inputs(items))

    def item_vectors(self):
        return self.candidate_vectors(tf.range(self.info.n_items))

    def forward(self, features, training=False):
        """Users `[batch, targets, width]`, the targets `[batch, targets]`, the history.

        Outside training the newest item of each row is its one target.
        """
        items = tf.cast(features["items"], tf.int32)
        history = newest_items(items, self.config.window)
        if not training:
            targets = history[:, -1:]
        else:
            n_real = tf.reduce_sum(tf.cast(history >= 0, tf.float32), axis=1, keepdims=True)
            drawn = self._uniform([tf.shape(history)[0], self.config.targets]) * n_real
            column = tf.shape(history)[1] - 1 - tf.cast(drawn, tf.int32)  # left-padded
            targets = tf.gather(history, tf.maximum(column, 0), batch_dims=1)
        return self.users(history, targets, training), targets, history

    def objective(self, features, targets, scores):
        """The mean over a row's targets of their cross-entropy; held-out `targets` are not used."""
        users, items, history = scores
        real = tf.cast(items >= 0, tf.float32)
        if self.exact_loss:
            vectors = self.candidate_vectors(tf.range(self.info.n_items))
            logits = tf.einsum("bnk,ck->bnc", users, vectors) / self.config.temperature
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(items, 0), logits)
        else:
            loss = self._sampled(users, items, history)
        return tf.math.divide_no_nan(tf.reduce_sum(loss * real, 1), tf.reduce_sum(real, 1))

    def _sampled(self, users: tf.Tensor, items: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
        """Cross-entropy of each target among the batch's targets and uniform negatives."""
        c, flat = self.config, tf.reshape(items, [-1])
        dropped = self._uniform([tf.size(flat)]) < c.id_dropout if self.codes else None
        own = self.through("item", self.inputs(flat, dropped))
        all_items, vectors = _all_replicas(flat), _all_replicas(own)
        n_targets = tf.cast(tf.reduce_sum(tf.cast(all_items >= 0, tf.int32)), tf.float32)
        known = tf.maximum(all_items, 0)
        expected = tf.gather(tf.convert_to_tensor(self.log_share), known) + tf.math.log(n_targets)
        expected = tf.where(all_items >= 0, expected, -_IMPOSSIBLE)
        if c.negatives:
            drawn = negatives_lib.uniform_items(
                [c.negatives], self.info.n_items, self.seed_generator
            )
            all_items = tf.concat([all_items, drawn], axis=0)
            vectors = tf.concat([vectors, self.candidate_vectors(drawn)], axis=0)
            rate = tf.math.log(c.negatives / self.info.n_items)
            trained = tf.gather(tf.convert_to_tensor(self.log_share), drawn) > _IMPOSSIBLE
            expected = tf.concat([expected, tf.where(trained, rate, -_IMPOSSIBLE)], axis=0)
        others = tf.einsum("bnk,ck->bnc", users, vectors) / c.temperature - expected
        n_rows = tf.shape(history, tf.int64)[0]
        hits = negatives_lib.in_rows(history, tf.range(n_rows), all_items[tf.newaxis])
        others = tf.where(hits[:, None, :], _IMPOSSIBLE, others)
        own = tf.reshape(own, tf.shape(users))
        positive = tf.reduce_sum(users * own, axis=-1) / c.temperature
        share = tf.gather(tf.convert_to_tensor(self.log_share), tf.maximum(items, 0))
        positive -= share + tf.math.log(n_targets)
        both = tf.concat([positive[:, :, None], others], axis=-1)
        return tf.reduce_logsumexp(both, axis=-1) - positive

    def _uniform(self, shape) -> tf.Tensor:
        return keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)


def _all_replicas(value: tf.Tensor) -> tf.Tensor:
    """The values of all replicas of the step, one after the other."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_gather(value, axis=0)
