"""Trains a part of an epoch on a synthetic catalogue of a million items, and evaluates.

    python benchmarks/million_items.py --work=DIR
    python benchmarks/million_items.py --work=DIR --rows=20000 --models=mf

Interactions are drawn by seed: an item of popularity rank r with a density in proportion to
r^(-2/3), rows of exponentially distributed length. They are written once, in chunks of rows, as
prepared data; each model runs in its own process. A step's CPU seconds are those after the first
`--warm_up` steps, and an epoch's are as many times that as it has steps. The last item of the first
`--evaluated` rows is held out, and ranked among all items.
"""

import contextlib
import itertools
import json
import math
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string("work", "", "folder for the data", flag_values=FLAGS)
flags.DEFINE_integer("items", 1_000_000, "number of items", flag_values=FLAGS)
flags.DEFINE_integer("rows", 1_000_000, "number of users", flag_values=FLAGS)
flags.DEFINE_integer("mean", 50, "mean interactions of a user", flag_values=FLAGS)
flags.DEFINE_integer("evaluated", 2_000, "users whose last item is held out", flag_values=FLAGS)
flags.DEFINE_integer("steps", 100, "measured training steps", flag_values=FLAGS)
flags.DEFINE_integer("warm_up", 10, "training steps before", flag_values=FLAGS)
flags.DEFINE_list("models", ["mf", "twotower", "sasrec"], "which", flag_values=FLAGS)
flags.DEFINE_multi_string("train", [], "name=value of training, for all", flag_values=FLAGS)
flags.DEFINE_multi_string("set", [], "name=value of the models, for all", flag_values=FLAGS)
flags.DEFINE_string("out", "", "JSON file for the results", flag_values=FLAGS)
flags.DEFINE_string("one", "", "for the processes this one starts", flag_values=FLAGS)

CHUNK, LEAST = 20_000, 5  # rows written at once, interactions of the shortest row
ALL = {"histories": 4096, "events": 1 << 16}  # a batch of the pass before the first epoch
SETTINGS = {"mf": {"loss": "softmax", "latent": 64, "negatives": 16}}  # besides the defaults


