"""SASRec and BERT4Rec against RecBole's on ml-100k: CPU seconds an epoch, and NDCG@10.

    python benchmarks/recbole_sequence.py --recbole_python=PATH [--models=sasrec] [--epochs=1]

PATH as in recbole.py. Both sides hold out each user's last item for test and the last but one for
validation, learn from the same sequences with the same sizes (width 64, 2 blocks, 2 heads, inner
256, window 50), and rank all unseen items. An epoch is not the same work: RecBole makes a training
sample of every prefix, tfrec has a row a user and predicts at all of its positions. So the ratio of
the seconds does not compare the time to a quality. Each side trains `--epochs` epochs and is then
tested; with --ours_epochs tfrec also trains another run of that many epochs, with its epoch chosen
on validation, and tests it. One thread a side; seconds are CPU seconds of training alone.
"""

import json
import pathlib

import peers
from absl import flags

from tfrec import cli

FLAGS = peers.flags_of(["sasrec", "bert4rec"], "runs/recbole_sequence")
flags.DEFINE_integer("epochs", 1, "epochs of both sides", flag_values=FLAGS)
flags.DEFINE_integer(
    "ours_epochs", 0, "epochs of another run of tfrec, 0 for none", flag_values=FLAGS
)

PEERS = {"sasrec": "SASRec", "bert4rec": "BERT4Rec"}
SIZES = {"window": 50, "width": 64, "blocks": 2, "heads": 2}
# A batch is of rows, not of prefixes: it is small, for enough steps in an epoch of few rows.
# RecBole keeps its own settings.
OURS = {
    "sasrec": ({**SIZES, "loss": "softmax", "attention_dropout": 0.0}, {"learning_rate": 1e-3}),
    "bert4rec": (
        {**SIZES, "attention_dropout": 0.0, "mask": 0.3},
        {"optimizer": "adam", "weight_decay": 0.0, "learning_rate": 1e-3},
    ),
}
ALWAYS = {"batch_size": 16, "monitor": "ndcg@10", "refit": False}


def main() -> None:
    """Runs RecBole, then tfrec on the same sequences; prints a line a side."""
    names, out = peers.given(FLAGS, PEERS)
    found = peers.run_jobs(FLAGS.recbole_python, jobs(names), out / "recbole")
    one_thread()
    data = read_sequences(out / "recbole" / "sequences.json")
    lines = []
    for name in names:
        lines += [found[name], run_ours(name, data, out, FLAGS.epochs)]
        if FLAGS.ours_epochs:
            lines.append(run_ours(name, data, out, FLAGS.ours_epochs))
    peers.write_results(out / "results.json", lines)
    print(
        f"{'model':9} {'side':8} {'epochs':>6} {'CPU s an epoch':>15} {'NDCG@10':>8} {'HR@10':>7}"
    )
    for line in lines:
        print(
            f"{line['model']:9} {line['side']:8} {line['epochs']:>6} {line['cpu_seconds']:>15.1f} "
            f"{line['ndcg@10']:>8.4f} {line['hr@10']:>7.4f}"
        )


def jobs(names: list[str]) -> list[dict]:
    """RecBole's jobs: each model for --epochs epochs."""
    shared = {"side": "RecBole", "sequence_epochs": FLAGS.epochs}
    return [{"name": n, "model": n, "recbole": PEERS[n], **shared} for n in names]


def one_thread() -> None:
    """Limits TensorFlow to one thread, like RecBole."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def read_sequences(path: pathlib.Path):
    """Prepares the sequences that RecBole wrote; the last two items of each are held out."""
    import pandas as pd

    import tfrec

    sequences = json.loads(path.read_text())
    frame = pd.DataFrame(
        [(u, i, time) for u, items in sequences.items() for time, i in enumerate(items)],
        columns=["user", "item", "time"],
    )
    data = tfrec.Dataset.from_pandas(frame, time="time", name="ml-100k")
    return data.split("last", shards=1)


def run_ours(name: str, data, out: pathlib.Path, epochs: int) -> dict:
    """Trains for `epochs`, keeps the best by validation, tests once."""
    import tfrec

    settings, train = OURS[name]
    run = tfrec.fit(
        name,
        data,
        run_dir=out / f"{name}-{epochs}",
        overwrite=True,
        check_export=False,
        **settings,
        **{**ALWAYS, **train, "epochs": epochs, "seed": FLAGS.seed},
    )
    return {
        "model": name,
        "side": "tfrec",
        "epochs": run.metrics["epochs"],
        "cpu_seconds": run.history["cpu_seconds"].mean(),
        **{metric: run.metrics["test"][metric] for metric in ("ndcg@10", "hr@10")},
    }


if __name__ == "__main__":
    cli.run(
        main,
        FLAGS,
        "Compares tfrec's sequence models with RecBole's on ml-100k.",
        "python benchmarks/recbole_sequence.py --recbole_python=recbole-env/bin/python",
    )
