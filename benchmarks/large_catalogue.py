"""Compares top k of a large catalogue: exact, exact in blocks, and by an approximate index.

    python benchmarks/large_catalogue.py --items=1000000
    python benchmarks/large_catalogue.py --items=1000000 --like=runs/mf

Vectors are drawn around 2,000 centres (`--noise` is their deviation), or are mixtures of trained
ones: each of an item of the run and one of its 10 nearest, with the run's users as queries. Each
method is a SavedModel, loaded and called in its own process, whose peak memory is shown.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_integer("items", 1_000_000, "how many items", flag_values=FLAGS)
flags.DEFINE_integer("latent", 64, "size of the vectors, without --like", flag_values=FLAGS)
flags.DEFINE_float("noise", 0.5, "deviation around the centres", flag_values=FLAGS)
flags.DEFINE_string("like", "", "a run of a model with vectors of items", flag_values=FLAGS)
flags.DEFINE_integer("k", 10, "items in a response", flag_values=FLAGS)
flags.DEFINE_float("recall", 0.95, "required recall of the index", flag_values=FLAGS)
flags.DEFINE_list("batches", ["1", "64"], "users a request", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 100, "rows that are timed, at least 20 requests", flag_values=FLAGS)
flags.DEFINE_string("way", "", "for the processes this one starts", flag_values=FLAGS)

CENTRES, QUERIES, SEEN, NEAREST = 2_000, 1024, 100, 10


def drawn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of items and of queries around common centres."""
    centres = rng.normal(size=(CENTRES, FLAGS.latent))

    def around(n: int) -> np.ndarray:
        noise = rng.normal(scale=FLAGS.noise, size=(n, FLAGS.latent))
        return (centres[rng.integers(CENTRES, size=n)] + noise).astype(np.float32)

    return around(FLAGS.items), around(QUERIES)


def trained(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mixtures of a run's items, and its users."""
    import tensorflow as tf

    import tfrec

    model = tfrec.load(FLAGS.like).model
    known = model.candidate_vectors(tf.range(model.info.n_items)).numpy()
    users = rng.choice(model.info.n_users, QUERIES, replace=False).astype(np.int32)
    unit = known / np.linalg.norm(known, axis=1, keepdims=True)
    nearest = np.argsort(-unit @ unit.T, axis=1)[:, :NEAREST]
    item = rng.integers(len(known), size=FLAGS.items)
    other = nearest[item, rng.integers(NEAREST, size=FLAGS.items)]
    share = rng.random((FLAGS.items, 1), np.float32)
    mixed = share * known[item] + (1 - share) * known[other]
    return mixed, model.query_vectors({"user": tf.constant(users)}).numpy()


def write_all(folder: pathlib.Path) -> None:
    """A SavedModel for each way, and the queries."""
    import tensorflow as tf

    from tfrec import ranking
    from tfrec.serving import approximate, inverted_lists
    from tfrec.serving.index import Index

    rng = np.random.default_rng(0)
    vectors, queries = trained(rng) if FLAGS.like else drawn(rng)
    seen = rng.integers(FLAGS.items, size=(QUERIES, SEEN)).astype(np.int32)
    np.savez(folder / "queries.npz", queries=queries, seen=seen)
    start = time.perf_counter()
    lists = inverted_lists.build(vectors)
    print(f"{len(lists.items):,} lists of {FLAGS.items:,} items built in "
          f"{time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
    index = Index(vectors, lists, FLAGS.k)
    half = [(tf.constant(queries[s : s + 32]), tf.constant(seen[s : s + 32]))
            for s in range(0, QUERIES // 4, 32)]  # fmt: skip
    index.n_probe = approximate.choose(index, half, FLAGS.recall)
    items = tf.Variable(vectors, trainable=False)
    n, k = FLAGS.items, FLAGS.k

    def blocks(q, s):
        return ranking.top_k_by_blocks(
            lambda some: tf.matmul(q, tf.gather(items, some), transpose_b=True), n, s, k, 1 << 16
        )

    whole = (lambda q, s: ranking.top_k(tf.matmul(q, items, transpose_b=True), s, k), [items])
    parts = [index.vectors, index.items, index.keys, index.scale, index.where]
    ways = {"exact": whole, "blocks": (blocks, [items]), "ivf": (index.search, parts)}
    for name, (function, variables) in ways.items():
        saved = tf.Module()
        saved.read = variables
        spec = [
            tf.TensorSpec([None, vectors.shape[1]], name="q"),
            tf.TensorSpec([None, None], tf.int32, "s"),
        ]
        served = tf.function(lambda q, s, f=function: {"items": f(q, s)[1]}, input_signature=spec)
        tf.saved_model.save(saved, folder / name, signatures={"serving_default": served})


def measure(path: pathlib.Path) -> dict:
    """Costs by batch size, and the answers to all queries."""
    import tensorflow as tf

    with np.load(path.parent / "queries.npz") as file:
        queries, seen = file["queries"], file["seen"]
    loaded = tf.saved_model.load(path)
    ask = loaded.signatures["serving_default"]
    costs, found = {}, {}
    for batch in map(int, FLAGS.batches):
        times, cpu = [], time.process_time()
        for n in range(max(20, FLAGS.rounds // batch) + 1):
            rows = np.arange(n * batch, (n + 1) * batch) % QUERIES
            request = tf.constant(queries[rows]), tf.constant(seen[rows])
            start = time.perf_counter()
            answer = ask(q=request[0], s=request[1])
            found |= dict(zip(rows.tolist(), answer["items"].numpy().tolist(), strict=True))
            times.append(1000 * (time.perf_counter() - start))
            if not n:
                cpu = time.process_time()
        spent = 1000 * (time.process_time() - cpu) / (len(times) - 1) / batch
        p50, p99 = np.percentile(times[1:], [50, 99]).tolist()
        costs[batch] = {"p50": p50, "p99": p99, "cpu": spent}
    (peak,) = re.findall(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())
    return {"costs": costs, "mb": int(peak) // 1024, "found": found}


def main() -> None:
    """All ways, one after the other."""
    cli.start_tensorflow()
    if FLAGS.way:
        print(json.dumps(measure(pathlib.Path(FLAGS.way))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_all(folder)
        results = {}
        for way in ("exact", "blocks", "ivf"):
            words = [sys.executable, __file__, *sys.argv[1:], f"--way={folder / way}"]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            results[way] = json.loads(done.stdout.splitlines()[-1])
    due = results["exact"]["found"]
    print(f"{'way':>7} {'batch':>5} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms/row':>10} "
          f"{'peak MB':>8} recall@{FLAGS.k}")  # fmt: skip
    for way, result in results.items():
        rows = [row for row in result["found"] if row in due]
        recall = np.mean([len({*result["found"][r]} & {*due[r]}) / FLAGS.k for r in rows])
        for batch, cost in result["costs"].items():
            print(f"{way:>7} {batch:>5} {cost['p50']:>8.1f} {cost['p99']:>8.1f} "
                  f"{cost['cpu']:>10.2f} {result['mb']:>8,} {recall:.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    cli.run(main, FLAGS, "Top k: exact, by blocks, by an index.",
            "python benchmarks/large_catalogue.py")  # fmt: skip
