"""Presets: settings of experiments."""

import dataclasses

from tfrec.config import DataConfig


@dataclasses.dataclass(frozen=True)
class Preset:
    """One experiment.

    Attributes:
        model: Name of the model.
        data: Settings of the data; None: any data.
        settings: The model's settings that differ from those of its paper.
        train: Training settings that differ from those of the model's paper.
        published: A published result of this model, with differences of the protocol; "" if there
            is no comparable one.
        source: Publication of that result.
        measured: Our own result, with seeds and time; or "not run".
    """

    model: str
    data: DataConfig | None = None
    settings: dict = dataclasses.field(default_factory=dict)
    train: dict = dataclasses.field(default_factory=dict)
    published: str = ""
    source: str = ""
    measured: str = "not run"


@dataclasses.dataclass(frozen=True)
class EnsemblePreset:
    """Presets on one split, trained one after the other and combined by `tfrec.ensemble`.

    Attributes:
        members: Names of presets.
        published: As in `Preset`.
        source: As in `Preset`.
        measured: As in `Preset`.
    """

    members: tuple[str, ...]
    published: str = ""
    source: str = ""
    measured: str = "not run"
