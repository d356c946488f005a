"""The local server against a plain call of the same SavedModel in a process.

    python benchmarks/serving.py                          # DeepRec, as many items as ML-1M has
    python benchmarks/serving.py --export_dir=saved_models/deeprec --item_prefix=

Latency: one client, requests of 1 and 64 rows of 20 items, alternating with calls of
`tf.saved_model.load` in this process. Throughput: 1, 8 and 64 clients with requests of one row,
without and with batching, sent by another process over gRPC. And import time and memory of the
client. All on loopback, bounded by --seconds; on a busy machine compare the CPU time.
"""

import asyncio
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "export_dir", "", "a model of histories; default: one is made", flag_values=FLAGS
)
flags.DEFINE_string("item_prefix", "", "raw ids are this and a number", flag_values=FLAGS)
flags.DEFINE_float("seconds", 5.0, "of each measurement of throughput", flag_values=FLAGS)
flags.DEFINE_integer("calls", 200, "of each measurement of latency", flag_values=FLAGS)
flags.DEFINE_string("load", "", "a process that sends requests: set by itself", flag_values=FLAGS)

N_ITEMS, N_USERS, LENGTH = 3706, 300, 20
BATCHING = """
max_batch_size { value: 64 } batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 100 } num_batch_threads { value: 2 }
allowed_batch_sizes: [1, 4, 16, 64] pad_variable_length_inputs: true
"""
WEIGHT = """
import resource, time
start = time.perf_counter()
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.serving.client import Client
seconds = time.perf_counter() - start
print(f"{seconds:.2f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
"""


def made_model(folder: pathlib.Path) -> pathlib.Path:
    """DeepRec with random weights over as many items as ML-1M has."""
    import pandas as pd
    import tensorflow as tf

    import tfrec
    from tfrec.models.registry import MODELS
    from tfrec.serving import export, signatures

    random = np.random.default_rng(0)
    n = 20_000
    items = np.concatenate([np.arange(N_ITEMS), random.integers(0, N_ITEMS, n - N_ITEMS)])
    frame = pd.DataFrame(
        {
            "user": random.integers(0, N_USERS, n).astype(str),
            "item": items.astype(str),
            "value": random.integers(1, 6, n).astype(np.float32),
            "time": np.arange(n),
        }
    ).drop_duplicates(["user", "item"], ignore_index=True)
    raw = tfrec.Dataset.from_pandas(frame, rating="value", time="time", name="synthetic")
    data = raw.split("random", data_dir=folder / "data", shards=2)
    tf.keras.utils.set_random_seed(0)
    model = MODELS["deeprec"].create(data.info, MODELS["deeprec"].Config(hidden=(512, 512, 1024)))
    top = signatures.make(model, data.data_dir, 20, folder / "titles.txt")
    export.write(top, folder / "deeprec/1")
    return folder / "deeprec"


def request(rows: int) -> dict[str, np.ndarray]:
    """Histories of 20 items each."""
    random = np.random.default_rng(1)
    ids = np.array([f"{FLAGS.item_prefix}{n}" for n in range(N_ITEMS)], object)
    return {
        "items": np.stack([random.choice(ids, LENGTH, replace=False) for _ in range(rows)]),
        "values": random.integers(1, 6, [rows, LENGTH]).astype(np.float32),
    }


