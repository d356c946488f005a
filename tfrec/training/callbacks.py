"""Keras callbacks of tfrec's own."""

import keras


class EpochLine(keras.callbacks.Callback):
    """Prints one short line an epoch.

    Args:
        shown: Validation metrics to print.
    """

    def __init__(self, shown: tuple[str, ...]):
        super().__init__()
        self.shown = shown

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        words = [f"epoch {epoch + 1}/{self.params['epochs']}", f"{logs['seconds']:.1f} s"]
        words += [f"{k} {v:.4f}" for k, v in logs.items() if k in ("loss", "refeed_loss")]
        words += [f"val {k} {logs[f'val_{k}']:.4f}" for k in self.shown if f"val_{k}" in logs]
        print("  ".join(words), flush=True)
