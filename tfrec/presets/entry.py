"""Presets: settings of experiments, with published and measured figures."""

import dataclasses
from collections.abc import Mapping

from tfrec.config import DataConfig

Figures = Mapping[str, float]  # by metric, as in metrics.json
# Tolerances: of models that draw no random numbers, and of all others.
EXACT, RANDOM = 0.0005, 0.005


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """The figures of an experiment.

    Attributes:
        published: Published test figures of this model by metric; empty: none is comparable.
        protocol: How the published figures were measured where that differs from here.
        source: Their publication.
        measured: Our own figures by part, "validation" or "test", and metric: means over `seeds`.
            Empty: not run.
        measured_on: Other data than the preset's that they were measured on; "": the preset's.
        seeds: Seeds of the models that were measured.
        tolerance: How far a repetition may be from a measured figure.
        fast: Whether it takes less than a minute on data that ships with this package.
    """

    published: Figures = dataclasses.field(default_factory=dict)
    protocol: str = ""
    source: str = ""
    measured: Mapping[str, Figures] = dataclasses.field(default_factory=dict)
    measured_on: str = ""
    seeds: tuple[int, ...] = (0,)
    tolerance: float = RANDOM
    fast: bool = False

    @property
    def goal(self) -> str:
        """The published figures as text; "" where there are none."""
        if not self.published:
            return ""
        notes = "; ".join(filter(None, [self.source, self.protocol]))
        figures = (f"{metric_name(x)} {value:g}" for x, value in self.published.items())
        return f"{', '.join(figures).replace(' 0.', ' .')} ({notes})"

    @property
    def result(self) -> str:
        """The measured figures as text."""
        parts = [
            f"{text(self.measured[x])} {x}" for x in ("test", "validation") if self.measured.get(x)
        ]
        if not parts:
            return "not run"
        if self.measured_on:
            parts.append(f"on {self.measured_on}")
        many = len(self.seeds) > 1
        parts.append(f"seed{'s' * many} {', '.join(map(str, self.seeds))}")
        return "; ".join(parts)


@dataclasses.dataclass(frozen=True)
class Preset(Expected):
    """One experiment.

    Attributes:
        model: Name of the model.
        data: Settings of the data; None: any data.
        settings: The model's settings that differ from those of its paper.
        train: Training settings that differ from those of the model's paper.
    """

    model: str
    data: DataConfig | None = None
    settings: dict = dataclasses.field(default_factory=dict)
    train: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class EnsemblePreset(Expected):
    """Presets on one split, trained one after the other and combined by `tfrec.ensemble`.

    Attributes:
        members: Names of presets.
    """

    members: tuple[str, ...]


_NAMES = {"rmse": "RMSE", "mae": "MAE", "auc": "AUC", "logloss": "log-loss"}


def text(figures: Figures) -> str:
    """Figures as text: "NDCG@100 .4283, Recall@20 .3607"."""
    return ", ".join(f"{metric_name(name)} {number(value)}" for name, value in figures.items())


def metric_name(metric: str) -> str:
    """A metric as tables show it: "NDCG@100" for "ndcg@100"."""
    name, at, cut = metric.partition("@")
    upper = name.upper() if len(name) <= 4 else name.replace("_", " ").capitalize()
    return _NAMES.get(name, upper) + at + cut


def number(value: float) -> str:
    """Four decimals, without a leading zero."""
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.4f}"
