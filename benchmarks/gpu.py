"""What the settings of devices cost and bring on this machine, in one JSON.

    python benchmarks/gpu.py [--out=gpu.json] [--only=calls,jit] [--models=mf,sasrec]

Made for a machine with a GPU, where nothing of this was measured yet: steps in a call of the graph,
XLA, precisions, batch sizes, prefetching to the device, each on a small model and on larger ones.
With the defaults it takes under ten minutes: each case trains for `--seconds` after its first
calls, and at most four times as long with them. Without a GPU it says so and ends; --cpu measures
the CPU.

A case is a training epoch of ml-latest-small (embedded), or of --data_dir, broken off; steps are
counted after the first calls, which trace and compile. Evaluation is not in it.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import time
from unittest import mock

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", "gpu.json", "what is written", flag_values=FLAGS)
flags.DEFINE_bool("cpu", False, "measure the CPU", flag_values=FLAGS)
flags.DEFINE_list("models", ["mf", "deeprec", "sasrec"], "which models", flag_values=FLAGS)
flags.DEFINE_list("only", [], "groups of cases; empty: all", flag_values=FLAGS)
flags.DEFINE_float("seconds", 4.0, "of a case, after its first calls", flag_values=FLAGS)
flags.DEFINE_integer("steps", 10**6, "of a case at most, after its first calls", flag_values=FLAGS)
flags.DEFINE_string("data_dir", "", "prepared data; empty: ml-latest-small", flag_values=FLAGS)

CASES: dict[str, list[dict]] = {
    "calls": [{"steps_per_call": n} for n in (1, 4, 16, 64)],
    "jit": [{"jit_compile": True}, {"jit_compile": True, "steps_per_call": 16}],
    "precision": [{"precision": name} for name in ("float16", "bfloat16")],
    "batch": [{"batch_size": size} for size in (64, 256, 1024)],
    "prefetch": [{"prefetch": False}],
}


class Enough(Exception):  # noqa: N818  (no error)
    """A case has been measured for long enough."""


class Clock:
    """Counts steps and seconds after the first calls; called after each call of the graph.

    Args:
        seconds: After which it ends the epoch.
        steps: After which it does.
    """

    def __init__(self, seconds: float, steps: int):
        self.seconds, self.steps = seconds, steps
        self.calls, self.born = 0, time.perf_counter()
        self.start = self.now = (0, self.born, time.process_time())

    def __call__(self, watch) -> None:
        self.calls += 1
        self.now = (watch.done, time.perf_counter(), time.process_time())
        late = self.now[1] - self.born > 4 * self.seconds
        if self.calls <= 3:  # these trace and compile
            self.start = self.now
        steps, seconds = self.now[0] - self.start[0], self.now[1] - self.start[1]
        if late or steps >= self.steps or seconds > self.seconds:
            raise Enough

    def result(self, batch_size: int) -> dict:
        """Milliseconds a step by wall and by CPU, and examples a second."""
        steps, wall, cpu = (b - a for a, b in zip(self.start, self.now, strict=True))
        if not steps:
            return {"error": f"not one step in {4 * self.seconds:g} s after the first calls"}
        return {
            "steps": steps,
            "step_ms": round(1e3 * wall / steps, 3),
            "cpu_ms": round(1e3 * cpu / steps, 3),
            "examples_a_second": round(batch_size * steps / wall, 1),
        }


def measured(model: str, data_dir: str, train: dict) -> dict:
    """One case.

    Args:
        model: Its name.
        data_dir: Prepared data.
        train: Changes of the model's default training, and "prefetch".
    """
    import tensorflow as tf

    from tfrec import config as config_lib
    from tfrec.api import fitting
    from tfrec.api.prepared_data import PreparedData
    from tfrec.models.registry import MODELS
    from tfrec.training import batches, loop, methods, strategies
    from tfrec.training.build import build

    cls, data, strategy = MODELS[model], PreparedData(data_dir), tf.distribute.get_strategy()
    numbers = {name: value for name, value in train.items() if name != "prefetch"}
    defaults = dataclasses.replace(cls.defaults, **numbers)
    config = fitting.run_config(model, config_lib.to_dict(cls.Config()), defaults, data)
    config = config.settled(data.info)
    built = build(config, data.info, strategy)
    clock = Clock(FLAGS.seconds, FLAGS.steps)
    watch = methods.Watch(clock, room=lambda watch: 10**6)
    distribute = (
        strategies.distribute if train.get("prefetch", True) else lambda _, batches: batches
    )
    epoch = batches.of_epoch(built, data_dir, "train", config.train, 0)
    many = epoch.repeat().take(1000 * int(epoch.cardinality()))
    with mock.patch.object(strategies, "distribute", distribute), contextlib.suppress(Enough):
        try:
            trainer = loop.Trainer(built, strategy, config.train)
            trainer.epoch(many, 0, rows=epoch, watch=watch)
        except ValueError as error:  # settings that do not go with the model
            return {"error": str(error)}
    return clock.result(config.train.batch_size)


def machine() -> dict:
    """What was measured on."""
    import keras
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return {
        "gpus": [tf.config.experimental.get_device_details(gpu) for gpu in gpus],
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    """All cases, a line each, and the file."""
    import tfrec

    found = machine()
    if not (found["gpus"] or FLAGS.cpu):
        raise ValueError("there is no GPU here, so nothing to measure; --cpu measures the CPU")
    unknown = set(FLAGS.only) - set(CASES)
    if unknown:
        raise ValueError(f"--only={','.join(unknown)} is unknown; known: {', '.join(CASES)}")
    data_dir = FLAGS.data_dir or tfrec.Dataset.load("ml-latest-small").split("random").data_dir
    start, cases = time.perf_counter(), []
    for group in FLAGS.only or CASES:
        for model in FLAGS.models:
            for train in CASES[group]:
                case = {"group": group, "model": model, "train": train}
                cases.append(case | measured(model, data_dir, train))
                print(json.dumps(cases[-1]), flush=True)
                result = {
                    "machine": found,
                    "seconds": round(time.perf_counter() - start, 1),
                    "cases": cases,
                }
                pathlib.Path(FLAGS.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    cli.run(main, FLAGS, "Measures what the settings of devices bring.", "python benchmarks/gpu.py")
