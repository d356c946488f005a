"""Compares two stages with each stage alone: quality on a held-out part, and cost.

    python benchmarks/two_stage.py --retrieve=runs/ease --rank=runs/deepfm

Relevant are held-out interactions of the data's highest rating (of likes: the likes). Input is what
the protocol of the part allows, and is excluded. The event's own fields are unknown.
"""

import time

import numpy as np
from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_list("retrieve", [], "runs whose best items are candidates", flag_values=FLAGS)
flags.DEFINE_string("rank", "", "the run that ranks them", flag_values=FLAGS)
flags.DEFINE_list("candidates", ["20", "50", "200"], "from each retriever", flag_values=FLAGS)
flags.DEFINE_string("part", "validation", "validation or test", flag_values=FLAGS)
flags.DEFINE_integer("k", 10, "items in a response", flag_values=FLAGS)
flags.DEFINE_integer("batch", 32, "users a request", flag_values=FLAGS)


def ways(folder: str) -> dict:
    """Functions of users, histories and what is seen to the k best items, by name."""
    import pathlib

    import tfrec
    from tfrec.serving import signatures, two_stage
    from tfrec.serving.answers import EXAMPLES
    from tfrec.serving.known_users import UserTopK

    titles = pathlib.Path(folder) / "titles.txt"
    ranker, found = tfrec.load(FLAGS.rank), {}
    retrievers = [tfrec.load(path) for path in FLAGS.retrieve]
    for run in (*retrievers, ranker):
        top = signatures.make(run.model, run.data_dir, FLAGS.k, titles)
        by_user = isinstance(top, UserTopK)
        found[f"{run.config.model} alone"] = lambda users, history, seen, top=top, by=by_user: (
            top.top(users if by else history, seen)[1]
        )
    models = [(run.model, run.data_dir) for run in retrievers]
    for n in map(int, FLAGS.candidates):
        top = two_stage.make(ranker.model, ranker.data_dir, FLAGS.k, titles, models, n)
        sample = top.ranker.scorer.samples()
        unknown = {name: sample[name][EXAMPLES:] for name in top.context}

        def staged(users, history, seen, top=top, unknown=unknown):
            import tensorflow as tf

            event = {name: tf.repeat(x, tf.size(users)) for name, x in unknown.items()}
            return top.best(users, history, seen, tf.fill([tf.size(users), 0], -1), event)[1]

        found[f"two stages, {n}"] = staged
    return found, ranker


def gains(items: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """NDCG and recall of a row's items, `[k]`, by its relevant ones."""
    hits = np.isin(items, targets)
    discounts = 1 / np.log2(np.arange(2, len(items) + 2))
    ideal = discounts[: len(targets)].sum()
    return (hits * discounts).sum() / ideal, hits.sum() / min(len(targets), len(items))


def main() -> None:
    """All ways on the same rows."""
    cli.start_tensorflow()
    import tempfile

    import tensorflow as tf

    from tfrec.data import inputs

    with tempfile.TemporaryDirectory() as folder:
        found, ranker = ways(folder)
        info = ranker.info
        rows = list(inputs.histories(ranker.data_dir, info, FLAGS.part, FLAGS.batch))
        spec = tf.TensorSpec([None, None], tf.int32)
        print(f"{'':24} ndcg@{FLAGS.k} recall@{FLAGS.k}  CPU ms/row    rows")
        for name, way in found.items():
            served = tf.function(
                lambda users, items, values, way=way: way(
                    users, {"user": tf.fill(tf.shape(users), -1), "items": items, "values": values},
                    items,
                ),
                input_signature=[tf.TensorSpec([None], tf.int32), spec,
                                 tf.TensorSpec([None, None], tf.float32)],
            )  # fmt: skip
            results, spent = [], 0.0
            for n, (features, targets) in enumerate([rows[0], *rows]):
                start = time.process_time()
                best = served(features["user"], features["items"], features["values"]).numpy()
                if not n:
                    continue  # traced
                spent += time.process_time() - start
                good = targets["target_values"].numpy() >= info.rating_max
                held = np.where(good, targets["target_items"].numpy(), -1)
                results += [
                    gains(items, row[row >= 0])
                    for items, row in zip(best, held, strict=True)
                    if (row >= 0).any()
                ]
            ndcg, recall = np.mean(results, axis=0)
            cost = 1000 * spent / len(rows) / FLAGS.batch
            print(
                f"{name:24} {ndcg:.4f}  {recall:.4f} {cost:>11.2f} {len(results):>7,}", flush=True
            )


if __name__ == "__main__":
    cli.run(main, FLAGS, "Two stages against one.",
            "python benchmarks/two_stage.py --retrieve=RUN --rank=RUN")  # fmt: skip
