"""Experiments by name: data, split and settings, with published and measured results.

A name is MODEL-DATA-SPLIT; MODEL-paper has the paper's settings, for any data.
`tfrec.train --preset=NAME` reproduces one; other flags override it, and
`python -m benchmarks.reproduce` compares a new run's figures with those here.
"""

from tfrec.config import known_names
from tfrec.presets import likes, next_items, papers, rankings, ratings
from tfrec.presets.entry import EnsemblePreset, Preset

PRESETS: dict[str, Preset] = {
    **ratings.PRESETS,
    **likes.PRESETS,
    **rankings.PRESETS,
    **next_items.PRESETS,
    **papers.PRESETS,
}
ENSEMBLES: dict[str, EnsemblePreset] = {**ratings.ENSEMBLES, **next_items.ENSEMBLES}


def preset(name: str) -> Preset:
    """The preset of `--preset=name`.

    Raises:
        ValueError: there is no such preset, or it is an ensemble; the error lists the known ones.
    """
    if name not in PRESETS:
        known = [*PRESETS, *ENSEMBLES]
        raise ValueError(f"--preset={name!r} is unknown; " + known_names(name, known))
    return PRESETS[name]


def table() -> str:
    """All presets as text, for `--list_presets`."""
    lines = []
    for name, p in (PRESETS | ENSEMBLES).items():
        lines.append(f"{name}\n    published: {p.goal or 'none'}\n    measured:  {p.result}")
    return "\n".join(lines)