def drawn(rng: np.random.Generator, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and items of interactions, sorted by row; no row has an item twice."""
    lengths = LEAST + rng.exponential(FLAGS.mean - LEAST, n_rows).astype(np.int64)
    row = np.repeat(np.arange(n_rows), np.minimum(lengths, FLAGS.items // 4))
    item = (FLAGS.items * rng.random(len(row)) ** 3).astype(np.int64)
    pairs = rng.permutation(np.unique(row * FLAGS.items + item))
    pairs = pairs[np.argsort(pairs // FLAGS.items, kind="stable")]
    return pairs // FLAGS.items, pairs % FLAGS.items


def records(row: np.ndarray, item: np.ndarray, first: int) -> Iterator[bytes]:
    """Serialized rows, numbered from `first`; the last item of some is held out."""
    from tfrec.data import example_encoding

    n_rows = int(row[-1]) + 1
    last = np.append(row[1:] != row[:-1], True) & (first + row < FLAGS.evaluated)
    found = {"user": first + np.arange(n_rows)}
    starts = {"user": np.arange(n_rows + 1)}
    for part, mask in (("", ~last), ("validation_", last)):
        counts = np.bincount(row[mask], minlength=n_rows)
        lists = {"items": item[mask], "values": np.ones(mask.sum(), np.float32)}
        lists["times"] = np.flatnonzero(mask)
        found |= {part + name: numbers for name, numbers in lists.items()}
        starts |= dict.fromkeys((part + name for name in lists), np.append(0, counts.cumsum()))
    yield from example_encoding.examples(found, starts)


def write_data(folder: pathlib.Path) -> None:
    """Prepared data, chunk after chunk."""
    from tfrec import schema
    from tfrec.config import DataConfig, to_dict
    from tfrec.data import record_file
    from tfrec.data.prepare import write_info

    folder.mkdir(parents=True)
    firsts = range(0, FLAGS.rows, CHUNK)
    n, longest = 0, 0
    for number, first in enumerate(firsts):
        rng = np.random.default_rng([0, number])
        row, item = drawn(rng, min(CHUNK, FLAGS.rows - first))
        n, longest = n + len(row), max(longest, int(np.bincount(row).max()))
        file = folder / f"train-{number:05}-of-{len(firsts):05}.tfrecord"
        record_file.write(file, records(row, item, first))
    names = {schema.USERS_FILE: FLAGS.rows, schema.ITEMS_FILE: FLAGS.items}
    for name, count in names.items():
        (folder / name).write_text("".join(f"{i}\n" for i in range(count)))
    held_out = min(FLAGS.evaluated, FLAGS.rows)
    info = schema.DatasetInfo(
        name="synthetic",
        protocol=f"synthetic, the last item of {held_out:,} users held out",
        rows="user",
        n_users=FLAGS.rows,
        n_items=FLAGS.items,
        n_ratings={"train": n - held_out, "validation": held_out, "test": 0},
        row_counts={"train": FLAGS.rows, "validation": held_out, "all": FLAGS.rows},
        rating_min=1.0,
        rating_max=1.0,
        rating_mean=1.0,
        max_history=longest,
        config=to_dict(DataConfig(split="last")),
        format=schema.FORMAT_VERSION,
    )
    write_info(folder, info)


def measure(name: str, folder: pathlib.Path) -> dict:
    """Costs of one model, in this process."""
    import tensorflow as tf

    from tfrec import config as configs
    from tfrec import memory, tasks
    from tfrec.config import DataConfig
    from tfrec.models import registry
    from tfrec.schema import DatasetInfo
    from tfrec.training import batches, evaluation, methods
    from tfrec.training.build import build
    from tfrec.training.run_config import RunConfig

    info, cls = DatasetInfo.load(folder), registry.model_class(name)
    settings = configs.replaced(cls.Config(), SETTINGS.get(name, {}), name)
    settings = configs.to_dict(configs.override(settings, FLAGS.set))
    train = configs.override(cls.defaults, FLAGS.train)
    run = RunConfig(name, settings, DataConfig(), str(folder), train).settled(info)
    estimate = cls.memory(info, run.model_config, run.train)
    marks = [("start", time.process_time())]

    def mark(label: str) -> None:
        marks.append((label, time.process_time()))
        print(f"{name}: {label}, {marks[-1][1] - marks[-2][1]:.1f} CPU s, peak so far "
              f"{memory.peak() / 1e6:,.0f} MB", file=sys.stderr, flush=True)  # fmt: skip

    strategy = tf.distribute.get_strategy()
    model = build(run, info, strategy)
    method = methods.method(cls, run.model_config, run.train)(model, strategy, run.train)
    mark("build")
    model.begin_epoch(0, batches.read(model, folder, "train", ALL[model.reads], fill=True))
    mark("begin_epoch")
    epoch = batches.of_epoch(model, folder, "train", run.train, 0)
    n_steps = int(epoch.cardinality())

    class Enough(Exception):  # noqa: N818  ends the epoch
        pass

    def listener(watch: methods.Watch) -> None:
        if watch.done == FLAGS.warm_up:
            mark("first steps")
        elif watch.done == FLAGS.warm_up + FLAGS.steps:
            mark("steps")
            raise Enough

    with contextlib.suppress(Enough):
        method.epoch(epoch, 1, epoch, methods.Watch(listener))
    report = tasks.get(model.task).new_report(info)
    held_out = batches.read(model, folder, "validation", run.train.eval_batch_size)
    found = evaluation.Evaluator(model)(held_out, report)
    mark("evaluation")
    spent = {label: b - a for (_, a), (label, b) in itertools.pairwise(marks)}
    step = spent["steps"] / FLAGS.steps
    return {
        "model": name,
        "batch": run.train.batch_size,
        "steps": n_steps,
        "cpu_seconds": spent,
        "cpu_seconds_a_step": step,
        "cpu_hours_an_epoch": step * n_steps / 3600,
        "cpu_ms_a_user": 1000 * spent["evaluation"] / info.row_counts["validation"],
        "estimate_mb": math.ceil(estimate / 1e6),
        "peak_mb": math.ceil(memory.peak() / 1e6),
        "ndcg@10": found["ndcg@10"],
    }


def main() -> None:
    """The data, where it is missing, and a table of all models."""
    names = ("items", "rows", "mean", "evaluated")
    folder = pathlib.Path(FLAGS.work) / "-".join(f"{name}-{FLAGS[name].value}" for name in names)
    cli.start_tensorflow()
    if FLAGS.one:
        print(json.dumps(measure(FLAGS.one, folder)))
        return
    if not FLAGS.work:
        raise ValueError("--work is missing: a folder for the data")
    if not (folder / "info.json").exists():
        write_data(folder)
    results = []
    print("| model | batch | CPU s a step | steps an epoch | CPU h an epoch | evaluation, "
          f"CPU ms a user | peak MB | estimate MB |\n|{'---|' * 8}", flush=True)  # fmt: skip
    for name in FLAGS.models:
        words = [sys.executable, __file__, *sys.argv[1:], f"--one={name}"]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"| {name} | ended with {done.returncode} |", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        results.append(found)
        print(f"| {name} | {found['batch']:,} | {found['cpu_seconds_a_step']:.3f} | "
              f"{found['steps']:,} | {found['cpu_hours_an_epoch']:.1f} | "
              f"{found['cpu_ms_a_user']:.0f} | {found['peak_mb']:,} | "
              f"{found['estimate_mb']:,} |", flush=True)  # fmt: skip
    if FLAGS.out:
        pathlib.Path(FLAGS.out).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    cli.run(main, FLAGS, "A million items.", "python benchmarks/million_items.py --work=DIR")
