"""kill -9 at any moment: the next run ends with the bytes of an undisturbed one."""

import itertools
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from pipeline_data_test import pack, ratings

from pipelines import artifacts, engine, example_gen, pipeline, schema_gen, statistics_gen
from pipelines import example_validator as validator
from pipelines import transform as transforming
from tfrec.config import DataConfig

ROOT = pathlib.Path(__file__).parent.parent


def data_components(raw, root):
    """What writes data; no tf.data, which a forked process cannot start."""
    worker = engine.Local()
    with artifacts.locked(root):
        examples = example_gen.run(example_gen.sources("ml-latest-small", raw, None), root, worker)
        counted = {n: statistics_gen.of_span(x, worker, root=root) for n, x in examples.items()}
        schema = root / "schema.pbtxt"
        schema_gen.run(schema, examples[1], counted[1])
        made = {"valid": validator.of_spans(examples, counted, schema, root=root)}
        made["rows"] = transforming.run(examples, DataConfig(shards=2), worker, root=root)
        made |= {f"e{n}": x for n, x in examples.items()} | {f"s{n}": x for n, x in counted.items()}
        artifacts.sweep(root, made)


def everything(root):
    """All bytes by path, but for the lock."""
    found = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {name: content for name, content in found.items() if not name.endswith(".lock")}


def kill_at(event_number):
    """Kills this process as it opens, makes or renames the n-th file or folder."""
    events = itertools.count(1)

    def hook(event, _):
        if event in ("open", "os.mkdir", "os.rename") and next(events) == event_number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def forked(raw, root, event_number=None):
    """Runs the components in a child that may be killed on its way; says how it ended."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if event_number:
                kill_at(event_number)
            data_components(raw, root)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def test_killed_data_components_continue(tmp_path):
    pack(tmp_path / "day-1.zip", ratings(200, 80))
    pack(tmp_path / "day-2.zip", ratings(200, 80, seed=1, first=1001))
    raw = str(tmp_path / "day-{SPAN}.zip")
    assert forked(raw, tmp_path / "calm") == 0
    due = everything(tmp_path / "calm")
    killed, half_written = 0, 0
    for event_number in (2, 5, 9, 14, 20, 25, 30, 40, 50, 60):
        killed += forked(raw, tmp_path / "root", event_number) == signal.SIGKILL
        half_written += any(".partial-" in name for name in everything(tmp_path / "root"))
    assert forked(raw, tmp_path / "root") == 0
    assert everything(tmp_path / "root") == due
    assert killed >= 5
    assert half_written


@pytest.mark.slow
def test_ten_kills_of_the_whole_pipeline(tmp_path):
    """In processes of their own; the model's weights too are the same."""
    root, push = tmp_path / "root", tmp_path / "push"
    command = [sys.executable, "-m", "pipelines.local_runner", "--model=autoencoder"]
    command += ["--set", "hidden=32", "--train", "epochs=4", "--runner=local"]
    command += [f"--pipeline_root={root}", f"--push_dir={push}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(seconds=None):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def finished():
        """What is there now; the next run finds nothing."""
        assert [p.name for p in (push / "autoencoder").iterdir()] == ["1"]
        found = outcome(root, push)
        shutil.rmtree(root)
        shutil.rmtree(push)
        return found

    start = time.perf_counter()
    assert run() == 0
    lasts = time.perf_counter() - start
    due, weights = finished()
    moments = random.Random(0)
    kills, undisturbed = [], True
    while len(kills) < 10 or not undisturbed:
        moment = moments.uniform(0.1, 0.9) * lasts if len(kills) < 10 else None
        start = time.perf_counter()
        ended = run(moment)
        if ended:
            assert ended == -signal.SIGKILL
            undisturbed = False
            kills.append(moment / lasts)
            print(f"killed after {moment:.0f} of {lasts:.0f} s", flush=True)
            continue
        data, weights_now = finished()
        assert data == due
        assert len(weights_now) == 4 and weights_now == weights  # two layers
        if undisturbed:  # the first one was slower
            lasts = min(lasts, time.perf_counter() - start)
        undisturbed = True
        print("ended with the same bytes", flush=True)


def outcome(root, push):
    """Bytes of all data, and the weights that were pushed; times are in the other files."""
    import tensorflow as tf

    skipped = (".lock", pipeline.LAST_RUN)
    data = {
        name: content
        for name, content in everything(root).items()
        if not name.startswith(("trainer/", "evaluator/")) and name not in skipped
    }
    prefix = str(push / "autoencoder/1/variables/variables")
    reader = tf.train.load_checkpoint(prefix)
    names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    # Keras numbers them in an order of its own.
    return data, sorted(reader.get_tensor(name).tobytes() for name in names)
