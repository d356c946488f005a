"""Transformer layers: position embeddings, attention masks and the encoder block."""

import keras
import tensorflow as tf

from tfrec.config import SettingError
from tfrec.layers.dense import Dense


def check_heads(heads: int, width: int) -> None:
    """Checks that the attention heads divide the width evenly.

    Raises:
        SettingError: `heads` does not divide `width`.
    """
    if width % heads:
        raise SettingError(f"heads={heads} does not divide width={width}; choose heads that do")


@keras.saving.register_keras_serializable("tfrec")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learned vector for each position, counted backwards from the newest item.

    A short history therefore gets the same vectors as the end of a long one, whatever the padding
    on its left.

    Args:
        length: Maximum number of positions.
        deviation: Standard deviation of the truncated normal initializer.
    """

    def __init__(self, length: int, deviation: float, **kwargs):
        super().__init__(**kwargs)
        self.length, self.deviation = length, deviation

    def build(self, shape):
        start = keras.initializers.TruncatedNormal(stddev=self.deviation)
        self.table = self.add_weight((self.length, shape[-1]), start, name="table")

    def call(self, x):
        """`[batch, L, width]`, L at most `length`."""
        return x + self.table[self.length - tf.shape(x)[1] :]


def attention_mask(real: tf.Tensor, causal: bool) -> tf.Tensor:
    """Which keys each query may attend to, as `keras.layers.MultiHeadAttention` takes it.

    Padding is masked as a key. A causal mask hides later positions, too, and lets every position
    attend to itself, padding included: a softmax over a fully masked row would be uniform over all.

    Args:
        real: Padding mask, bool `[batch, L]`, False at padding.
        causal: Whether later positions are hidden.

    Returns:
        bool `[batch, L, L]` (query, key) if causal, else `[batch, 1, L]`.
    """
    if not causal:
        return real[:, None, :]
    length = tf.shape(real)[1]
    past = tf.linalg.band_part(tf.ones([length, length], tf.bool), -1, 0)
    return past & (real[:, None, :] | tf.eye(length, dtype=tf.bool))


def last_queries(x: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The last position of x, `[batch, 1, width]`, and its mask, for attention to all positions."""
    return x[:, -1:], mask[:, -1:]


def by_head(x: tf.Tensor, heads: int) -> tf.Tensor:
    """`[batch, L, width]` -> `[batch, heads, L, width / heads]`."""
    shape = tf.shape(x)
    x = tf.reshape(x, [shape[0], shape[1], heads, x.shape[-1] // heads])
    return tf.transpose(x, [0, 2, 1, 3])


def joined(x: tf.Tensor) -> tf.Tensor:
    """The inverse of `by_head`."""
    width = x.shape[1] * x.shape[3]
    x = tf.transpose(x, [0, 2, 1, 3])
    return tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], width])


@keras.saving.register_keras_serializable("tfrec")
class Block(keras.layers.Layer):
    """Post-LN encoder block: y = LN(x + attention(x)); LN(y + W2 gelu(W1 y)), W1 4 times as wide.

    Args:
        width: Size of the vectors.
        heads: Attention heads; must divide `width`.
        dropout: Dropout rate on the output of both sublayers.
        attention_dropout: Dropout rate on the attention weights.
    """

    def __init__(
        self, width: int, heads: int, dropout: float, attention_dropout: float = 0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(
            heads, width // heads, dropout=attention_dropout, name="attention"
        )
        self.wide = Dense(4 * width, "gelu", name="wide")
        self.narrow = Dense(width, name="narrow")
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_{half}")
            for half in ("attention", "dense")
        ]
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, x, mask, training=False, last=False):
        """`[batch, L, width]` and an `attention_mask` -> `[batch, L, width]`, or the last alone."""
        keys = x
        x, mask = last_queries(x, mask) if last else (x, mask)
        attended = self.attention(x, keys, attention_mask=mask, training=training)
        x = self.norms[0](x + self.dropout(attended, training=training))
        added = self.narrow(self.wide(x))
        return self.norms[1](x + self.dropout(added, training=training))
