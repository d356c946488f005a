"""HSTU: Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers
for Generative Recommendations", ICML 2024.
"""

import keras
import tensorflow as tf

from tfrec.config import TrainConfig
from tfrec.layers.dense import Dense
from tfrec.layers.relative_attention import RelativeAttention
from tfrec.layers.transformer import by_head, joined, last_queries
from tfrec.models.timed_attention import TimedAttention


@keras.saving.register_keras_serializable("tfrec")
class HSTU(TimedAttention):
    """Causal next-item prediction by gated attention without a softmax.

        U, V, Q, K = SiLU(W LN(x))
        A = SiLU(Q K^T + r) / window, causal
        r_ij = p[i - j] + w[bucket(t_(i+1) - t_j)], with learned p and w, shared by the heads
        x' = x + W' drop(LN(A V) * U)                                          (a block)
        state = x_L / |x_L|;  score of item i = state . e_i / (|e_i| temperature)

    The loss is the softmax over the target item and sampled negatives.

    t_(i+1) is the time of the item to be predicted, and after the newest item the time of asking.
    By default w is left out (`time_bias`), so that the model needs no times; w has 129 entries for
    gaps in logarithmic buckets, and one for unknown times.

    Departs from the paper: the projections and the items have biases; negatives are shared by all
    positions of a batch; padding is masked; the first item of a history is predicted, too.
    """

    defaults = TrainConfig(epochs=100, batch_size=0, learning_rate=5e-4, patience=8)
    paper = TrainConfig(epochs=101, batch_size=128, learning_rate=1e-3)
    paper_settings = {
        "window": 200,
        "width": 50,
        "dropout": 0.2,
        "slide": 0.0,
        "popular": False,
        "negatives": 128,
        "temperature": 0.05,
    }

    def make_block(self, name):
        c = self.config
        biases = c.position_bias, c.time_bias
        return GatedAttention(c.width, c.heads, c.window, c.dropout, *biases, name=name)


@keras.saving.register_keras_serializable("tfrec")
class GatedAttention(RelativeAttention):
    """One block of `HSTU`.

    Args:
        width: Size of the vectors.
        heads: Attention heads, for Q, K, V and U alike; must divide `width`.
        window: Maximum number of positions.
        dropout: Dropout rate before the last dense layer.
        position_bias: Whether attention has a bias by distance in positions.
        time_bias: Whether attention has a bias by gap in time.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        dropout: float,
        position_bias: bool,
        time_bias: bool,
        **kwargs,
    ):
        super().__init__(window, position_bias, time_bias, **kwargs)
        self.heads = heads
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-6, name=f"norm_{i}") for i in ("in", "out")
        ]
        self.wide = Dense(4 * width, "silu", name="wide")
        self.out = Dense(width, name="out")
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, x, mask, buckets=None, training=False, last=False):
        """As `TimedAttention.make_block` says."""
        gate, values, queries, keys = tf.split(self.wide(self.norms[0](x)), 4, axis=-1)
        maps = self.maps(x, buckets, last)
        if last:
            x, mask = last_queries(x, mask)
            gate, queries = gate[:, -1:], queries[:, -1:]
        values, queries, keys = (by_head(part, self.heads) for part in (values, queries, keys))
        scores = tf.matmul(queries, keys, transpose_b=True)
        scores += sum(maps)[:, tf.newaxis] if maps else 0.0
        weights = tf.nn.silu(scores) * (mask / self.window)[:, None]
        attended = joined(tf.matmul(weights, values))
        return x + self.out(self.dropout(self.norms[1](attended) * gate, training=training))
