"""FuXi: Ye, Guo, Zhu, Liu, Wang, Chen, Wang, Zhou, Tang, Xu, Lian and Chen, "FuXi-alpha: Scaling
Recommendation Model with Feature Interaction Enhanced Transformer", WWW 2025; "FuXi-beta: Towards a
Lightweight and Fast Large-Scale Generative Recommendation Model", 2025.
"""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import SettingError, TrainConfig
from tfrec.layers.dense import Dense
from tfrec.layers.relative_attention import RelativeAttention
from tfrec.layers.transformer import by_head, joined
from tfrec.models.timed_attention import TimedAttention


@keras.saving.register_keras_serializable("tfrec")
class FuXi(TimedAttention):
    """Causal next-item prediction by separate attention to content, positions and times.

        U, V, Q, K = SiLU(W norm(x))
        H = [SiLU(Q K^T) / window V;  P V;  T V],  causal
        P_ij = p[i - j];  T_ij = w[bucket(t_(i+1) - t_j)]
        y = W_0 drop(norm(H) * U) + x;  z = drop(norm(y))
        x' = W_2 (SiLU(W_1 z) * W_3 z) + y                                     (a block)

    norm divides by the root mean square, without weights. P and T do not depend on the items, so
    they need no products of queries and keys: with `semantic=false`, as FuXi-beta recommends, a
    block is much cheaper. Without `time_bias` the model needs no times. The loss is the softmax
    over the target item and sampled negatives.

    Departs from the papers: items have biases; negatives are shared by all positions of a batch;
    padding is masked; w has one more entry, for unknown times; T is always FuXi-alpha's, by
    logarithmic buckets; the first item of a history is predicted, too.
    """

    defaults = TrainConfig(epochs=100, batch_size=0, learning_rate=5e-4, patience=8)
    paper = TrainConfig(epochs=100, batch_size=128, learning_rate=1e-3)
    paper_settings = {
        "window": 200,
        "width": 50,
        "dropout": 0.2,
        "slide": 0.0,
        "popular": False,
        "negatives": 128,
        "temperature": 0.05,
    }

    @dataclasses.dataclass(frozen=True)
    class Config(TimedAttention.Config):
        """FuXi's settings, with those of distances and gaps and of all sequence models.

        Attributes:
            semantic: Attention to content, by products of queries and keys.
        """

        time_bias: bool = True
        semantic: bool = True

        def check(self):
            super().check()
            if not (self.semantic or self.position_bias or self.time_bias):
                raise SettingError(
                    "semantic=false, position_bias=false and time_bias=false leave no attention; "
                    "choose one of them"
                )

    def make_block(self, name):
        c = self.config
        channels = c.semantic, c.position_bias, c.time_bias
        return ChannelAttention(c.width, c.heads, c.window, c.dropout, *channels, name=name)


@keras.saving.register_keras_serializable("tfrec")
class ChannelAttention(RelativeAttention):
    """One block of `FuXi`.

    Args:
        width: Size of the vectors.
        heads: Attention heads of Q, K and V; must divide `width`.
        window: Maximum number of positions.
        dropout: Dropout rate before the dense layers.
        semantic: Whether there is attention to content.
        positions: Whether there is attention by distance in positions.
        times: Whether there is attention by gap in time.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        dropout: float,
        semantic: bool,
        positions: bool,
        times: bool,
        **kwargs,
    ):
        super().__init__(window, positions, times, **kwargs)
        self.width, self.heads, self.semantic = width, heads, semantic
        self.channels = semantic + positions + times
        parts = self.channels + 1 + 2 * semantic  # U is as wide as H
        self.wide = Dense(parts * width, "silu", use_bias=False, name="wide")
        self.out = Dense(width, name="out")
        self.hidden = Dense(2 * width, use_bias=False, name="hidden")
        self.narrow = Dense(width, use_bias=False, name="narrow")
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, x, mask, buckets=None, training=False, last=False):
        """As `TimedAttention.make_block` says."""
        parts = self.wide(_normalized(x))
        gate, values, *rest = tf.split(
            parts, [self.channels * self.width, *[self.width] * (1 + 2 * self.semantic)], axis=-1
        )
        maps = self.maps(x, buckets, last)
        values *= mask[:, -1, :, tf.newaxis]  # of real items; maps need not know the padding
        past = tf.linalg.band_part(tf.ones([tf.shape(x)[1]] * 2, x.dtype), -1, 0)
        if last:
            x, gate, past = x[:, -1:], gate[:, -1:], past[-1:]
            rest = [rest[0][:, -1:], rest[1]] if rest else []
        found = []
        if self.by_position:  # one product for the whole batch
            found.append(tf.einsum("qk,bkw->bqw", maps[0][0] * past, values))
        if self.by_time:
            found.append(tf.matmul(maps[-1] * past, values))
        if self.semantic:
            found.append(self._by_content(*rest, values, past))
        attended = _normalized(tf.concat(found, axis=-1)) * gate
        x = x + self.out(self.dropout(attended, training=training))
        z = self.dropout(_normalized(x), training=training)
        first, second = tf.split(self.hidden(z), 2, axis=-1)
        return x + self.narrow(tf.nn.silu(first) * second)

    def _by_content(self, queries, keys, values, past) -> tf.Tensor:
        """The semantic channel, `[batch, L, width]`."""
        queries, keys, values = (by_head(x, self.heads) for x in (queries, keys, values))
        scores = tf.nn.silu(tf.matmul(queries, keys, transpose_b=True))
        return joined(tf.matmul(scores * (past / self.window), values))


def _normalized(x: tf.Tensor) -> tf.Tensor:
    """Vectors divided by their root mean square."""
    return keras.ops.rms_normalization(x, epsilon=1e-6)
