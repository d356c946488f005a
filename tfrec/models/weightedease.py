"""Weighted EASE: EASE that knows how many items a user has and how popular an item is.

EASE: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019. That linear
autoencoders gain from exponents on both counts: Park, Yoon, Kim and Lee, "Why is
Normalization Necessary for Linear Recommenders?" (DAN), SIGIR 2025. Popular items' weights
shrunk more: Steck, "Autoencoders that don't overfit towards the Identity", NeurIPS 2020.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import Range, setting
from tfrec.data import sparse
from tfrec.models.ease import EASE, solve


@keras.saving.register_keras_serializable("tfrec")
class WeightedEASE(EASE):
    """S_uj = (x_u B)_j / p_j^discount, where B is a weighted ridge regression.

    It minimises sum_u w_u |x_u - x_u B|^2 + lambda sum_i p_i^ridge |B_i|^2 with diag B = 0:
    w_u = c n_u^-activity, n_u items of user u, c such that sum_u w_u n_u = sum_u n_u, which
    keeps lambda's meaning; p_i = (1 + users of item i) / its mean; B_i is row i of B.
    Closed form: P = (X' W X + lambda diag(p^ridge))^-1, B_ij = -P_ij / P_jj, B_jj = 0.
    All three exponents 0: EASE. Nothing in it is about users: any history can be scored.

    Departs from the papers: DAN scales X on both sides and tunes one exponent for input and
    output; here the item's exponents in the penalty and in the score are two settings.
    """

    @dataclasses.dataclass(frozen=True)
    class Config(EASE.Config):
        """EASE's settings and three exponents.

        Attributes:
            activity: How much less a user's row counts the more items it has; .5: by the root.
            ridge: How much more the weights of popular items are shrunk.
            discount: How much popular items are marked down in the score.
        """

        activity: float = setting(0.5, "0 or more", search=Range(0, 1))
        ridge: float = setting(0.5, "0 or more", search=Range(0, 1))
        discount: float = setting(0.2, "0 or more", search=Range(0, 0.5))

    def build(self, input_shape=None):
        super().build(input_shape)
        self.item_discounts = self.add_weight(
            (self.info.n_items,), "ones", trainable=False, autocast=False, name="item_discounts"
        )

    def call(self, features, training=False):
        return self.forward(features, training) / self.item_discounts

    def contributions(self, features, items):
        discounts = tf.gather(tf.convert_to_tensor(self.item_discounts), items)
        return super().contributions(features, items) / discounts[:, :, tf.newaxis]

    def forward(self, features, training=False):
        """X B, which the regression fits: without the discounts."""
        return super().call(features, training)

    def fit(self, rows, **unused):
        """Sums up X' W X over one pass of `rows` and solves; args as `EASE.fit`."""
        c = self.config
        x = sparse.read(rows, self.info.n_items)
        x.data = c.weigh(x.data).numpy()
        x.eliminate_zeros()
        sizes, users_of = np.diff(x.indptr), np.bincount(x.indices, minlength=self.info.n_items)
        weights = np.maximum(sizes, 1.0) ** -c.activity
        weights *= sizes.sum() / (sizes @ weights)
        x.data *= np.repeat(np.sqrt(weights, dtype=np.float32), sizes)
        gram = sparse.gram(x)
        popularity = (1 + users_of) / (1 + users_of.mean())
        # `solve` adds lambda to the diagonal; what it must be more than that is added here.
        gram[np.diag_indices_from(gram)] += c.regularization * (popularity**c.ridge - 1)
        self.item_weights.assign(solve(gram, c.regularization))
        self.item_discounts.assign(tf.cast(popularity**c.discount, tf.float32))