def serve(base: pathlib.Path, folder: pathlib.Path, batching: bool) -> tuple[subprocess.Popen, int]:
    """A server process that answers, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tfrec.serve", f"--port={port}", "--model_name=m"]
    command.append(f"--model_base_path={base}")
    if batching:
        (folder / "batching.config").write_text(BATCHING)
        command += ["--enable_batching", f"--batching_parameters_file={folder}/batching.config"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise ValueError(f"the server did not start: {' '.join(command)}")


def stop(process: subprocess.Popen) -> None:
    """Ends a server."""
    process.terminate()
    process.wait()


# ------------------------------------------------------------------ latency


def latency(base: pathlib.Path, port: int) -> None:
    """Calls in this process and of the server, in turns."""
    import tensorflow as tf

    from tfrec.serving.client import Client

    newest = max((p for p in base.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    plain = tf.saved_model.load(str(newest)).signatures["serving_default"]
    print(
        "| rows | plain call, median ms | server, median (p95, p99) ms | added, median ms | p10 |"
    )
    print("|---|---|---|---|---|", flush=True)
    with Client(f"localhost:{port}", "m", timeout=60) as client:
        for rows in (1, 64):
            sent = request(rows)

            def call(sent=sent):
                found = plain(**{name: tf.constant(array) for name, array in sent.items()})
                return {name: array.numpy() for name, array in found.items()}

            def ask(sent=sent):
                return client.predict(sent)

            same(call(), ask())
            took = turns(call, ask, FLAGS.calls)
            ours, theirs = np.median(took, axis=1)
            p95, p99 = np.percentile(took[1], [95, 99])
            # The cost when the machine is otherwise idle.
            quiet = np.subtract(*np.percentile(took, 10, axis=1)[::-1])
            print(
                f"| {rows} | {ours:.2f} | {theirs:.2f} ({p95:.2f}, {p99:.2f}) "
                f"| {theirs - ours:.2f} | {quiet:.2f} |",
                flush=True,
            )


def same(plain: dict, served: dict) -> None:
    """Checks that both results are equal."""
    np.testing.assert_allclose(plain["scores"], served["scores"], rtol=1e-4, atol=1e-4)


def turns(first, second, n: int) -> np.ndarray:
    """Milliseconds of n calls of each, in turns of ten."""
    took: list[list[float]] = [[], []]
    for _ in range(-(-n // 10)):
        for which, function in enumerate((first, second)):
            for _ in range(10):
                start = time.perf_counter()
                function()
                took[which].append(1e3 * (time.perf_counter() - start))
    return np.array(took)[:, 10:]


# ------------------------------------------------------------------ throughput


def cpu_seconds(process: subprocess.Popen) -> float:
    """That a process has used so far, in user and system mode."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def throughput(port: int, clients: int) -> dict:
    """Measurements by another process: requests a second and percentiles."""
    job = {"port": port, "clients": clients, "seconds": FLAGS.seconds, "prefix": FLAGS.item_prefix}
    done = subprocess.run(
        [sys.executable, __file__, f"--load={json.dumps(job)}"], capture_output=True, text=True
    )
    if done.returncode:
        raise ValueError(f"the process that sends requests failed: {done.stderr}")
    return json.loads(done.stdout)


async def load(job: dict) -> dict:
    """Sends requests of one row without a pause, from a number of clients."""
    import grpc

    from tfrec.serving import arrays, messages

    message = messages.PredictRequest()
    message.model_spec.name = "m"
    for name, array in request(1).items():
        arrays.fill(message.inputs[name], array, None)
    body = message.SerializeToString()
    took: list[float] = []

    async def client(end: float) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"localhost:{job['port']}", options) as channel:
            ask = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            while (start := time.perf_counter()) < end:
                await ask(body, timeout=60)
                took.append(time.perf_counter() - start)

    async def all_clients(seconds: float) -> float:
        begin = time.perf_counter()
        await asyncio.gather(*(client(begin + seconds) for _ in range(job["clients"])))
        return time.perf_counter() - begin

    await all_clients(1.0)  # warms up: a first run takes long
    warm = len(took)
    took.clear()
    seconds = await all_clients(job["seconds"])
    sent = warm + len(took)
    percentiles = 1e3 * np.percentile(took, [50, 95, 99])
    return {"rate": len(took) / seconds, "n": sent, "percentiles": percentiles.tolist()}


def main() -> None:
    """The tables."""
    if FLAGS.load:
        print(json.dumps(asyncio.run(load(json.loads(FLAGS.load)))))
        return
    weight = subprocess.run([sys.executable, "-c", WEIGHT], capture_output=True, text=True)
    print(f"client, import and resident memory: {weight.stdout.strip() or weight.stderr}\n")
    cli.start_tensorflow()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        base = pathlib.Path(FLAGS.export_dir) if FLAGS.export_dir else made_model(folder)
        rates = {}
        for batching in (False, True):
            process, port = serve(base, folder, batching)
            try:
                if not batching:
                    latency(base, port)
                    print(
                        "\n| batching | clients | requests a second | p50, p95, p99 ms "
                        "| server's CPU ms a request |"
                    )
                    print("|---|---|---|---|---|", flush=True)
                for clients in (1, 8, 64):
                    used = cpu_seconds(process)
                    found = throughput(port, clients)
                    used = 1e3 * (cpu_seconds(process) - used) / found["n"]
                    rates[batching, clients] = found["rate"]
                    cells = ", ".join(f"{p:.1f}" for p in found["percentiles"])
                    name = "on" if batching else "off"
                    line = f"| {name} | {clients} | {found['rate']:.0f} | {cells} | {used:.2f} |"
                    print(line, flush=True)
            finally:
                stop(process)
        ratio = rates[True, 64] / rates[False, 64]
        print(f"\nbatching at 64 clients: {ratio:.2f} times the requests")


if __name__ == "__main__":
    cli.run(main, FLAGS, "The local server's speed.", "python benchmarks/serving.py --seconds=5")
