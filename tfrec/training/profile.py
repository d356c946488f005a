"""A recording of a few training steps, for TensorBoard's profiler."""

import pathlib

import keras
import tensorflow as tf

STEPS = 20


class Profile(keras.callbacks.Callback):
    """Records the first steps of the second epoch, or of the last one where there is no second.

    The first epoch builds the graphs, which would be most of what is seen.

    Args:
        folder: The folder of TensorBoard's files; the recording is below `plugins/profile`. None
            records nothing: workers have the same callbacks, and one of them writes.
        steps: How many steps; an epoch that has fewer is recorded to its end.
    """

    def __init__(self, folder: pathlib.Path | None, steps: int = STEPS):
        super().__init__()
        self.folder, self.steps = folder, steps
        self._epochs = 0  # that this process has begun
        self._left = 0  # steps yet to be recorded

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
        """Ends a recording that is going on."""
        if self._left:
            self._left = 0
            tf.profiler.experimental.stop()
