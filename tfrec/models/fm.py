"""FM: Rendle, "Factorization Machines", ICDM 2010."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import Range, Settings, TrainConfig, setting
from tfrec.layers import fields as fields_lib
from tfrec.layers.gathered import gathered
from tfrec.models.events import DampedEventModel, zero_cold_rows


@keras.saving.register_keras_serializable("tfrec")
class FM(DampedEventModel):
    """y = w0 + sum_j w_j x_j + sum over j < k of (v_j . v_k) x_j x_k.

    x encodes the event's fields (`FieldCodes`): ids and categories one-hot, sets multi-hot divided
    by their size, numbers as they are. The pairwise term is computed in linear time (lemma 3.1):

        1/2 sum_f [ (sum_j v_jf x_j)^2 - sum_j v_jf^2 x_j^2 ].

    Minimised is the mean over events of the squared error (task "rating") or of the logistic
    loss on the logit y (task "ctr"), plus sum_j l(n_j) / n_j x_j^2 (w_j^2 + |v_j|^2), with n_j
    training events where x_j is not 0, and l(n) = max(lambda n, damping); for labels lambda n. The
    task "auto" is "ctr" where the data's values are labels 0 and 1, else "rating".

    Cold start: unknown values, and users and items without a training event, have w = 0 and v = 0,
    so that they contribute nothing to y.
    """

    needs_ids = False
    paper = TrainConfig(epochs=50, batch_size=1024, learning_rate=0.002, patience=3)
    paper_settings = {"task": "rating", "latent": 10, "regularization": 0.0, "damping": 0.0}

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """FM's settings.

        Attributes:
            task: "rating", "ctr", or "auto": "ctr" where the data's values are labels 0 and 1,
                else "rating".
            fields: Fields that the model reads; empty: ids, side tables and the events' own
                fields, without those of the time.
            latent: Size of the vectors v.
            regularization: lambda.
            damping: Smallest penalty of a user, an item or another value of a field, as a number of
                ratings; unused by the task "ctr".
            deviation: Standard deviation of the normal initializer of v.
        """

        task: str = setting("auto", choices=("auto", "rating", "ctr"))
        fields: tuple[str, ...] = ()
        latent: int = setting(16, "at least 1", search=Range(4, 64, log=True))
        regularization: float = setting(0.05, "0 or more", search=Range(1e-3, 1, log=True))
        damping: float = setting(5.0, "0 or more", search=Range(0.5, 50, log=True))
        deviation: float = setting(0.01, "more than 0")

    @classmethod
    def settled(cls, config, info):
        if config.task != "auto":
            return config
        labels = (info.rating_min, info.rating_max) == (0, 1)
        return dataclasses.replace(config, task="ctr" if labels else "rating")

    @classmethod
    def task_for(cls, config) -> str:
        return "rating" if config.task == "auto" else config.task

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        fields = fields_lib.select(info, self.config.fields)
        self.codes = fields_lib.FieldCodes(fields, info.n_users, info.n_items)
        self.v_start = fields_lib.ZeroUnknown(
            keras.initializers.RandomNormal(stddev=self.config.deviation), self.codes
        )
        self._tables(code=self.codes.size)
        mean = keras.initializers.Constant(self.start)
        self.w0 = self._float("w0", mean)
        self.w = self._float("w", "zeros", self.codes.size)
        self.v = self._float("v", self.v_start, self.codes.size, self.config.latent)

    def _float(self, name: str, start, *shape: int):
        """A weight that stays float32 under mixed precision: sums of squares need it."""
        return self.add_weight(shape, start, autocast=False, name=name)

    @property
    def undecayed(self):
        """As in `Recommender`, but w decays: it holds slopes although it has one axis."""
        return [weight for weight in super().undecayed if weight is not self.w]

    def begin_epoch(self, epoch, rows):
        """Before the first epoch: v = 0 for users and items without a training event."""
        ids = [f.name for f in self.codes.fields if f.kind == "id"]
        if epoch or not (ids or self.n_events):
            return
        n_events, cold = self.count_events(rows)["code"], np.zeros(self.codes.size, bool)
        for name in ids:
            start = self.codes.starts[name] + 1
            stop = start + self.codes.counts[name]
            cold[start:stop] = n_events[start:stop] == 0
        zero_cold_rows(self.v, self.v_start, cold)

    def rows_read(self, features):
        codes, x = self.codes(features)
        real = (features["user"] >= 0)[:, None]  # others only fill up a batch
        return {"code": tf.where(real & (x != 0), codes, -1)}

    def item_vectors(self):
        if "item" not in self.codes.starts:
            return None
        start = self.codes.starts["item"] + 1
        return tf.convert_to_tensor(self.v)[start : start + self.info.n_items]

    def embed(self, features) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """v_j x_j, `[batch, width, latent]`, the linear term and the penalty, `[batch]`."""
        codes, x = self.codes(features)
        vectors = gathered(self.v, codes) * x[:, :, None]
        linear = gathered(self.w, codes) * x
        squares = tf.square(linear) + tf.reduce_sum(tf.square(vectors), axis=2)
        penalty = tf.reduce_sum(self.penalty("code", codes, squares), axis=1)
        return vectors, self.w0 + tf.reduce_sum(linear, axis=1), penalty

    def forward(self, features, training=False):
        """Scores and penalties of the events' parameters, `[batch]`."""
        vectors, linear, penalty = self.embed(features)
        return linear + pair_term(vectors), penalty

    def concatenated(self, vectors: tf.Tensor) -> tf.Tensor:
        """Field vectors, those of a set's members summed: `[batch, n_fields * latent]`."""
        parts = tf.split(vectors, self.codes.lengths, axis=1)
        return tf.concat([tf.reduce_sum(part, axis=1) for part in parts], axis=1)


def pair_term(vectors: tf.Tensor) -> tf.Tensor:
    """Sum of the dot products of all pairs: `[batch, width, latent]` -> `[batch]`."""
    total = tf.square(tf.reduce_sum(vectors, axis=1))
    return tf.reduce_sum(total - tf.reduce_sum(tf.square(vectors), axis=1), axis=1) / 2
