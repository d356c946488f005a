"""A profile of a few training steps, for TensorBoard's profiler."""

import pathlib

import keras
import tensorflow as tf

STEPS = 20


class Profile(keras.callbacks.Callback):
    """Profiles the first steps of the second epoch, or of the last one where there is no second.

    The first epoch traces the graphs, which would dominate the profile.

    Args:
        folder: The folder of TensorBoard's files; the profile is written below
            `plugins/profile`. None: nothing is recorded; workers have the same callbacks, and
            only the chief writes.
        steps: Number of steps; a shorter epoch is recorded to its end.
    """

    def __init__(self, folder: pathlib.Path | None, steps: int = STEPS):
        super().__init__()
        self.folder, self.steps = folder, steps
        self._epochs = 0  # number of epochs begun by this process
        self._left = 0  # number of steps left to record

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epochs += 1
        is_last = epoch + 1 == self.params["epochs"]
        if self.folder and (self._epochs == 2 or (self._epochs == 1 and is_last)):
            tf.profiler.experimental.start(str(self.folder))
            self._left = self.steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._left:
            self._left -= 1
            if not self._left:
                tf.profiler.experimental.stop()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.stop()

    def on_train_end(self, logs: dict | None = None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends a running recording."""
        if self._left:
            self._left = 0
            tf.profiler.experimental.stop()
