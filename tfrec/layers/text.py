"""Texts as vectors: a small Transformer over word pieces."""

import keras
import tensorflow as tf

from tfrec.layers.transformer import Block


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
            x = block(x, known[:, None, :], training=training)
        weights = tf.cast(known, x.dtype)[:, :, None]
        total = tf.reduce_sum(x * weights, axis=1)
        return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1))
