"""The order of recommendation lists: by score, by popularity and by predicted choice."""

import keras
import tensorflow as tf

SIZE = 64  # of the item vectors


@keras.saving.register_keras_serializable("tfrec")
class ListOrder(keras.layers.Layer):
    """score + weight log(1 + n_i) + choice v_i . p / |p|, of predicted ratings.

    A predicted rating says how much a user would like an item after choosing it, not how likely the
    choice is, and is least certain where there are few ratings: lists ordered by it alone are
    full of items with a single high rating, and much the same for all users. The choice is
    predicted by n_i, the number of training interactions of item i, and by PureSVD (Cremonesi et
    al., RecSys 2010): v_i are the right singular vectors of the training interactions, times
    sqrt(n_items), and p is the sum of those of the history, each weighted by its rating, scaled to
    [0, 1].

    `weight` and `choice` are chosen on validation lists of liked items (`tfrec.training.lists`);
    with both 0 the order is that of the scores, as it always is for models of other tasks.

    Cold start: a row whose history holds no known item is ordered by r_i alone, the number of
    recent interactions of item i (`tfrec.training.lists` defines recent), with ties broken by n_i.
    Without times all r_i are 0.

    Args:
        n_items: Number of items. Their counts are 0, and have no effect, until they are assigned.
        scale: Lowest and highest rating; None where scores are not predicted ratings.
    """

    def __init__(self, n_items: int, scale: tuple[float, float] | None = None, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.n_items, self.scale = n_items, scale
        options = {"initializer": "zeros", "trainable": False, "autocast": False}
        self.counts = self.add_weight((n_items,), dtype="int32", name="counts", **options)
        if scale:
            options["dtype"] = "float32"
            self.vectors = self.add_weight((n_items, SIZE), name="vectors", **options)
            self.weight = self.add_weight((), name="weight", **options)
            self.choice = self.add_weight((), name="choice", **options)
        options["dtype"] = "int32"
        # The last weight, so that `load_own_variables` can tell when it is missing.
        self.recent = self.add_weight((n_items,), name="recent", **options)
        self.built = True

    def call(self, scores, history, values=None, items=None, rule=None):
        """The scores that lists are sorted by.

        Args:
            scores: The model's scores, float32 `[batch, n]`.
            history: Known items of each row, int32 `[batch, length]`, padding -1.
            values: Their ratings, float32 `[batch, length]`; default: the highest rating.
            items: The columns' items, int32 `[n]` or `[batch, n]`; default: all.
            rule: (weight, choice) to use instead of the layer's own.

        Returns:
            float32 `[batch, n]`; minus infinity where the score is.
        """
        queries, cold = self.queries(history, values, rule)
        keys = self.keys(items)
        if len(keys.shape) == 2:
            added = tf.matmul(queries, keys, transpose_b=True)
        else:
            added = tf.einsum("bk,bnk->bn", queries, keys)
        return tf.where(scores > -float("inf"), added + tf.where(cold, 0.0, scores), scores)

    def queries(self, history, values=None, rule=None):
        """The rows' factors of the term that is added to the scores; arguments as in `call`.

        Returns:
            float32 `[batch, size]`, and bool `[batch, 1]`: whether the row is a cold start, whose
            scores are ignored.
        """
        cold = tf.reduce_all(history < 0, axis=1, keepdims=True)
        cold &= tf.reduce_any(tf.convert_to_tensor(self.counts) > 0)
        is_cold = tf.cast(cold, tf.float32)
        if not self.scale:
            return is_cold, cold
        weight, choice = (self.weight, self.choice) if rule is None else rule
        popularity = tf.convert_to_tensor(weight) * (1 - is_cold)
        taste = tf.convert_to_tensor(choice) * self._taste(history, values)  # 0 where cold
        return tf.concat([is_cold, popularity, taste], axis=1), cold

    def keys(self, items=None):
        """The items' factors of that term, float32 `[n, size]` or `[batch, n, size]`."""

        def of_items(variable):
            tensor = tf.convert_to_tensor(variable)
            return tensor if items is None else tf.gather(tensor, items)

        counts = tf.cast(of_items(self.counts), tf.float32)
        most = tf.cast(tf.reduce_max(tf.convert_to_tensor(self.counts)), tf.float32)
        # n_i / (1 + most) is less than 1: it only breaks ties.
        recent = tf.math.log1p(tf.cast(of_items(self.recent), tf.float32) + counts / (1 + most))
        if not self.scale:
            return recent[..., None]
        popular = tf.stack([recent, tf.math.log1p(counts)], axis=-1)
        return tf.concat([popular, of_items(self.vectors)], axis=-1)

    def _taste(self, history, values):
        """The normalized p, float32 `[batch, SIZE]`; 0 where nothing was liked."""
        low, high = self.scale
        shares = tf.ones_like(history, tf.float32)
        if values is not None and high > low:
            shares = tf.clip_by_value((tf.cast(values, tf.float32) - low) / (high - low), 0.0, 1.0)
        known = tf.where(history >= 0)
        vectors = tf.gather(tf.convert_to_tensor(self.vectors), tf.gather_nd(history, known))
        weighed = vectors * tf.gather_nd(shares, known)[:, tf.newaxis]
        sums = tf.math.unsorted_segment_sum(weighed, known[:, 0], tf.shape(history)[0])
        return tf.math.l2_normalize(sums, axis=1)
