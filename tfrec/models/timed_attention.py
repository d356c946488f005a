"""Base of the sequence models whose attention depends on times: HSTU and FuXi."""

import dataclasses

import keras
import tensorflow as tf

from tfrec.config import Range, setting
from tfrec.layers.newest_items import columns_of, newest_items, taken
from tfrec.layers.time_gaps import gap_buckets
from tfrec.layers.transformer import attention_mask
from tfrec.models.self_attention import SelfAttention
from tfrec.schema import NO_TIME, PAD


class TimedAttention(SelfAttention):
    """Attention blocks that read distances in positions and gaps in time; cosine scores.

        state = x_L / |x_L|;  score of item i = state . e_i / (|e_i| temperature) + b_i

    The gap of query i and key j is t_(i+1) - t_j: from each event of the history to the time of
    asking, which for a position inside the history is the time of the item to be predicted. After
    the newest item it is `ask_time`, or without one the time of the newest item.

    So that requests without times, or without the time of asking, are nothing new to a trained
    model, a share of the training rows is without.

    A subclass implements `make_block`.
    """

    @dataclasses.dataclass(frozen=True)
    class Config(SelfAttention.Config):
        """Settings of distances and gaps, with those of attention blocks and sequence models.

        Attributes:
            temperature: Temperature of the softmax over cosine similarities.
            position_bias: Attention has a learned number for each distance in positions.
            time_bias: Attention has a learned number for each bucket of gaps in time; the data
                must have times.
            hide_times: Share of the training rows whose times are hidden from the model.
            hide_ask: Share of the training rows in which the time of asking is hidden: it is that
                of the newest item, as in evaluation without `--data ask_time=true`.
        """

        dropout: float = setting(0.5, "0 or more and less than 1", search=Range(0, 0.7))
        blocks: int = setting(2, "at least 1", search=Range(1, 4))
        temperature: float = setting(0.1, "more than 0", search=Range(0.02, 0.2, log=True))
        position_bias: bool = setting(True, later=True)
        time_bias: bool = setting(False, later=True)
        hide_times: float = setting(0.1, "from 0 to 1", later=True)
        hide_ask: float = setting(0.2, "from 0 to 1", later=True)

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        self.reads_times = self.config.time_bias
        self.blocks = [self.make_block(f"block_{i}") for i in range(self.config.blocks)]

    def make_block(self, name: str) -> keras.layers.Layer:
        """A block: (x, mask, buckets, training, last) -> `[batch, L, width]`.

        x is `[batch, L, width]`, `mask` an `attention_mask` of 0 and 1, `buckets` int32 `[batch, L,
        L]` (query, key) of `time_gaps.gap_buckets`, or None without times. With `last` the result
        is that of the last position, `[batch, 1, width]`.
        """
        raise NotImplementedError

    def as_output(self, vectors):
        return tf.math.l2_normalize(vectors, axis=-1) / self.config.temperature

    def states(self, tokens, training, last=False, buckets=None):
        x = self.embedded(tokens, training)
        mask = tf.cast(attention_mask(tokens >= 0, causal=True), x.dtype)
        x = self.through_blocks(x, mask, buckets, training=training, last=last)
        return tf.math.l2_normalize(x, axis=-1)

    def forward(self, features, training=False):
        items = tf.cast(features["items"], tf.int32)
        if not self._has_times(features):
            return super().forward(features, training)
        length = self.config.window
        columns = self.cut_window(columns_of(items), length + 1, training)
        tokens = taken(items, columns, PAD)
        times = taken(features["times"], columns, NO_TIME)
        before, earlier = _shifted(tokens, PAD), _shifted(times, NO_TIME)
        before, earlier, asked = (x[:, -length:] for x in (before, earlier, times))
        buckets = gap_buckets(*self._hidden(asked, earlier, training))
        states = self.states(before, training, buckets=buckets)
        return tuple(self.predictions_of(states, tokens[:, -length:]))

    def _last(self, features, training=False):
        items = tf.cast(features["items"], tf.int32)
        if not self._has_times(features):
            return super()._last(features, training)
        columns = newest_items(columns_of(items), self.config.window)
        tokens, times = taken(items, columns, PAD), taken(features["times"], columns, NO_TIME)
        asked = features["ask_time"][:, tf.newaxis]
        asked = tf.where(asked == NO_TIME, times[:, -1:], asked)
        asked = tf.concat([times[:, 1:], asked], axis=1)
        states = self.states(tokens, training, last=True, buckets=gap_buckets(asked, times))
        return tf.cast(states[:, -1], tf.float32)

    def _has_times(self, features) -> bool:
        return self.reads_times and "times" in features

    def _hidden(self, asked: tf.Tensor, times: tf.Tensor, training: bool):
        """Times of asking and of keys, `[batch, L]`, hidden in shares of the training rows."""
        c = self.config
        if not (training and (c.hide_times or c.hide_ask)):
            return asked, times
        draw = self.uniform([tf.shape(times)[0], 1])
        asked = tf.where(draw < c.hide_times + c.hide_ask, times, asked)
        return asked, tf.where(draw < c.hide_times, tf.constant(NO_TIME, tf.int64), times)


def _shifted(entries: tf.Tensor, padding: int) -> tf.Tensor:
    """Each column is that of the one before, `[batch, L]`."""
    first = tf.fill([tf.shape(entries)[0], 1], tf.constant(padding, entries.dtype))
    return tf.concat([first, entries[:, :-1]], axis=1)
