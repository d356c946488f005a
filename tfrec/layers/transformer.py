"""Transformer blocks, and who may look at whom in them."""

import keras
import tensorflow as tf

from tfrec.config import SettingError
from tfrec.layers.dense import Dense


def check_heads(heads: int, width: int) -> None:
    """Refuses settings whose heads would not share the vectors evenly.

    Raises:
        SettingError: `heads` does not divide `width`.
    """
    if width % heads:
        raise SettingError(f"heads={heads} does not divide width={width}; choose heads that do")


@keras.saving.register_keras_serializable("tfrec")
class Places(keras.layers.Layer):
    """Adds a learnt vector for each place, counted from the newest item backwards.

    A short history is so embedded like the end of a long one, whatever the padding before it.

    Args:
        length: Most places.
        deviation: Of the normal start.
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


def looks_at(known: tf.Tensor, causal: bool) -> tf.Tensor:
    """Which place may look at which: bool `[batch, L, L]`, or `[batch, 1, L]` if not causal.

    Nobody looks at padding. Causal: nobody looks ahead; each place sees itself, padding too, for
    where all is forbidden a softmax allows all.

    Args:
        known: bool `[batch, L]`, False at padding.
        causal: Whether later places are hidden.
    """
    if not causal:
        return known[:, None, :]
    length = tf.shape(known)[1]
    past = tf.linalg.band_part(tf.ones([length, length], tf.bool), -1, 0)
    return past & (known[:, None, :] | tf.eye(length, dtype=tf.bool))


@keras.saving.register_keras_serializable("tfrec")
class Block(keras.layers.Layer):
    """y = LN(x + attention(x)); LN(y + W2 gelu(W1 y)), W1 four times as wide (post-LN).

    Args:
        width: Of the vectors.
        heads: Of the attention.
        dropout: Rate on what each half adds.
        attention_dropout: Rate on the attention's weights.
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

    def call(self, x, looks, training=False):
        """`[batch, L, width]`, and which place looks at which (see `looks_at`)."""
        seen = self.attention(x, x, attention_mask=looks, training=training)
        x = self.norms[0](x + self.dropout(seen, training=training))
        added = self.narrow(self.wide(x))
        return self.norms[1](x + self.dropout(added, training=training))
