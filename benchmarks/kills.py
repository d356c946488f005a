"""Kills training runs at random moments, resumes them and compares their results.

    python benchmarks/kills.py --kills=50

Runs of each model have two epochs and a refit, on a small synthetic data set. Each process of a run
is ended once, at a random moment: by SIGKILL, SIGTERM or SIGINT at a random one of `CALLS`, or by
the kernel after a random CPU time; then it is resumed, until the run has finished.
Weights (bit by bit), metrics and history must equal those of an undisturbed run. Processes are
forked from one that has imported TensorFlow but run no operation.
"""

import argparse
import collections
import functools
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np
import pandas as pd
import tensorflow as tf

from tfrec import metrics, train
from tfrec.training import experiment, lists, loop, methods, runs, state

MODELS = {
    "deeprec": ["hidden=16,8"],
    "sasrec": ["width=8", "heads=1", "blocks=1"],
    "mf": ["latent=4"],
    "recvae": ["hidden=16", "depth=2", "latent=8"],
}
TRAIN = ["epochs=2", "refit=true", "batch_size=16", "save_steps=2", "patience=0"]
BATCH = {"mf": ["batch_size=128"]}
CALLS = (  # where a process may be killed: steps, batches of evaluation, writing
    (methods.Watch, "step"),
    (loop.Trainer, "epoch"),
    (experiment.Experiment, "restore"),
    (experiment.Experiment, "measure"),
    (lists, "choose_rule"),
    (lists, "learn_items"),
    (metrics.RatingReport, "update"),
    (metrics.RankingReport, "update"),
    (state, "save"),
    (runs.RunDir, "save_model"),
    (runs.RunDir, "save_history"),
    (os, "fsync"),
    (zipfile.ZipFile, "open"),
    (zipfile.ZipFile, "close"),
    (pathlib.Path, "rename"),
    (pathlib.Path, "replace"),
    (pathlib.Path, "unlink"),
)
WAYS = ("SIGKILL at a call", "SIGTERM at a call", "SIGINT at a call", "CPU time spent")
TIMES = ["seconds", "cpu_seconds", "examples_per_second", "input_wait"]  # columns of the history
MOST = 120.0  # CPU seconds of a run, so that none is endless


def words(model: str, folder: pathlib.Path, run: str) -> list[str]:
    """The command of a run."""
    own = [x for word in MODELS[model] for x in ("--set", word)]
    numbers = [x for word in [*TRAIN, *BATCH.get(model, [])] for x in ("--train", word)]
    data = [f"--raw={folder / 'ratings.csv'}", "--dataset=tabular", f"--data_dir={folder / 'data'}"]
    return [f"--model={model}", *data, f"--run_dir={folder / run}", "--nodry_run", *own, *numbers]


def forked(argv: list[str], log: pathlib.Path, way: str = "", moment: float = 0.0) -> tuple:
    """Runs the command in a forked process; its exit code (negative: the signal), CPU seconds."""
    pid = os.fork()
    if not pid:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = 1
        try:
            sys.argv = ["tfrec.train", *argv]
            arm(way, moment)
            train.COMMAND.run()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
            print(ended.code, file=sys.stderr)
        finally:
            (log.parent / f"{log.stem}.calls").write_text(str(COUNTED[0]))
            sys.stdout.flush()
            os._exit(status)
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


COUNTED = [0]


def arm(way: str, moment: float) -> None:
    """Ends this process at a moment: the number of a call, or CPU seconds from now."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    signal.setitimer(signal.ITIMER_PROF, moment if way == WAYS[3] else MOST)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    number = {w: getattr(signal, w.split()[0], 0) for w in WAYS[:3]}.get(way)
    for owner, name in CALLS:
        setattr(owner, name, counted(getattr(owner, name), number, int(moment)))


def counted(function, number: int | None, moment: int):
    """Wraps a function to send this process a signal at the call number `moment` of all."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        COUNTED[0] += 1
        if number and COUNTED[0] == moment:
            os.write(1, f"\n{signal.Signals(number).name} at {function.__qualname__}\n".encode())
            os.kill(os.getpid(), number)
        return function(*args, **kwargs)

    return call


