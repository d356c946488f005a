"""How lists of the best items are ordered: by scores, by taste and by popularity."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfrec")
class ListOrder(keras.layers.Layer):
    """score + taste (score - mean_i) + weight log(1 + n_i), of predicted ratings.

    mean_i is item i's damped mean rating, n_i the number of its training interactions.

    A predicted rating says how well an item would be liked if it were chosen, not whether it would
    be, and is least certain where n_i is small: ordered by it alone, lists are full of items with
    one high rating. Regularised predictions are near the mean as well, so that lists by rating and
    popularity are much the same for all: `taste` counts what is a user's own once more. Both are
    chosen on validation by lists of liked items (`tfrec.training.lists`); at 0 the score decides,
    as it always does for models of other tasks.

    A row without any history that the model knows is ordered by n_i alone: most popular first.

    Args:
        n_items: How many items there are. Their counts are 0, and have no effect, until they are
            assigned.
        rates: Whether scores are predicted ratings.
    """

    def __init__(self, n_items: int, rates: bool, **kwargs):
        super().__init__(**kwargs)
        self.rates = rates
        options = {"initializer": "zeros", "trainable": False, "autocast": False}
        self.counts = self.add_weight((n_items,), dtype="int32", name="counts", **options)
        if rates:
            options["dtype"] = "float32"
            self.means = self.add_weight((n_items,), name="means", **options)
            self.taste = self.add_weight((), name="taste", **options)
            self.weight = self.add_weight((), name="weight", **options)
        self.built = True

    def call(self, scores, cold, items=None, rule=None):
        """What is compared in the place of the scores.

        Args:
            scores: float32 `[batch, n]`.
            cold: bool `[batch, 1]`, rows that the model knows nothing of.
            items: int32 `[n]`, which items the columns are; default all.
            rule: Taste and weight, instead of the layer's own.

        Returns:
            float32 `[batch, n]`; minus infinity where the score is.
        """

        def of_items(weight):
            values = tf.convert_to_tensor(weight)
            return values if items is None else tf.gather(values, items)

        cold &= tf.reduce_any(tf.convert_to_tensor(self.counts) > 0)
        popularity = tf.math.log1p(tf.cast(of_items(self.counts), tf.float32))
        order = scores
        if self.rates:
            taste, weight = (self.taste, self.weight) if rule is None else rule
            own = scores - of_items(self.means)
            order += tf.convert_to_tensor(taste) * own + tf.convert_to_tensor(weight) * popularity
        return tf.where(scores > -float("inf"), tf.where(cold, popularity, order), scores)

    def load_own_variables(self, store):
        """As Keras', but files of versions without this layer leave it as it is."""
        if store.keys():
            super().load_own_variables(store)
