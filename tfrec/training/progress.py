"""The progress of a run, which is saved so that --resume continues exactly there."""

import dataclasses


@dataclasses.dataclass
class Progress:
    """The progress of a run.

    Attributes:
        epoch: Number of finished epochs.
        step: Number of steps taken in the epoch after them.
        logs: The training logs of these steps.
        skipped: Number of these steps that were undone.
        best_epoch: The best of the finished epochs, from 1; 0: none yet.
        best: Its value of the monitored metric.
        stale: Number of epochs since the best one.
        ended: Whether a callback has stopped training.
        seconds: Training time so far.
        metrics: Validation metrics of the best epoch.
        first_loss: The training loss of the first step, before any update.
        last_loss: The training loss of the last finished epoch.
    """

    epoch: int = 0
    step: int = 0
    logs: dict = dataclasses.field(default_factory=dict)
    skipped: int = 0
    best_epoch: int = 0
    best: float | None = None
    stale: int = 0
    ended: bool = False
    seconds: float = 0.0
    metrics: dict = dataclasses.field(default_factory=dict)
    first_loss: float | None = None
    last_loss: float | None = None

    @property
    def where(self) -> str:
        """As text, such as "in epoch 3 after step 12"."""
        if self.step:
            return f"in epoch {self.epoch + 1} after step {self.step}"
        return f"after epoch {self.epoch}"

    def finish_epoch(self, logs: dict, seconds: float) -> None:
        """Counts a finished epoch.

        Args:
            logs: Its training logs.
            seconds: Time since it began or was resumed.
        """
        self.epoch, self.last_loss = self.epoch + 1, logs.get("loss")
        self.step, self.logs, self.skipped = 0, {}, 0
        self.seconds += seconds

    def take(self, measured: dict, monitor: str, higher_is_better: bool) -> bool:
        """Whether the epoch that has just finished is the best so far; if so, it is noted as such.

        Args:
            measured: Its validation metrics; without any, the last epoch is the best.
            monitor: The metric that decides.
            higher_is_better: Whether a higher value of it is better.

        Raises:
            ValueError: the metric was not measured, or is not a number.
        """
        if measured:
            if monitor not in measured:
                raise ValueError(
                    f"--train monitor={monitor} is not measured; known: " + ", ".join(measured)
                )
            value, best = measured[monitor], self.best
            if value != value:
                raise ValueError(f"validation {monitor} is not a number: lower the learning rate")
            if best is not None and not (value > best if higher_is_better else value < best):
                return False
            self.best = value
        self.best_epoch, self.stale, self.metrics = self.epoch, 0, measured
        return True