def outcome(run: pathlib.Path) -> dict:
    """The results to compare: weights, metrics, history."""
    with h5py.File(_unzipped(run / "model.keras")) as file:
        weights = {}
        file.visititems(
            lambda name, x: weights.update({name: x[()]}) if isinstance(x, h5py.Dataset) else None
        )
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["seconds"], metrics["cpu_seconds"], metrics["peak_memory_mb"]
    history = pd.read_csv(run / "history.csv").drop(columns=TIMES)
    return {"weights": weights, "metrics": json.dumps(metrics), "history": history.to_csv()}


def _unzipped(path: pathlib.Path) -> pathlib.Path:
    shutil.unpack_archive(path, path.parent / "unzipped", "zip")
    return path.parent / "unzipped/model.weights.h5"


def differs(a: dict, b: dict) -> list[str]:
    """The names of results in which two outcomes differ."""
    names = [x for x in ("metrics", "history") if a[x] != b[x]]
    if a["weights"].keys() != b["weights"].keys():
        return [*names, "names of weights"]
    return names + [
        name for name, x in a["weights"].items() if x.tobytes() != b["weights"][name].tobytes()
    ]


def ratings(path: pathlib.Path) -> None:
    """Writes 700 ratings of 60 users and 40 items."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(60 * 40)[:700]
    frame = {"user": pairs // 40, "item": pairs % 40, "value": rng.integers(1, 6, 700)}
    pd.DataFrame(frame | {"time": np.arange(700) + 1_000_000}).to_csv(path, index=False)


def main() -> None:
    """Flags, kills, a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no run after these")
    options = parser.parse_args()
    dice, begun = random.Random(options.seed), time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kills-"))
    ratings(folder / "ratings.csv")
    names, undisturbed = options.models.split(","), {}
    kills, good, runs, ways = 0, 0, 0, collections.Counter()
    print(f"logs: {folder}", flush=True)
    while kills < options.kills and time.monotonic() - begun < 60 * options.minutes:
        model = names[runs % len(names)]
        if model not in undisturbed:
            log = folder / f"{model}.log"
            code, cpu = forked(words(model, folder, model), log)
            if code:
                sys.exit(f"the undisturbed run of {model} ended with {code}: see {log}")
            calls = int((folder / f"{model}.calls").read_text())
            undisturbed[model] = outcome(folder / model), calls, cpu
            print(f"{model}: {calls} calls, {cpu:.1f} CPU s undisturbed", flush=True)
        expected, calls, cpu = undisturbed[model]
        runs += 1
        run, log, of_run = f"{model}-{runs}", folder / f"{model}-{runs}.log", 0
        while True:
            way = dice.choice(WAYS)
            moment = dice.uniform(0.1, 1) * cpu if way == WAYS[3] else dice.randint(1, calls)
            if of_run >= 8:
                way = ""
            code, _ = forked([*words(model, folder, run), "--resume"], log, way, moment)
            if code == 0:
                break
            if code == 1 and "\nstopped\n" not in log.read_text().rpartition("\nSIG")[2]:
                break
            of_run, ways[f"{way}, exit {code}"] = of_run + 1, ways[f"{way}, exit {code}"] + 1
        found = [f"exit {code}"] if code else differs(outcome(folder / run), expected)
        kills, good = kills + of_run, good + of_run * (not found)
        print(f"{run}: {of_run} kills, {found or 'the same'}", flush=True)
    for way, n in sorted(ways.items()):
        print(f"{n:4} {way}")
    print(f"{good} of {kills} kills, {runs} runs, seed {options.seed}")
    sys.exit(good != kills)


if __name__ == "__main__":
    main()
