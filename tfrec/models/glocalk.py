"""GLocal-K: Han, Lim, Long, Burgstaller and Poon, "GLocal-K: Global and Local Kernels for
Recommender Systems", CIKM 2021.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tfrec.config import Range, SettingError, TrainConfig, setting
from tfrec.models.sparsefc import SparseFC

CELLS = 9  # of the global kernel, 3 x 3


@keras.saving.register_keras_serializable("tfrec")
class GLocalK(SparseFC):
    """SparseFC, pre-trained on ratings R, then fine-tuned on R convolved with one kernel.

    For the first `pretrain_epochs` epochs this is SparseFC. Then, once:

        pooled_i = mean over users of the pre-trained output for item i
        kernel   = reshape(pooled @ C, 3 x 3) * scale,   C trainable, [n_items, 9]
        input    = relu(conv(R, kernel)), R as an image [n_items, n_users], same padding

    and the same autoencoder, with the same loss, is trained on with `input` in R's place.

    The convolution mixes items and users whose positions are neighbours. Positions are an
    arbitrary order of the ids, so the result depends on that order and would be another
    with the ids shuffled. The training matrix lies in a weight, that a row may find its
    neighbours at evaluation and serving: 4 n_items n_users bytes (ML-1M: 90 MB), also in
    the saved model. A row itself comes from the features; an unknown row (`user` -1) has
    no neighbours.

    Departs from the paper: the authors' notebook reports the epoch that is best on test,
    here validation chooses; an epoch has equally many iterations in both phases; by default C
    is chosen at the end of pre-training such that the kernel is the identity (authors: C stays
    at its normal start of deviation .1, and the input jumps).
    """

    defaults = SparseFC.defaults
    paper = TrainConfig(epochs=90, optimizer="lbfgs", iterations=5, batch_size=4096, patience=0)
    paper_settings = {"pretrain_epochs": 30, "kernel_scale": 1.0, "input_dropout": 0.0}

    @dataclasses.dataclass(frozen=True)
    class Config(SparseFC.Config):
        """SparseFC's settings (the paper's for MovieLens-100K) and the global kernel's.

        Attributes:
            pretrain_epochs: Epochs before the convolution comes in.
            kernel_scale: Factor of the global kernel.
            identity_start: The kernel starts as the identity, so that fine-tuning starts at
                the pre-trained model; False: C keeps its random start, as the authors'.
        """

        pretrain_epochs: int = setting(20, "at least 1")
        kernel_scale: float = setting(2e-4, "more than 0", search=Range(1e-5, 0.1, log=True))
        identity_start: bool = True

        def check(self):
            super().check()
            if self.rows != "item":
                raise SettingError(
                    f"rows={self.rows}: GLocalK reads rows by item only; leave it out"
                )

    def __init__(self, info, config=None, **kwargs):
        super().__init__(info, config, **kwargs)
        n = info.n_rows
        self.c = self.add_weight(
            shape=(n, CELLS), initializer=keras.initializers.TruncatedNormal(stddev=0.1), name="c"
        )
        self.image = self._state((n, info.n_columns), "image")
        self.pooled = self._state((1, n), "pooled")
        self.fine = self._state((), "fine")  # 1 from the end of pre-training on

    def _state(self, shape: tuple[int, ...], name: str):
        options = {"initializer": "zeros", "trainable": False, "autocast": False}
        return self.add_weight(shape=shape, name=name, aggregation="only_first_replica", **options)

    def begin_epoch(self, epoch, rows):
        """Ends pre-training, once: keeps the image and the pooled output as weights."""
        super().begin_epoch(epoch, rows)
        is_fine = keras.ops.convert_to_numpy(self.fine) > 0
        if epoch < self.config.pretrain_epochs or is_fine:
            return
        image = np.zeros(self.image.shape, np.float32)
        pooled = np.zeros(self.pooled.shape, np.float32)
        for features, _ in rows:
            real = features["user"].numpy() >= 0
            places = features["user"].numpy()[real]
            image[places] = super().dense_rows(features).numpy()[real]
            pooled[0, places] = tf.reduce_mean(self.score(features), axis=1).numpy()[real]
        self.image.assign(image)
        self.pooled.assign(pooled)
        if self.config.identity_start:
            self.c.assign(self._identity(pooled[0]))
        self.fine.assign(1.0)

    def _identity(self, pooled: np.ndarray) -> np.ndarray:
        """The shortest C whose kernel leaves the image as it is."""
        c = np.zeros(self.c.shape, np.float32)
        c[:, CELLS // 2] = pooled / (pooled @ pooled) / self.config.kernel_scale
        return c

    def dense_rows(self, features) -> tf.Tensor:
        """R's rows in pre-training, then those of the convolved image."""
        own = super().dense_rows(features)
        return tf.cond(
            tf.convert_to_tensor(self.fine) > 0,
            lambda: self._convolved(features["user"], tf.cast(own, tf.float32)),
            lambda: tf.cast(own, tf.float32),
        )

    def global_kernel(self) -> tf.Tensor:
        """float32 `[3, 3]`: offset of the item, offset of the user."""
        cells = tf.matmul(self.pooled, tf.cast(self.c, tf.float32)) * self.config.kernel_scale
        return tf.reshape(cells, [3, 3])

    def _convolved(self, places: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        """Rows of relu(conv(image, kernel)), `[batch, n_columns]`; `own` are the rows in it."""
        rows = tf.stack([self._rows_at(places, -1), own, self._rows_at(places, 1)], axis=2)
        kernel = tf.transpose(self.global_kernel())[:, :, None]  # [width, in, out]
        return tf.nn.relu(tf.nn.conv1d(rows, kernel, stride=1, padding="SAME")[:, :, 0])

    def _rows_at(self, places: tf.Tensor, offset: int) -> tf.Tensor:
        """The image's rows `offset` away, `[batch, n_columns]`; zeros outside."""
        wanted = places + offset
        inside = (places >= 0) & (wanted >= 0) & (wanted < self.info.n_rows)
        rows = tf.gather(self.image, tf.where(inside, wanted, 0))
        return tf.where(inside[:, None], rows, 0.0)
