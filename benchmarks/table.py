"""Presets over several seeds as one table: mean and deviation, time, memory.

    python benchmarks/table.py --presets=multvae-ml1m-users,ease-ml1m-users [--seeds=0,1,2]
    python benchmarks/table.py --presets=ease-ml1m-users --seeds=0 --split_seeds=1,2,3,4,5

Each run is `tfrec.train --preset=NAME --seed=N` in its own process; finished runs in --out are
kept, so an interrupted table is resumed. The split is the same for all rows unless --split_seeds
names several: then +- is the deviation over both. With --against, one of the presets, every other
one is compared with it user by user, first seed against first seed, on each split.
"""

import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_list("presets", [], "which", flag_values=FLAGS)
flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds of weights and sampling", flag_values=FLAGS)
flags.DEFINE_list(
    "split_seeds", [], "seeds of the split (default: the preset's)", flag_values=FLAGS
)
flags.DEFINE_list(
    "metrics", ["ndcg@100", "recall_min@20", "recall_min@50", "recall@100"], "columns",
    flag_values=FLAGS,
)  # fmt: skip
flags.DEFINE_multi_string("data", [], "name=value for all runs", flag_values=FLAGS)
flags.DEFINE_string("against", "", "preset that the others are compared with", flag_values=FLAGS)
flags.DEFINE_string("out", "runs/table", "where the runs are written", flag_values=FLAGS)


def splits() -> list[str]:
    """The seeds of splits; "" for that of the preset."""
    return FLAGS.split_seeds or [""]


def measured(preset: str, seed: str, split: str) -> dict:
    """`metrics.json` of one run; runs it first if it is not finished."""
    path = run_dir(preset, seed, split)
    if not (path / "metrics.json").exists():
        command = [sys.executable, "-m", "tfrec.train", f"--preset={preset}", f"--seed={seed}"]
        command += [f"--run_dir={path}", "--overwrite", *(f"--data={x}" for x in FLAGS.data)]
        command += [f"--data=seed={split}"] if split else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((path / "metrics.json").read_text())


def run_dir(preset: str, seed: str, split: str) -> pathlib.Path:
    """The directory of a run."""
    return pathlib.Path(FLAGS.out) / "-".join(
        filter(None, [preset, seed, split and f"split{split}"])
    )


def row(preset: str) -> str:
    """A line of the table, in Markdown."""
    results = [measured(preset, seed, split) for split in splits() for seed in FLAGS.seeds]
    first = FLAGS.metrics[0]
    validation = [r["validation"].get(first, np.nan) for r in results]
    cells = [preset, spread(validation)]
    cells += [spread([r["test"][name] for r in results]) for name in FLAGS.metrics]
    cells.append(f"{np.mean([r['seconds'] for r in results]):.0f} s")
    cells.append(f"{max(r['peak_memory_mb'] for r in results):,} MB")
    return f"| {' | '.join(cells)} |"


def spread(values: list[float]) -> str:
    """Mean and, for several values, their standard deviation (n - 1)."""
    text = f"{np.mean(values):.4f}"
    if len(values) > 1 and np.std(values) > 0:
        text += f" +- {np.std(values, ddof=1):.4f}"
    return text


def main() -> None:
    """The table, a row at a time; then the comparisons."""
    names = [f"test {name}" for name in FLAGS.metrics]
    head = ["preset", f"validation {FLAGS.metrics[0]}", *names, "time a seed", "peak memory"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for preset in FLAGS.presets:
        print(row(preset), flush=True)
    if not FLAGS.against:
        return
    cli.start_tensorflow()
    from tfrec.training import summaries

    others = [preset for preset in FLAGS.presets if preset != FLAGS.against]
    for preset, split in itertools.product(others, splits()):
        here, there = (run_dir(x, FLAGS.seeds[0], split) for x in (preset, FLAGS.against))
        print(summaries.compare_runs(str(here), str(there)))


if __name__ == "__main__":
    cli.run(main, FLAGS, "Presets over seeds.", "python benchmarks/table.py --presets=A,B")
