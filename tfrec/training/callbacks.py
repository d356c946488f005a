"""Keras callbacks of tfrec's own."""

from collections.abc import Callable

import keras
import pandas as pd

from tfrec.training.runs import RunDir


class EpochLine(keras.callbacks.Callback):
    """Prints one short line an epoch.

    Args:
        shown: Validation metrics to print.
        say: What prints a line.
    """

    def __init__(self, shown: tuple[str, ...], say: Callable[[str], object]):
        super().__init__()
        self.shown, self.say = shown, say

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        words = [f"epoch {epoch + 1}/{self.params['epochs']}", f"{logs['seconds']:.1f} s"]
        words += [f"{k} {v:.4f}" for k, v in logs.items() if k in ("loss", "refeed_loss")]
        words += [f"val {k} {logs[f'val_{k}']:.4f}" for k in self.shown if f"val_{k}" in logs]
        self.say("  ".join(words))


class HistoryFile(keras.callbacks.Callback):
    """Writes `history.csv`: a row an epoch, from 1, a column a log.

    Args:
        run_dir: Where; a resumed run's rows of finished epochs stay.
    """

    def __init__(self, run_dir: RunDir):
        super().__init__()
        self.run_dir = run_dir

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        before = self.run_dir.history().to_dict("records")
        rows = [row for row in before if row["epoch"] <= epoch]
        rows.append({"epoch": epoch + 1, **(logs or {})})
        self.run_dir.save_history(pd.DataFrame(rows))
