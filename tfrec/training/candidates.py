"""`--model=auto`: which models are tried on which data, and how they did on validation."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfrec import config as configs
from tfrec.config import DataConfig
from tfrec.models import registry
from tfrec.schema import DatasetInfo
from tfrec.tasks import Task
from tfrec.training.run_config import RunConfig

EPOCHS, PATIENCE = 30, 3  # upper bounds for a candidate

CANDIDATES: dict[str, tuple[str, ...]] = {
    "ratings": ("biases", "als", "mf", "deeprec"),
    "interactions": ("popularity", "ials", "ease", "multdae"),
    "next items": ("popularity", "sequentialrules", "ials", "sasrec"),
    "labels": ("fm", "dcn", "deepfm"),
}
"""Fast, strong models by the kind of data, the simplest first: it wins a tie."""

READ_AS = {
    "ratings": "ratings",
    "interactions": "interactions, whose values are no ratings to predict",
    "next items": "sequences, whose next item is asked for",
    "labels": "labels 0 and 1",
}


@dataclasses.dataclass(frozen=True)
class Tried:
    """The result of a candidate.

    Attributes:
        model: Key of the model registry.
        validation: Its validation metrics by name; empty where it failed.
        best_epoch: The epoch whose weights were kept.
        epochs: Number of epochs it was trained for.
        seconds: Wall-clock time of training and validation.
        cpu_seconds: CPU time of training alone.
        memory_mb: Peak memory of the process meanwhile.
        failed: Why it has no metrics, such as that it does not fit into memory; else empty.
    """

    model: str
    validation: dict[str, float] = dataclasses.field(default_factory=dict)
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_mb: int = 0
    failed: str = ""


@dataclasses.dataclass(frozen=True)
class Choice:
    """How candidates are compared: as text while they are tried, and as `candidates.json`.

    Attributes:
        kind: Key of `CANDIDATES`.
        task: The task of all candidates.
        monitor: The validation metric that candidates are compared by.
        models: Names of the candidates, in the order in which they are tried.
    """

    kind: str
    task: Task
    monitor: str
    models: tuple[str, ...]

    @property
    def _shown(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.monitor, *self.task.figures(self.monitor))))

    def head(self) -> str:
        """The candidates, and the header of the table."""
        shown = "".join(f"{name:>12}" for name in self._shown)
        return (
            f"auto:  {READ_AS[self.kind]}: the best by validation {self.monitor} of\n"
            f"       {', '.join(self.models)} (defaults, but at most {EPOCHS} epochs and a "
            f"patience of {PATIENCE}; --train changes both)\n"
            f"{'':12}{shown}{'epochs':>12}{'seconds':>10}{'fit CPU s':>11}"
        )

    def line(self, tried: Tried) -> str:
        """A candidate's row of the table."""
        if tried.failed:
            return f"{tried.model:12}  {tried.failed.partition(': ')[0]}"
        values = "".join(
            f"{tried.validation.get(name, float('nan')):12.4f}" for name in self._shown
        )
        epochs = f"{tried.best_epoch} of {tried.epochs}"
        cost = f"{tried.seconds:10.1f}{tried.cpu_seconds:11.1f}"
        return f"{tried.model:12}{values}{epochs:>12}{cost}"

    def best(self, tried: Iterable[Tried]) -> Tried:
        """The candidate with the best validation metric, the first of equals.

        Raises:
            ValueError: all have failed.
        """
        found = list(tried)
        sign = -1 if self.task.higher_is_better(self.monitor) else 1
        measured = [each for each in found if not each.failed]
        if not measured:
            why = "; ".join(f"{each.model}: {each.failed}" for each in found)
            raise ValueError(f"--model=auto: no candidate could be trained: {why}")
        return min(measured, key=lambda each: sign * each.validation[self.monitor])

    def chosen(self, best: Tried) -> str:
        """The last line of the table."""
        text = (
            f"chosen: {best.model}, validation {self.monitor} {best.validation[self.monitor]:.4f}"
        )
        if best.best_epoch == best.epochs == EPOCHS:
            text += f"; its last epoch was its best: --model={best.model} alone trains longer"
        return text

    def record(self, tried: Sequence[Tried], best: Tried) -> dict:
        """What `candidates.json` holds."""
        return {
            "data": self.kind,
            "metric": self.monitor,
            "at_most": {"epochs": EPOCHS, "patience": PATIENCE},
            "chosen": best.model,
            "candidates": [dataclasses.asdict(each) for each in tried],
        }


def has_ratings(info: DatasetInfo) -> bool:
    """Whether the values are ratings that users gave: neither labels, nor counts, nor all equal."""
    counted = info.config.get("duplicates") in ("sum", "count")
    return info.has_ids and not counted and are_ratings(info.rating_min, info.rating_max)


def are_ratings(low: float, high: float) -> bool:
    """Whether values in that range are ratings: neither labels 0 and 1, nor all equal."""
    return low < high and (low, high) != (0, 1)


def kind_of(info: DatasetInfo) -> str:
    """The kind of the data: a key of `CANDIDATES`.

    Ratings count as interactions where the split evaluates lists (held-out users, a month), or
    where `min_rating` keeps only the higher ones.
    """
    config = configs.from_dict(DataConfig, info.config)
    if not info.has_ids or (info.rating_min, info.rating_max) == (0, 1):
        return "labels"
    if config.split == "last":
        return "next items"
    only_high = config.min_rating is not None and config.min_rating > info.rating_min
    if not has_ratings(info) or only_high or config.split in ("users", "month"):
        return "interactions"
    return "ratings"


def configs_of(
    config: RunConfig, info: DatasetInfo, training: Mapping[str, Any]
) -> list[RunConfig]:
    """The runs of all candidates for the data.

    Args:
        config: The requested run; its model, settings and training settings are not used.
        info: Info of its data.
        training: Training settings by name, for all candidates.

    Raises:
        ValueError: the data has no validation part, or rows by item.
    """
    if not info.n_ratings.get("validation"):
        raise ValueError(
            f"--model=auto chooses by validation, but {config.data_dir} holds out nothing for it: "
            "prepare with --data validation=.1, or name a model"
        )
    if info.rows == "item":
        raise ValueError(
            f"--model=auto chooses among models of rows by user, but {config.data_dir} has rows by "
            "item: prepare with --data rows=user, or name a model"
        )
    config = dataclasses.replace(config, fingerprint=info.fingerprint)
    return [_of(name, config, training).settled(info) for name in CANDIDATES[kind_of(info)]]


def _of(name: str, config: RunConfig, training: Mapping[str, Any]) -> RunConfig:
    """A candidate's run, with bounded epochs and patience."""
    cls = registry.model_class(name)
    own = cls.defaults
    patience = min(own.patience or PATIENCE, PATIENCE)
    bounded = dataclasses.replace(own, epochs=min(own.epochs, EPOCHS), patience=patience)
    train = configs.replaced(bounded, training, "training")
    settings = configs.to_dict(cls.Config())
    return dataclasses.replace(config, model=name, settings=settings, train=train)


def choice(found: Sequence[RunConfig], info: DatasetInfo) -> Choice:
    """How the candidates are compared.

    Args:
        found: The result of `configs_of`.
        info: Info of the data.
    """
    first = found[0]
    monitor = first.train.monitor or first.task.monitor
    return Choice(kind_of(info), first.task, monitor, tuple(each.model for each in found))
