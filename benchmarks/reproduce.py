"""Runs presets and compares their figures with the measured ones.

    python -m benchmarks.reproduce [--fast | --all | NAME,...] [--out=runs/reproduce]

Each preset is run by `tfrec.train` in its own process, with the first of its seeds; finished runs
in --out are kept, with their records. The exit status is 1 if a figure is outside the tolerance of
its preset. --fast are the presets that take less than a minute on the data that ships with the
package, --all those with data and figures, but for those of files (--train_raw, --test_raw).
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator

from absl import flags

from tfrec import cli, presets
from tfrec.config import known_names
from tfrec.presets.entry import Expected, metric_name, number

FLAGS = flags.FlagValues()
flags.DEFINE_bool("fast", False, "those under a minute, on data that ships", flag_values=FLAGS)
flags.DEFINE_bool("all", False, "every preset that has data and figures", flag_values=FLAGS)
flags.DEFINE_list("presets", [], "which", flag_values=FLAGS)
flags.DEFINE_string("train_raw", "", "training file of a preset NAME-files", flag_values=FLAGS)
flags.DEFINE_string("test_raw", "", "its test file", flag_values=FLAGS)
flags.DEFINE_string("out", "runs/reproduce", "where the runs are written", flag_values=FLAGS)

KNOWN: dict[str, Expected] = {**presets.PRESETS, **presets.ENSEMBLES}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One figure of a preset, and that of its repetition.

    Attributes:
        preset: Name.
        part: "validation" or "test".
        metric: As in `metrics.json`.
        due: The preset's figure.
        found: That of the new run.
        tolerance: The preset's.
    """

    preset: str
    part: str
    metric: str
    due: float
    found: float
    tolerance: float

    @property
    def within(self) -> bool:
        """Whether the figures differ by no more than the tolerance; figures have four decimals."""
        return abs(self.found - self.due) <= self.tolerance + 0.00005

    def __str__(self) -> str:
        verdict = "as expected" if self.within else "OUTSIDE"
        return (
            f"{self.preset:32}{self.part:11}{metric_name(self.metric):>12} {number(self.found)} "
            f"({number(self.due)} +- {self.tolerance:g})  {verdict}"
        )


def of_files(name: str) -> bool:
    """Whether a preset is for files that are given, instead of a data set with a name."""
    data = getattr(KNOWN[name], "data", None)
    return data is not None and data.dataset == "tabular"


def chosen(fast: bool, every: bool, names: list[str]) -> list[str]:
    """The presets to run.

    Raises:
        ValueError: an unknown preset, one without data or figures, or none is asked for.
    """
    can = [
        name
        for name, p in KNOWN.items()
        if p.measured and not p.measured_on and getattr(p, "data", True)
    ]
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"--presets={name} is unknown; " + known_names(name, can))
        if name not in can:
            raise ValueError(f"--presets={name}: it has no data or no measured figures of its own")
    if fast + every + bool(names) != 1:
        raise ValueError("give one of --fast, --all and names of presets: NAME,...")
    return names or [x for x in can if KNOWN[x].fast or (every and not of_files(x))]


def compared(name: str, found: dict) -> Iterator[Outcome]:
    """The outcomes of a preset.

    Args:
        name: The preset.
        found: Metrics by part, as in `metrics.json`.
    """
    preset = KNOWN[name]
    for part, figures in preset.measured.items():
        for metric, due in figures.items():
            yield Outcome(name, part, metric, due, found[part][metric], preset.tolerance)


def train(name: str, path: pathlib.Path) -> None:
    """Runs a preset with the first of its seeds in a process of its own."""
    words = ["--overwrite", f"--preset={name}", f"--run_dir={path}"]
    if name in presets.PRESETS:  # members of an ensemble have their own seeds
        words.append(f"--seed={KNOWN[name].seeds[0]}")
    if of_files(name):
        words += [f"--train_raw={FLAGS.train_raw}", f"--test_raw={FLAGS.test_raw}"]
    subprocess.run(
        [sys.executable, "-m", "tfrec.train", *words], check=True, stdout=subprocess.DEVNULL
    )


def reproduce(
    names: list[str], out: pathlib.Path, run: Callable[[str, pathlib.Path], None] = train
) -> list[Outcome]:
    """Runs presets that are not finished in `out`, and prints a line for each figure."""
    outcomes = []
    for name in names:
        path = out / name
        if not (path / "metrics.json").exists():
            run(name, path)
        for outcome in compared(name, json.loads((path / "metrics.json").read_text())):
            print(outcome, flush=True)
            outcomes.append(outcome)
    return outcomes


def main() -> None:
    """The outcomes; status 1 if one is outside."""
    names = chosen(FLAGS.fast, FLAGS["all"].value, FLAGS.presets)
    outcomes = reproduce(names, pathlib.Path(FLAGS.out))
    outside = sum(not x.within for x in outcomes)
    print(f"{len(names)} presets, {len(outcomes)} figures, {outside} outside")
    if outside:
        raise SystemExit(1)


if __name__ == "__main__":
    cli.run(main, FLAGS, "Repeats presets.", "python -m benchmarks.reproduce --fast", "presets")
