"""What a preset is."""

import dataclasses

from tfrec.config import DataConfig


@dataclasses.dataclass(frozen=True)
class Preset:
    """One experiment.

    Attributes:
        model: Registry key.
        data: How the data is prepared; None: whatever data the run names.
        settings: The model's settings that differ from its paper's.
        train: Training numbers that differ from the model's paper's.
        published: A published figure of this model, with what differs in its protocol; "" where
            there is none that measures the same thing.
        source: Where it was published.
        measured: Our own number, with seeds and time; "not run" where it was not.
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
        published: As of `Preset`.
        source: As of `Preset`.
        measured: As of `Preset`.
    """

    members: tuple[str, ...]
    published: str = ""
    source: str = ""
    measured: str = "not run"
