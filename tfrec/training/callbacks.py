"""The Keras callbacks of every run."""

import itertools
import time
from collections.abc import Callable

import keras
import pandas as pd

from tfrec.training.runs import RunDir

UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))  # in seconds
SHOWN_PARTS = ("loss", "refeed_loss", "kl")  # parts of the loss in the line of an epoch


class EpochLine(keras.callbacks.Callback):
    """Prints one short line an epoch.

    The remaining time is estimated from the epochs of this process, except the first one, which
    traces the graphs.

    Args:
        shown: Validation metrics to print.
        say: Function that prints a line.
        may_end_early: Whether validation may end training before the last epoch.
    """

    def __init__(
        self, shown: tuple[str, ...], say: Callable[[str], object], may_end_early: bool = False
    ):
        super().__init__()
        self.shown, self.say = shown, say
        self.bound = "at most" if may_end_early else "about"
        self._starts: list[float] = []  # when the epochs of this process began

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._starts.append(time.monotonic())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        words = [f"epoch {epoch + 1}/{self.params['epochs']}", f"{logs['seconds']:.1f} s"]
        words += [f"{k} {v:.4f}" for k, v in logs.items() if k in SHOWN_PARTS]
        words += [f"val {k} {logs[f'val_{k}']:.4f}" for k in self.shown if f"val_{k}" in logs]
        if "examples_per_second" in logs:
            words.append(f"{logs['examples_per_second']:,.0f} examples/s")
        if remaining := self.params["epochs"] - epoch - 1:
            words.append(f"{self.bound} {duration(remaining * self._seconds_an_epoch())} left")
        self.say("  ".join(words))

    def _seconds_an_epoch(self) -> float:
        """Mean seconds an epoch, its validation included."""
        counted = self._starts[1:] or self._starts
        return (time.monotonic() - counted[0]) / len(counted)


def duration(seconds: float) -> str:
    """Seconds as text of at most two units, such as "3 min 20 s"."""
    whole = round(seconds)
    for (name, size), (smaller, unit) in itertools.pairwise(UNITS):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // unit} {smaller}"
    return f"{whole} s"


class HistoryFile(keras.callbacks.Callback):
    """Writes `history.csv`: a row for each epoch, from 1, and a column for each log.

    Args:
        run_dir: The run directory; a resumed run keeps the rows of its finished epochs.
    """

    def __init__(self, run_dir: RunDir):
        super().__init__()
        self.run_dir = run_dir

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        before = self.run_dir.history().to_dict("records")
        rows = [row for row in before if row["epoch"] <= epoch]
        rows.append({"epoch": epoch + 1, **(logs or {})})
        self.run_dir.save_history(pd.DataFrame(rows))
