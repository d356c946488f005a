"""Texts as vectors: a small Transformer over word pieces."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfrec")
class TextEncoder(keras.layers.Layer):
    """The mean over a text's pieces of what a Transformer encoder makes of them.

    x = LN(token + place), then the blocks, as in BERT (Devlin, Chang, Lee and Toutanova,
    "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL
    2019), but learned from nothing and without the pieces [CLS] and [SEP] and the segments.
    Padding is seen by nobody and is no part of the mean; a text without pieces becomes 0.

    Args:
        size: Codes, that of padding (0) among them.
        length: Most pieces of a text.
        width: Of the vectors.
        heads: Of the attention; they share `width` evenly.
        layers: Blocks.
        dropout: Rate on the first vectors and on what each half of a block adds.
    """

    def __init__(
        self, size: int, length: int, width: int, heads: int, layers: int, dropout: float, **kwargs
    ):
        super().__init__(**kwargs)
        start = keras.initializers.TruncatedNormal(stddev=0.02)
        self.tokens = keras.layers.Embedding(size, width, start, name="tokens")
        self.places = self.add_weight((length, width), start, name="places")
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.dropout = keras.layers.Dropout(dropout)
        self.blocks = [Block(width, heads, dropout, name=f"block_{i}") for i in range(layers)]

    def call(self, codes, training=False):
        """Codes int32 `[batch, length]`, padded with 0 at the end -> `[batch, width]`."""
        known = codes > 0
        x = self.tokens(codes)
        x = self.dropout(self.norm(x + self.places[: codes.shape[1]]), training=training)
        for block in self.blocks:
            x = block(x, known, training=training)
        weights = tf.cast(known, x.dtype)[:, :, None]
        total = tf.reduce_sum(x * weights, axis=1)
        return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1))


@keras.saving.register_keras_serializable("tfrec")
class Block(keras.layers.Layer):
    """y = LN(x + attention(x)); LN(y + W2 gelu(W1 y)), W1 four times as wide (post-LN).

    Args:
        width: Of the vectors.
        heads: Of the attention.
        dropout: Rate on what each half adds.
    """

    def __init__(self, width: int, heads: int, dropout: float, **kwargs):
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(heads, width // heads, name="attention")
        self.wide = keras.layers.Dense(4 * width, "gelu", name="wide")
        self.narrow = keras.layers.Dense(width, name="narrow")
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_{half}")
            for half in ("attention", "dense")
        ]
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, x, known, training=False):
        """`[batch, length, width]` and, bool `[batch, length]`, which places to look at."""
        seen = self.attention(x, x, attention_mask=known[:, None, :])
        x = self.norms[0](x + self.dropout(seen, training=training))
        added = self.narrow(self.wide(x))
        return self.norms[1](x + self.dropout(added, training=training))
