"""BayesianFM: Freudenthaler, Schmidt-Thieme and Rendle, "Bayesian Factorization Machines", NIPS
workshop 2011, with the features of Rendle, Zhang and Koren, "On the Difficulty of Evaluating
Baselines", 2019.
"""

import dataclasses

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf

from tfrec.config import Range, Settings, TrainConfig, setting
from tfrec.layers import fields as fields_lib
from tfrec.models import gibbs
from tfrec.models.capabilities import Resumable
from tfrec.models.events import EventModel
from tfrec.schema import Field

IDS = ("user", "item")
_SPAN = 1 << 40  # more than the number of sessions: a key is user * _SPAN + session


@keras.saving.register_keras_serializable("tfrec")
class BayesianFM(Resumable, EventModel):
    """A factorization machine averaged over samples of its posterior.

        r = mu + sum over fields a of w_a + sum over a < b of v_a . v_b + e,   e ~ N(0, 1 / alpha)

    The fields are user, item and the event's context (day, weekday, hour, categories), each with
    one entry for an event. The parameters (v, w) of a field's entries have a normal prior with mean
    m + x B and a full precision matrix for each field. x are the features of a user or an item: its
    side tables (categories one-hot, sets multi-hot with norm 1, numbers as they are) and, with
    `implicit`, |N|^-1/2 for each of the N items that the user rated in training (SVD++), or users
    that rated the item. Mu is the mean rating. With `session` each user has an additional bias for
    each interval of that many seconds in which the user rated. It depends on the time of the event
    to be predicted, and is estimated from the user's other ratings of the same interval: a request
    outside these intervals gets none.

    `fit` is Gibbs sampling with conjugate priors: the parameters of an entry are sampled jointly; m
    and the precision from their normal and Wishart posteriors; B from a ridge regression with
    noise; its prior precision and alpha from gamma posteriors. The first `burn_in` sweeps are
    discarded, then every `thin`-th is kept, `samples` in all. The score is the mean over the
    samples, which are all stored in the model: 4 samples (latent + 1) bytes for each entry (ML-1M,
    100 samples of 32: 140 MB). There is no regularization to tune.

    Departs from the papers: they sample single parameters and have a separate variance for each
    factor; their x is a separate block of fields. Entries without events have the mean of their
    prior, and unknown users, items and categories have m.
    """

    closed_form = True
    paper = TrainConfig(batch_size=1 << 16)  # events read at once

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """BayesianFM's settings.

        Attributes:
            fields: Fields that the model reads, user and item among them; empty: ids, side tables
                and the events' own categories, without those of the time.
            latent: Size of the vectors v.
            implicit: Include in x which items a user, and which users an item, has ratings with.
            session: Length of a session in seconds, counted from 1970; 0: no session biases.
            samples: Number of samples that are kept.
            burn_in: Sweeps before the first sample.
            thin: Sweeps for each sample.
        """

        fields: tuple[str, ...] = ()
        latent: int = setting(10, "at least 1", search=Range(4, 32, log=True))
        implicit: bool = True
        session: int = setting(0, "0 or more")
        samples: int = setting(300, "at least 1")
        burn_in: int = setting(100, "0 or more")
        thin: int = setting(1, "at least 1")

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        fields = fields_lib.select(info, self.config.fields)
        self.codes = fields_lib.FieldCodes(fields, info.n_users, info.n_items)
        self.codes.build()
        self.side = [f for f in fields if f.of in IDS and f.kind != "id"]
        self.entries = [f for f in fields if f not in self.side]
        self._check_fields()
        self.seed_generator = keras.random.SeedGenerator()
        self.vectors = {f.name: self._table(f) for f in self.entries}
        if self.config.session:
            n = sum(n for part, n in info.n_ratings.items() if part != "test")
            self.session_keys = self._weight((n,), "session_keys", "int64")  # sorted
            self.session_biases = self._weight((n + 1,), "session_biases")  # the last: unknown

    @property
    def context(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*super().context, *(["time"] if self.config.session else []))))

    def _check_fields(self) -> None:
        names = [f.name for f in self.entries]
        for name in IDS:
            if name not in names:
                raise ValueError(f"--set fields={','.join(names)}: BayesianFM needs user and item")
        for field in self.entries:
            if field.kind == "number":
                raise ValueError(
                    f"--set fields: {field.name!r} is a number of the event, which BayesianFM does "
                    "not read: name the fields without it"
                )

    def _table(self, field: Field):
        """Parameters by entry and sample, `[size, samples, latent + 1]`; code 0 is unknown."""
        shape = (field.size, self.config.samples, self.config.latent + 1)
        return self._weight(shape, f"vectors_{field.name}")

    def _weight(self, shape: tuple[int, ...], name: str, dtype: str = "float32"):
        options = {"trainable": False, "autocast": False, "dtype": dtype}
        return self.add_weight(shape, "zeros", name=name, **options)

    def _rows(self, features) -> list[tf.Tensor]:
        """Parameters of the events' entries, `[batch, samples, latent + 1]` for each field."""
        return [
            tf.gather(self.vectors[f.name], self.codes.entries(f, features)) for f in self.entries
        ]

    def call(self, features, training=False):
        """Scores, `[batch]`."""
        scores = self.info.rating_mean + tf.reduce_mean(_sums(self._rows(features))[1], axis=1)
        if self.config.session:
            scores += self._session_bias(self._keys(features))
        return scores

    def _keys(self, features) -> tf.Tensor:
        """The user and session of each event as one integer, int64 `[batch]`; -1 is unknown."""
        user, time = tf.cast(features["user"], tf.int64), features["time"]
        known = (user >= 0) & (time > 0)
        return tf.where(known, user * _SPAN + time // self.config.session, -1)

    def _session_bias(self, keys: tf.Tensor) -> tf.Tensor:
        """Biases of `_keys`, `[batch]`."""
        known = tf.convert_to_tensor(self.session_keys)
        index = tf.minimum(tf.searchsorted(known, keys), tf.size(known) - 1)
        index = tf.where(tf.gather(known, index) == keys, index, tf.size(known))
        return tf.gather(self.session_biases, index)

    def objective(self, features, targets, scores):
        """Squared error, without the priors."""
        return tf.square(targets["value"] - scores)

    def score_items(self, users, items):
        """One product of the concatenated vectors of all samples; the context is unknown."""
        others = {"user": users} | self._no_context(users)
        rows = self._rows(others | {"item": tf.fill(tf.shape(users), -1)})
        del rows[[f.name for f in self.entries].index("item")]
        total, scores = _sums(rows)
        item = tf.gather(self.vectors["item"], items + 1)
        samples = self.config.samples
        left = tf.reshape(total[:, :, :-1], [-1, samples * self.config.latent]) / samples
        right = tf.reshape(item[:, :, :-1], [-1, samples * self.config.latent])
        biases = tf.reduce_mean(scores, 1)[:, None] + tf.reduce_mean(item[:, :, -1], 1)
        if self.config.session:
            biases += self.session_biases[-1]
        return self.info.rating_mean + biases + tf.matmul(left, right, transpose_b=True)

    def fit(self, rows, *, saved=None, step=lambda save: None, **unused):
        """Draws the samples.

        Args:
            rows: Batches of (features, targets), read once.
            saved: As in `Resumable.fit`; a step is a sweep.
            step: As in `Resumable.fit`.
            **unused: Other arguments of Keras' `fit`.

        Raises:
            ValueError: `session` is set, but no event has a time.
        """
        c = self.config
        codes, keys, values = self._read(rows)
        fields = [(codes[f.name], f.size, self._design(f, codes), c.latent) for f in self.entries]
        if c.session:
            known, sessions = np.unique(keys, return_inverse=True)
            if known[-1] < 0:
                raise ValueError(
                    f"--set session={c.session}: {self.info.name} has no times; leave it out"
                )
            fields.append((sessions, len(known) + 1, None, 0))  # the last one is unknown
        seed = 0 if saved else int(keras.random.randint((), 0, 2**31 - 1, seed=self.seed_generator))
        values = values - np.float32(self.info.rating_mean)
        chain = gibbs.Chain(fields, values, np.random.default_rng(seed))
        tables = [np.zeros(self.vectors[f.name].shape, np.float32) for f in self.entries]
        biases, done = np.zeros(len(chain.fields[-1].rows)), 0
        if saved:
            chain.restore(saved)
            tables = [saved[f"samples{k}"] for k in range(len(tables))]
            biases, done = saved["biases"], int(saved["sweeps"])

        def state(sweeps: int) -> dict[str, np.ndarray]:
            """All that a resumed `fit` needs."""
            samples = {f"samples{k}": table for k, table in enumerate(tables)}
            return {**chain.state(), **samples, "biases": biases, "sweeps": np.array(sweeps)}

        def after_sweep(sweeps: int) -> None:
            step(lambda: state(sweeps))

        for n in chain.samples(c.burn_in, c.samples, c.thin, done, after_sweep):
            for table, drawn in zip(tables, chain.fields, strict=False):
                table[:, n] = drawn.rows
            biases = biases + chain.fields[-1].rows[:, -1] / c.samples
        for field, table in zip(self.entries, tables, strict=True):
            self.vectors[field.name].assign(table)
        if c.session:
            self._keep_sessions(known, biases)

    def _keep_sessions(self, known: np.ndarray, biases: np.ndarray) -> None:
        """Stores keys and biases of the sessions, padded to the size of the weights."""
        missing = self.session_keys.shape[0] - len(known)
        largest = np.iinfo(np.int64).max
        self.session_keys.assign(np.pad(known, (0, missing), constant_values=largest))
        self.session_biases.assign(np.pad(biases, (0, missing), mode="edge"))

    def _read(self, events) -> tuple[dict[str, np.ndarray], np.ndarray | None, np.ndarray]:
        """Reads all events: codes by field, `[N]`, keys of sessions or None, and values."""
        batches = []
        for features, targets in events:
            real = features["user"].numpy() >= 0
            columns = [self.codes.entries(f, features) for f in self.entries]
            columns += [self._keys(features)] if self.config.session else []
            batches.append([column.numpy()[real] for column in (*columns, targets["value"])])
        *codes, values = (np.concatenate(column) for column in zip(*batches, strict=True))
        keys = codes.pop() if self.config.session else None
        return dict(zip((f.name for f in self.entries), codes, strict=True)), keys, values

    def _design(self, field: Field, codes: dict[str, np.ndarray]):
        """The features x of a field's entries, CSR `[size, F]`, or None; 0 for unknown entries."""
        if field.name not in IDS:
            return None
        blocks = [self._side_block(side) for side in self.side if side.of == field.name]
        if self.config.implicit:
            other = next(f for f in self.entries if f.name in IDS and f is not field)
            row, column = codes[field.name], codes[other.name]
            weights = 1 / np.sqrt(np.bincount(row, minlength=field.size)[row])
            shape = (field.size, other.size)
            blocks.append(scipy.sparse.csr_matrix((weights, (row, column)), shape))
        return scipy.sparse.hstack(blocks, format="csr") if blocks else None

    def _side_block(self, side: Field):
        """A side table's columns of x, CSR `[entries + 1, side.size]`; row 0 is unknown."""
        table = self.codes.tables[side.name].numpy()
        table = np.roll(table.reshape(len(table), -1), 1, axis=0)  # its last row is unknown
        if side.kind == "number":
            return scipy.sparse.csr_matrix(table)
        row, column = np.nonzero(table)
        weights = 1 / np.sqrt(np.count_nonzero(table, axis=1))[row]
        shape = (len(table), side.size)
        return scipy.sparse.csr_matrix((weights, (row, table[row, column])), shape)


def _sums(rows: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """The sum of the rows, and the sum of their biases and of the dot products of all pairs."""
    total = tf.add_n(rows)
    pairs = tf.reduce_sum(tf.square(total[..., :-1]), axis=-1)
    pairs -= tf.add_n([tf.reduce_sum(tf.square(row[..., :-1]), axis=-1) for row in rows])
    return total, total[..., -1] + pairs / 2
