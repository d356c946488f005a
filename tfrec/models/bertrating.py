"""The "BERT-based" rating model of YJiangcm's Movielens1M-Movie-Recommendation-System (GitHub): a
two-tower model whose item tower encodes the titles.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import OneOf, Range, Settings, TrainConfig, setting
from tfrec.layers import fields as fields_lib
from tfrec.layers.dense import Dense
from tfrec.layers.text import TextEncoder
from tfrec.layers.transformer import check_heads
from tfrec.models.capabilities import Factors
from tfrec.models.events import EventModel
from tfrec.schema import DatasetInfo, Field

TITLES = {
    "transformer": "text",
    "frozen": "vector",
    "none": "",
}  # the kind of field that each reads
READ = ("category", "bucket", "set", "number")
LEFT_OUT = ("zip", "year")  # fields of MovieLens that the original does not read
BLOCK = 1 << 12  # titles encoded at once when all items are scored


@keras.saving.register_keras_serializable("tfrec")
class BertRating(Factors, EventModel):
    """r_ui = b + p_u . q_i, p_u and q_i the outputs of a user tower and an item tower.

        tower = tanh(W [relu(W_1 x_1 + b_1), ..., relu(W_F x_F + b_F)] + b)

    The inputs x_1 ... x_F encode the fields of a user or an item: learned embeddings of the id and
    of each category or quantile (gender, age and occupation in MovieLens; not the zip code and the
    year), sets (genres) multi-hot, numbers as they are, and the item's title: the output of a small
    Transformer over its word pieces (`TextEncoder`), trained with the rest, or a fixed vector of
    another encoder (`--data title_vectors`). The embedding of an unknown id or category is 0.
    Minimised is the mean squared error, plus lambda times the squared norm of the event's
    embeddings of ids and categories.

    Departs from the original: that encodes titles by a frozen BERT as 768 numbers (here
    title="frozen" with vectors of any encoder; the default is not pre-trained), but casts them to
    integers, which loses all information, and never reads its genres: both are corrected here. All
    embeddings have one size, those of its user fields had 16. The bias b, initialized with the mean
    rating, is added.
    """

    defaults = TrainConfig(epochs=20, batch_size=1024, learning_rate=1e-3, patience=2)
    paper = TrainConfig(epochs=10, batch_size=256, learning_rate=5e-4)
    paper_settings = {"regularization": 0.0}

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """BertRating's settings.

        Attributes:
            title: Encoder of titles: "transformer" (trained with the model), "frozen" (vectors
                of `--data title_vectors`) or "none".
            fields: Fields of users and items besides ids and title; empty: all but `zip` and
                `year`, which the original does not read.
            embedding: Size of the embeddings of ids and categories, and of each relu layer.
            tower: Size of the towers' outputs p and q.
            width: Transformer: size of the hidden states.
            heads: Transformer: number of attention heads; must divide `width`.
            layers: Transformer: number of blocks.
            dropout: Transformer: dropout rate.
            regularization: lambda.
        """

        title: str = setting("transformer", choices=TITLES)
        fields: tuple[str, ...] = ()
        embedding: int = setting(32, "at least 1", search=OneOf(16, 32, 64))
        tower: int = setting(200, "at least 1", search=OneOf(50, 100, 200))
        width: int = setting(64, "at least 1")
        heads: int = setting(2, "at least 1")
        layers: int = setting(1, "at least 1")
        dropout: float = setting(0.1, "0 or more and less than 1")
        regularization: float = setting(0.001, "0 or more", search=Range(1e-5, 0.1, log=True))

        def check(self):
            super().check()
            check_heads(self.heads, self.width)

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        fields = self._fields("user"), self._fields("item")
        self.codes = fields_lib.FieldCodes(sum(fields, ()), info.n_users, info.n_items)
        self.codes.build()
        self.user_tower, self.item_tower = (
            Tower(of, self.config, name=f"{of[0].of}_tower") for of in fields
        )
        mean = keras.initializers.Constant(self.start)
        self.bias = self.add_weight((), mean, autocast=False, name="bias")

    def _fields(self, of: str) -> tuple[Field, ...]:
        """The fields that the tower of users or items reads."""
        known = [f for f in self.info.fields if f.of == of and f.kind in READ]
        if self.config.fields:
            wanted = fields_lib.select(self.info, self.config.fields)  # refuses unknown names
            names = [f.name for f in known if f in wanted]
        else:
            names = [f.name for f in known if f.name not in LEFT_OUT]
        title = title_field(self.info, self.config.title) if of == "item" else ()
        return *fields_lib.select(self.info, [of, *names]), *title

    def vectors(self, of: str, positions: tf.Tensor, training: bool = False):
        """The output of a tower.

        Args:
            of: "user" or "item".
            positions: Users or items, int32 `[n]`, -1 for unknown ones.
            training: Whether dropout is active.

        Returns:
            p or q, `[n, tower]`, and the squared norms of the embeddings, `[n]`.
        """
        tower = self.user_tower if of == "user" else self.item_tower
        entries = [
            tf.reshape(self.codes.entries(field, {of: positions}), [-1, field.length])
            for field in tower.fields
        ]
        return tower(entries, training=training)

    def forward(self, features, training=False):
        """Scores and penalties, `[batch]`; each distinct user and item is encoded once."""
        users, user = tf.unique(features["user"])
        items, item = tf.unique(features["item"])
        p, user_squares = self.vectors("user", users, training)
        q, item_squares = self.vectors("item", items, training)
        scores = tf.reduce_sum(tf.gather(p, user) * tf.gather(q, item), axis=1)
        squares = tf.gather(user_squares, user) + tf.gather(item_squares, item)
        return self.bias + tf.cast(scores, tf.float32), self.config.regularization * squares

    def score_items(self, users, items):
        p, _ = self.vectors("user", users)
        q = self._item_vectors(items)
        return self.bias + tf.cast(tf.matmul(p, q, transpose_b=True), tf.float32)

    def _item_vectors(self, items):
        """The vectors q of many items, `[n, tower]`, computed in blocks."""
        n = tf.size(items)
        size = tf.minimum(BLOCK, n)
        blocks = tf.reshape(tf.pad(items, [[0, -n % size]]), [-1, size])
        q = tf.map_fn(
            lambda b: self.vectors("item", b)[0], blocks, fn_output_signature=self.compute_dtype
        )
        return tf.reshape(q, [-1, self.config.tower])[:n]

    def item_vectors(self):
        return self._item_vectors(tf.range(self.info.n_items))

    def query_vectors(self, features):
        """[p, b]."""
        p = tf.cast(self.vectors("user", features["user"])[0], tf.float32)
        bias = tf.fill([tf.shape(p)[0], 1], tf.convert_to_tensor(self.bias))
        return tf.concat([p, bias], axis=1)

    def candidate_vectors(self, items):
        """[q, 1]."""
        q = tf.cast(self._item_vectors(items), tf.float32)
        return tf.concat([q, tf.ones_like(q[:, :1])], axis=1)


@keras.saving.register_keras_serializable("tfrec")
class Tower(keras.layers.Layer):
    """Encodes users or items as vectors, from all their fields.

    Args:
        fields: The fields.
        config: The model's settings, a `BertRating.Config`.
    """

    def __init__(self, fields: tuple[Field, ...], config, **kwargs):
        super().__init__(**kwargs)
        self.fields = fields
        self.readers = [_reader(f, config, name=f"reader_{i}") for i, f in enumerate(fields)]
        self.hidden = [
            Dense(config.embedding, "relu", name=f"hidden_{i}") for i in range(len(fields))
        ]
        self.head = Dense(config.tower, "tanh", name="head")

    def call(self, entries, training=False):
        """Entries of each field, `[n, length]` -> `[n, tower]`, and squared norms `[n]`."""
        inputs = [r(e, training=training) for r, e in zip(self.readers, entries, strict=True)]
        hidden = [layer(x) for layer, x in zip(self.hidden, inputs, strict=True)]
        pairs = zip(self.readers, inputs, strict=True)
        embedded = [x for reader, x in pairs if isinstance(reader, KnownEmbedding)]
        squares = tf.add_n([tf.reduce_sum(tf.square(x), axis=1) for x in embedded])
        return self.head(tf.concat(hidden, axis=1)), squares


@keras.saving.register_keras_serializable("tfrec")
class KnownEmbedding(keras.layers.Embedding):
    """An embedding in which code 0, for unknown values, has the vector 0."""

    def call(self, codes, training=False):
        """`[n, 1]` -> `[n, output_dim]`."""
        x = super().call(codes)
        return tf.squeeze(x * tf.cast(codes > 0, x.dtype)[:, :, None], axis=1)


@keras.saving.register_keras_serializable("tfrec")
class MultiHot(keras.layers.Layer):
    """Multi-hot encoding of sets.

    Args:
        size: Number of codes, including padding (code 0).
    """

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, codes, training=False):
        """`[n, length]` -> `[n, size - 1]`."""
        return tf.reduce_sum(tf.one_hot(codes - 1, self.size - 1, dtype=self.compute_dtype), axis=1)


def _reader(field: Field, c: BertRating.Config, name: str) -> keras.layers.Layer:
    """The layer that encodes the entries of a field."""
    if field.kind == "set":
        return MultiHot(field.size, name=name)
    if field.kind == "text":
        sizes = c.width, c.heads, c.layers, c.dropout
        return TextEncoder(field.size, field.length, *sizes, name=name)
    if field.kind in ("vector", "number"):
        return keras.layers.Identity(name=name)
    return KnownEmbedding(field.size, c.embedding, name=name)


def title_field(info: DatasetInfo, title: str) -> tuple[Field, ...]:
    """The field that the title encoder reads; none for "none".

    Raises:
        ValueError: the data has no such field.
    """
    found = tuple(f for f in info.fields if f.of == "item" and f.kind == TITLES[title])
    if found or title == "none":
        return found[:1]
    what, cure = "titles", ""
    if title == "frozen":
        what = "vectors of its titles"
        cure = "prepare it with --data title_vectors=NAME (a package or a SavedModel), or "
    raise ValueError(
        f"--set title={title}: {info.name} is prepared without {what}; {cure}train with "
        "--set title=none"
    )
