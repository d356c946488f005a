"""Top k of a large catalogue: all scores at once against block by block, side by side.

    python benchmarks/large_catalogue.py --items=1000000 --batch=64

Vectors are random. Each way runs in a process of its own, whose peak memory is what it took
before the first answer subtracted from what it took after the last.
"""

import json
import resource
import subprocess
import sys
import time

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_integer("items", 1_000_000, "how many items", flag_values=FLAGS)
flags.DEFINE_integer("batch", 64, "users a request", flag_values=FLAGS)
flags.DEFINE_integer("latent", 64, "size of the vectors", flag_values=FLAGS)
flags.DEFINE_integer("k", 20, "items an answer holds", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 10, "answers that are timed", flag_values=FLAGS)
flags.DEFINE_string("way", "", "for the processes this one starts", flag_values=FLAGS)


def measure(block: int) -> dict:
    """Milliseconds a request (the median), peak memory and the answers' items."""
    import tensorflow as tf

    from tfrec import ranking

    # Made where they stay: what NumPy would take meanwhile would hide the peak.
    items = tf.random.stateless_normal([FLAGS.items, FLAGS.latent], [0, 1])
    users = tf.random.stateless_normal([FLAGS.batch, FLAGS.latent], [0, 2])
    seen = tf.random.stateless_uniform(
        [FLAGS.batch, 100], [0, 3], maxval=FLAGS.items, dtype=tf.int32
    )

    @tf.function
    def answer():
        if not block:
            return ranking.top_k(tf.matmul(users, items, transpose_b=True), seen, FLAGS.k)
        return ranking.top_k_by_blocks(
            lambda some: tf.matmul(users, tf.gather(items, some), transpose_b=True),
            FLAGS.items, seen, FLAGS.k, block,
        )  # fmt: skip

    before, times = _peak(), []
    for _ in range(FLAGS.rounds + 1):
        start = time.perf_counter()
        found = answer()[1].numpy()
        times.append(time.perf_counter() - start)
    median = sorted(times[1:])[FLAGS.rounds // 2]
    return {"ms": 1000 * median, "mb": _peak() - before, "items": found.tolist()}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """All ways, one after the other."""
    if FLAGS.way:
        cli.start_tensorflow()
        print(json.dumps(measure(int(FLAGS.way))))
        return
    results = {}
    for block in (0, 1 << 18, 1 << 16, 1 << 14):
        words = [sys.executable, __file__, *sys.argv[1:], f"--way={block}"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        results[block] = json.loads(done.stdout.splitlines()[-1])
    whole = results[0]
    print(f"{'block':>9} {'ms':>8} {'peak MB':>8}  same items")
    for block, found in results.items():
        same = found["items"] == whole["items"]
        print(f"{block or FLAGS.items:>9,} {found['ms']:>8.0f} {found['mb']:>8,}  {same}")


if __name__ == "__main__":
    cli.run(main, FLAGS, "Top k at once and by blocks.", "python benchmarks/large_catalogue.py")
