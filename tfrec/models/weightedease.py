"""Weighted EASE: EASE with weights for the activity of users and the popularity of items.

EASE: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019. Exponents of both
counts in linear autoencoders: Park, Yoon, Kim and Lee, "Why is Normalization Necessary for Linear
Recommenders?" (DAN), SIGIR 2025. Stronger shrinkage for popular items: Steck, "Autoencoders that
don't overfit towards the Identity", NeurIPS 2020.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import Range, setting
from tfrec.data import sparse
from tfrec.models.ease import EASE


@keras.saving.register_keras_serializable("tfrec")
class WeightedEASE(EASE):
    """S_uj = (x_u B)_j / p_j^discount, where B is a weighted ridge regression.

    It minimises sum_u w_u |x_u - x_u B|^2 + lambda sum_i p_i^ridge |B_i|^2 with diag B = 0, where
    w_u = c n_u^-activity for n_u items of user u, with c such that sum_u w_u n_u = sum_u n_u, which
    keeps the scale of lambda; p_i = (1 + number of users of item i) / its mean; B_i is row i of B.
    Closed form: P = (X' W X + lambda diag(p^ridge))^-1, B_ij = -P_ij / P_jj, B_jj = 0. With all
    three exponents 0 it is EASE. Like EASE it can score any history.

    Departs from the papers: DAN scales X on both sides and has one exponent for input and output;
    here the exponents of items in the penalty and in the score are two settings.
    """

    @dataclasses.dataclass(frozen=True)
    class Config(EASE.Config):
        """EASE's settings and three exponents.

        Attributes:
            activity: Exponent that lowers the weight of users with many items; .5: by the square
                root of their number.
            ridge: Exponent that strengthens the shrinkage of the weights of popular items.
            discount: Exponent that lowers the scores of popular items.
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
        """X B, the regression that the loss is of: without the discounts."""
        return super().call(features, training)

    def fit(self, rows, **unused):
        """Reads `rows` once, sums up X' W X and solves for B; arguments as in `EASE.fit`."""
        c = self.config
        x = sparse.read(rows, self.info.n_items)
        x.data = c.weigh(x.data).numpy()
        x.eliminate_zeros()
        sizes, users_of = np.diff(x.indptr), np.bincount(x.indices, minlength=self.info.n_items)
        weights = np.maximum(sizes, 1.0) ** -c.activity
        weights *= sizes.sum() / (sizes @ weights)
        x.data *= np.repeat(np.sqrt(weights, dtype=np.float32), sizes)
        popularity = (1 + users_of) / (1 + users_of.mean())
        self._solve(x, popularity**c.ridge)
        self.item_discounts.assign(tf.cast(popularity**c.discount, tf.float32))
