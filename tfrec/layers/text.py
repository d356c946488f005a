"""A text encoder: a small Transformer over word pieces."""

import keras
import tensorflow as tf

from tfrec.layers.transformer import Block, attention_mask


@keras.saving.register_keras_serializable("tfrec")
class TextEncoder(keras.layers.Layer):
    """Mean-pooled Transformer encoder over the word pieces of a text.

    x = LN(token + position), then the blocks, as in BERT (Devlin, Chang, Lee and Toutanova,
    "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL
    2019), but trained from scratch and without [CLS], [SEP] and segment embeddings. Padding is
    masked in the attention and in the mean; the vector of an empty text is 0.

    Args:
        size: Vocabulary size, including padding (code 0).
        length: Maximum number of word pieces in a text.
        width: Size of the vectors.
        heads: Attention heads; must divide `width`.
        layers: Number of blocks.
        dropout: Dropout rate on the input embeddings and on both sublayers of each block.
    """

    def __init__(
        self, size: int, length: int, width: int, heads: int, layers: int, dropout: float, **kwargs
    ):
        super().__init__(**kwargs)
        start = keras.initializers.TruncatedNormal(stddev=0.02)
        self.tokens = keras.layers.Embedding(size, width, start, name="tokens")
        self.positions = self.add_weight((length, width), start, name="positions")
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.dropout = keras.layers.Dropout(dropout)
        self.blocks = [Block(width, heads, dropout, name=f"block_{i}") for i in range(layers)]

    def call(self, codes, training=False):
        """int32 `[batch, length]`, padded with 0 on the right -> `[batch, width]`."""
        real = codes > 0
        x = self.tokens(codes)
        x = self.dropout(self.norm(x + self.positions[: codes.shape[1]]), training=training)
        for block in self.blocks:
            x = block(x, attention_mask(real, causal=False), training=training)
        weights = tf.cast(real, x.dtype)[:, :, None]
        total = tf.reduce_sum(x * weights, axis=1)
        return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1))
