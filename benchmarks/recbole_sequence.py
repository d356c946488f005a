"""SASRec and BERT4Rec beside RecBole's on ml-100k: CPU seconds an epoch, NDCG@10 after it.

    python benchmarks/recbole_sequence.py --recbole_python=PATH [--models=sasrec] [--epochs=1]

PATH as in recbole.py. Both sides hold out each user's last item for test and the last but one for
validation, learn from the same sequences with the same sizes (width 64, 2 blocks, 2 heads, inner
256, window 50), and rank all unseen items. An epoch is not the same work: RecBole makes a training
sample of every prefix, tfrec has a row a user and predicts at all of its positions. So the ratio of
the seconds says nothing about the time to a quality. Each side trains `--epochs` epochs and is
tested as it then stands; with --ours_epochs tfrec trains that many anew, its epoch chosen on
validation, and is tested once more. One thread a side; seconds are CPU seconds of training alone.
"""

import json
import os
import pathlib
import subprocess

from absl import flags

from tfrec import cli
from tfrec import config as config_lib

FLAGS = flags.FlagValues()
flags.DEFINE_string("recbole_python", "", "as for recbole.py", flag_values=FLAGS)
flags.DEFINE_list("models", ["sasrec", "bert4rec"], "which", flag_values=FLAGS)
flags.DEFINE_integer("epochs", 1, "of both sides", flag_values=FLAGS)
flags.DEFINE_integer("ours_epochs", 0, "of tfrec beyond that, 0 for none", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "of tfrec's training", flag_values=FLAGS)
flags.DEFINE_string("out", "runs/recbole_sequence", "where all is written", flag_values=FLAGS)

PEERS = {"sasrec": "SASRec", "bert4rec": "BERT4Rec"}
SIZES = {"window": 50, "width": 64, "blocks": 2, "heads": 2}
# Rows, not prefixes, make a batch here: a few, for as many steps as an epoch of so few rows can
# have. RecBole keeps its own settings.
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
    python = cli.require(FLAGS, "recbole_python")
    out = pathlib.Path(FLAGS.out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    for name in FLAGS.models:
        if name not in PEERS:
            raise ValueError(f"--models={name}: " + config_lib.known_names(name, PEERS))
    peers = {name: run_recbole(python, name, out) for name in FLAGS.models}
    one_thread()
    data = read_sequences(out / "sequences.json")
    lines = []
    for name in FLAGS.models:
        lines += [peers[name], run_ours(name, data, out, FLAGS.epochs)]
        if FLAGS.ours_epochs:
            lines.append(run_ours(name, data, out, FLAGS.ours_epochs))
    (out / "results.json").write_text(json.dumps(lines, indent=2) + "\n")
    print(
        f"{'model':9} {'side':8} {'epochs':>6} {'CPU s an epoch':>15} {'NDCG@10':>8} {'HR@10':>7}"
    )
    for line in lines:
        print(
            f"{line['model']:9} {line['side']:8} {line['epochs']:>6} {line['cpu_seconds']:>15.1f} "
            f"{line['ndcg@10']:>8.4f} {line['hr@10']:>7.4f}"
        )


def run_recbole(python: str, name: str, out: pathlib.Path) -> dict:
    """Trains RecBole's model for `--epochs` epochs, unless an earlier call has done so.

    Raises:
        ValueError: it failed.
    """
    result = out / f"recbole-{name}-{FLAGS.epochs}.json"
    if not result.exists():
        script = pathlib.Path(__file__).with_name("recbole_sequence_side.py")
        command = [python, "-W", "ignore", "-I", str(script), PEERS[name], str(FLAGS.epochs)]
        command += [str(result), str(out / "sequences.json")]
        if subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode:
            raise ValueError(f"RecBole failed under --recbole_python={python}: see recbole.py")
    return {"model": name, "side": "RecBole", **json.loads(result.read_text())}


def one_thread() -> None:
    """TensorFlow on one thread, like the other side."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def read_sequences(path: pathlib.Path):
    """The sequences RecBole has written, prepared: the last two items of each are held out."""
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
