"""A table of all models with their defaults, and the baselines that they must beat.

    python benchmarks/defaults.py [--sets=ml-latest-small] [--models=ease,sasrec]
        [--record=results/defaults.json]

Each run is `python -m tfrec.train --model=NAME` with only the flags of the data set, in its own
process, which is ended after --cpu_limit seconds; finished runs in --out are kept, so an
interrupted table is resumed. A model must beat Popularity (rankings), Biases (ratings) or the
constant share of positives (clicks), on the same held-out rows. CPU seconds are those of the whole
command. Data sets other than ml-latest-small are searched for in the folder TFREC_DATA.
"""

import gzip
import json
import math
import os
import pathlib
import resource
import signal
import subprocess
import sys

from absl import flags

from tfrec import cli, names
from tfrec.config import known_names

FLAGS = flags.FlagValues()
flags.DEFINE_list("sets", ["ml-latest-small"], "data sets", flag_values=FLAGS)
flags.DEFINE_list("models", [], "which (default: all)", flag_values=FLAGS)
flags.DEFINE_integer("cpu_limit", 900, "CPU seconds until a run is ended", flag_values=FLAGS)
flags.DEFINE_string("out", "runs/defaults", "where the runs are written", flag_values=FLAGS)
flags.DEFINE_string("record", "", "JSON file of results to update", flag_values=FLAGS)

TABULAR = ("--dataset=tabular", "--data=duplicates=first")
SETS: dict[str, tuple[str, ...]] = {
    "ml-latest-small": (),
    "ml-latest-small-likes": ("--data=label_above=3.5",),
    "ml-100k": ("--dataset=ml-100k",),
    "ml-1m": ("--dataset=ml-1m",),
    "netflix-sample": ("--dataset=netflix", "--raw={data}/netflix-sample"),
    "gowalla": (*TABULAR, "--raw={data}/gowalla-lightgcn/train.csv.gz"),
    "beauty": (*TABULAR, "--raw={out}/beauty.csv", "--split=last"),
}
FLOORS = {"ndcg@100": "popularity", "rmse": "biases"}  # by metric
LOWER_IS_BETTER = ("rmse", "logloss")


def metric_of(result: dict) -> str:
    """The metric by which a run is judged."""
    return next(name for name in ("rmse", "logloss", "ndcg@100") if name in result["test"])


def run(model: str, data: str) -> dict:
    """`metrics.json` of one run with `cpu_seconds` and `error`; runs it if that is missing."""
    path = pathlib.Path(FLAGS.out) / data / model
    done = path / "command.json"
    if not done.exists():
        folders = {"data": os.environ.get("TFREC_DATA", ""), "out": FLAGS.out}
        words = [word.format(**folders) for word in SETS[data]]
        command = [sys.executable, "-m", "tfrec.train", f"--model={model}", *words]
        found = timed([*command, f"--run_dir={path}", "--overwrite"])
        path.mkdir(parents=True, exist_ok=True)
        done.write_text(json.dumps(found))
    found = json.loads(done.read_text())
    metrics = path / "metrics.json"
    return (json.loads(metrics.read_text()) if metrics.exists() else {}) | found


def timed(command: list[str]) -> dict:
    """Runs a command; returns its CPU seconds and, if it failed, the last line of its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit = FLAGS.cpu_limit
    limited = ["bash", "-c", f'ulimit -t {limit} && exec "$@"', "-", *command]
    done = subprocess.run(limited, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        last = [f"not finished after {limit} CPU seconds"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": round(spent), "error": "".join(last)}


def floor(metric: str, result: dict, data: str) -> float | None:
    """The value that a run must beat on the rows of its evaluation; None if unknown."""
    if metric == "logloss":
        p = result["test"]["positives"]
        return -p * math.log(p) - (1 - p) * math.log(1 - p)
    return run(FLOORS[metric], data).get("test", {}).get(metric)


def measured(model: str, data: str) -> dict:
    """What the table says about a model on a data set."""
    result = run(model, data)
    if not result.get("test"):
        return {"error": result["error"] or "nothing tested", "cpu_seconds": result["cpu_seconds"]}
    metric = metric_of(result)
    least = floor(metric, result, data)
    names = ("best_epoch", "epochs", "cpu_seconds")
    return {
        "metric": metric,
        "value": round(result["test"][metric], 4),
        "baseline": None if least is None else round(least, 4),
        **{name: result[name] for name in names},
    }


def beats(found: dict) -> bool | None:
    """Whether a model beats its baseline; None if that is unknown, or it is the baseline."""
    value, least = found["value"], found["baseline"]
    if least in (None, value):
        return None
    return (value < least) == (found["metric"] in LOWER_IS_BETTER)


def row(model: str, found: dict) -> str:
    """A line of the table, in Markdown."""
    if "error" in found:
        return f"| {model} | {found['error']} |||||"
    value, least = found["value"], found["baseline"]
    better = {None: "-", True: "yes", False: "NO"}[beats(found)]
    cells = [model, found["metric"], f"{value:.4f}", "-" if least is None else f"{least:.4f}"]
    cells += [better, f"{found['best_epoch']} of {found['epochs']}", f"{found['cpu_seconds']}"]
    return f"| {' | '.join(cells)} |"


def write_beauty() -> None:
    """Converts Beauty, which has one line for each user with the items in order, to a table."""
    lines = ["user,item,time"]
    there = pathlib.Path(os.environ.get("TFREC_DATA", "")) / "beauty-s3rec" / "Beauty.txt.gz"
    with gzip.open(there, "rt") as file:
        for user, *items in map(str.split, file):
            lines += [f"{user},{item},{time}" for time, item in enumerate(items, 1)]
    (pathlib.Path(FLAGS.out) / "beauty.csv").write_text("\n".join(lines) + "\n")


def main() -> None:
    """The table, a row at a time."""
    for data in FLAGS.sets:
        if data not in SETS:
            raise ValueError(f"--sets={data}: " + known_names(data, SETS))
    for model in FLAGS.models:
        names.refuse_model(model, "--models")
    pathlib.Path(FLAGS.out).mkdir(parents=True, exist_ok=True)
    if "beauty" in FLAGS.sets:
        write_beauty()
    head = ["model", "test metric", "value", "baseline", "beats it", "best epoch", "CPU seconds"]
    for data in FLAGS.sets:
        print(f"\n{data}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
        for model in FLAGS.models or names.models():
            found = measured(model, data)
            print(row(model, found), flush=True)
            if FLAGS.record:
                record(data, model, found)


def record(data: str, model: str, found: dict) -> None:
    """Replaces the entry of a model on a data set in the file --record."""
    path = pathlib.Path(FLAGS.record)
    known = json.loads(path.read_text()) if path.exists() else {}
    known.setdefault(data, {})[model] = found
    path.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    cli.run(main, FLAGS, "All models with their defaults.", "python benchmarks/defaults.py")
