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

    and training of the same autoencoder, with the same loss, continues with `input` instead of R.

    The convolution mixes adjacent items and users, so that the result depends on their order, which
    is arbitrary: with shuffled ids it would be another. The training matrix R is stored as a
    weight, since a row needs its neighbours in evaluation and serving: 4 n_items n_users bytes
    (ML-1M: 90 MB), also in the saved model. The row itself comes from the features; an unknown row
    (`user` -1) has no neighbours.

    Departs from the paper: the authors' notebook reports the best epoch on test, here it is chosen
    on validation; both phases have equally many iterations per epoch; by default C is set at the
    end of pre-training so that the kernel is the identity (authors: C keeps its random
    initialization with standard deviation .1, and the input changes abruptly).
    """

    defaults = SparseFC.defaults
    paper = TrainConfig(epochs=90, optimizer="lbfgs", iterations=5, batch_size=4096, patience=0)
    paper_settings = {"pretrain_epochs": 30, "kernel_scale": 1.0, "input_dropout": 0.0}

    @dataclasses.dataclass(frozen=True)
    class Config(SparseFC.Config):
        """SparseFC's settings and those of the global kernel.

        Attributes:
            pretrain_epochs: Epochs of pre-training, before the convolution is used.
            kernel_scale: Factor of the global kernel.
            identity_start: Initialize the global kernel as the identity, so that fine-tuning starts
                from the pre-trained model; false: at random, as in the authors' code.
        """

        pretrain_epochs: int = setting(40, "at least 1")
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
        self.fine = self._state((), "fine")  # 1 after pre-training

    def _state(self, shape: tuple[int, ...], name: str):
        options = {"initializer": "zeros", "trainable": False, "autocast": False}
        return self.add_weight(shape=shape, name=name, aggregation="only_first_replica", **options)

    def begin_epoch(self, epoch, rows):
        """At the end of pre-training: stores the image and the pooled output as weights."""
        super().begin_epoch(epoch, rows)
        is_fine = keras.ops.convert_to_numpy(self.fine) > 0
        if epoch < self.config.pretrain_epochs or is_fine:
            return
        image = np.zeros(self.image.shape, np.float32)
        pooled = np.zeros(self.pooled.shape, np.float32)
        for features, _ in rows:
            real = features["user"].numpy() >= 0
            positions = features["user"].numpy()[real]
            image[positions] = super().dense_rows(features).numpy()[real]
            pooled[0, positions] = tf.reduce_mean(self.score(features), axis=1).numpy()[real]
        self.image.assign(image)
        self.pooled.assign(pooled)
        if self.config.identity_start:
            self.c.assign(self._identity(pooled[0]))
        self.fine.assign(1.0)

    def _identity(self, pooled: np.ndarray) -> np.ndarray:
        """The C of the least norm whose kernel is the identity."""
        c = np.zeros(self.c.shape, np.float32)
        c[:, CELLS // 2] = pooled / (pooled @ pooled) / self.config.kernel_scale
        return c

    def dense_rows(self, features) -> tf.Tensor:
        """Rows of R in pre-training, then those of the convolved image."""
        own = super().dense_rows(features)
        return tf.cond(
            tf.convert_to_tensor(self.fine) > 0,
            lambda: self._convolved(features["user"], tf.cast(own, tf.float32)),
            lambda: tf.cast(own, tf.float32),
        )

    def global_kernel(self) -> tf.Tensor:
        """float32 `[3, 3]`, by the offset of the item and of the user."""
        cells = tf.matmul(self.pooled, tf.cast(self.c, tf.float32)) * self.config.kernel_scale
        return tf.reshape(cells, [3, 3])

    def _convolved(self, positions: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        """Rows of relu(conv(image, kernel)), `[batch, n_columns]`.

        Args:
            positions: Indices of the rows, int32 `[batch]`.
            own: The rows themselves, `[batch, n_columns]`.
        """
        neighbours = [self._rows_at(positions, offset) for offset in (-1, 1)]
        rows = tf.stack([neighbours[0], own, neighbours[1]], axis=2)
        kernel = tf.transpose(self.global_kernel())[:, :, None]  # [width, in, out]
        return tf.nn.relu(tf.nn.conv1d(rows, kernel, stride=1, padding="SAME")[:, :, 0])

    def _rows_at(self, positions: tf.Tensor, offset: int) -> tf.Tensor:
        """The image's rows at `positions + offset`, `[batch, n_columns]`; zeros outside."""
        wanted = positions + offset
        inside = (positions >= 0) & (wanted >= 0) & (wanted < self.info.n_rows)
        rows = tf.gather(self.image, tf.where(inside, wanted, 0))
        return tf.where(inside[:, None], rows, 0.0)
