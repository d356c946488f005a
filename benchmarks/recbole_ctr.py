"""tfrec's FM and DeepFM against RecBole 1.2.1 (PyTorch): likes of ml-100k, the very same rows.

    python benchmarks/recbole_ctr.py --recbole_python=PATH [--models=fm,deepfm]
        [--out=runs/recbole_ctr]

PATH is the Python of RecBole's own environment; recbole.py describes how to make it.

A rating above 3 is the label 1, any other 0; inputs are the ids of user and item. tfrec splits
(at random by rating, 10 % test, 10 % of the rest validation) and writes the parts as RecBole's
atomic files, which RecBole uses unchanged. RecBole runs with its defaults (its epoch by
validation AUC) and tuned; tuned RecBole and tfrec have 12 trials each (GRIDS), the same
batch, patience and criterion: validation log loss chooses the epoch and the trial, and only
the chosen one reads the test part. tfrec's report measures the test logits of both sides and
must give RecBole's own AUC and log loss.

Speed is the CPU seconds of an epoch of training without validation, with the batch and sizes of
SPEED on both sides; the first epoch is not counted. RecBole has one thread, tfrec any number: CPU
seconds are those of all threads.
"""

import itertools
import pathlib
import statistics
import time

import peers
from absl import flags

from tfrec import cli

FLAGS = peers.flags_of([], "runs/recbole_ctr")
flags.DEFINE_integer("split_seed", 0, "seed of the random split", flag_values=FLAGS)

PARTS = ("train", "validation", "test")
PEERS = {"fm": "FM", "deepfm": "DeepFM"}  # RecBole's name by tfrec's
SHOWN = ("auc", "logloss")

# Settings that differ from the defaults in all trials, by side.
THEIRS = {"train_batch_size": 1024, "valid_metric": "LogLoss", "stopping_step": 5, "epochs": 100}
OURS = {"task": "ctr", "fields": ("user", "item")}
TRAIN = {"batch_size": 1024, "patience": 5, "epochs": 100, "monitor": "logloss", "refit": False}

# By model: the grids of RecBole and of tfrec, of which all combinations are tried. The values are
# around the best ones of a first search on validation: about thirty trials a side for both models,
# and seven more of tfrec's DeepFM after its MLP had got `l2`.
GRIDS: dict[str, tuple[dict[str, list], dict[str, list]]] = {
    "fm": (
        {
            "learning_rate": [0.001, 0.003],
            "embedding_size": [32, 64],
            "weight_decay": [2e-5, 4e-5, 6e-5],
        },
        {
            "learning_rate": [0.001, 0.002],
            "latent": [32, 64],
            "regularization": [0.015, 0.02, 0.025],
        },
    ),
    "deepfm": (
        {
            "learning_rate": [0.001, 0.003],
            "mlp_hidden_size": [[128, 128, 128], [64]],
            "weight_decay": [2e-4, 3e-4, 5e-4],
        },
        {
            "learning_rate": [0.001, 0.002],
            "regularization": [0.015, 0.02, 0.025],
            "l2": [0.004, 0.006],
        },
    ),
}
ALSO = {
    "fm": ({}, {"deviation": 0.02}),
    "deepfm": (
        {"embedding_size": 32, "dropout_prob": 0.2},
        {"latent": 64, "hidden": (64,), "dropout": 0.2, "deviation": 0.02},
    ),
}

EPOCHS = 5  # counted for the speed
HIDDEN = (128, 128, 128)
SPEED: dict[str, tuple[dict, dict]] = {
    "fm": ({"embedding_size": 16}, {"latent": 16}),
    "deepfm": (
        {"embedding_size": 16, "mlp_hidden_size": list(HIDDEN), "dropout_prob": 0.2},
        {"latent": 16, "hidden": HIDDEN, "dropout": 0.2},
    ),
}


def main() -> None:
    """Runs RecBole, then tfrec; prints the table and writes `out`/results.json."""
    import tfrec

    names, out = peers.given(FLAGS, PEERS)
    likes = tfrec.Dataset.load("ml-100k")
    data = likes.split("random", label_above=3.0, seed=FLAGS.split_seed)
    for part in PARTS:
        write_events(out / "recbole" / "events", data, part)
    found = peers.run_jobs(FLAGS.recbole_python, jobs(names), out / "recbole")
    lines, speed = [], []
    for name in names:
        ours, report = run_ours(name, data, out, FLAGS.seed)
        sides = (found[f"{name}-{side}"] for side in ("default", "tuned"))
        lines += [ours, *(compared(peer, report, data) for peer in sides)]
        theirs = found[f"{name}-speed"]["cpu_seconds"]
        speed.append(speed_line(name, our_seconds(name, data, out), theirs))
    content = {"protocol": report.protocol, "results": lines, "speed": speed}
    peers.write_results(out / "results.json", content)
    print_results(content)


def combinations(grid: dict[str, list]) -> list[dict]:
    """All combinations of the values of `grid`."""
    return [dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*grid.values())]


def jobs(names: list[str]) -> list[dict]:
    """RecBole's jobs for each of `names`: its defaults, its grid, its speed."""
    found = []
    for name in names:
        trials = [{**THEIRS, **ALSO[name][0], **c} for c in combinations(GRIDS[name][0])]
        speed = {"settings": {**THEIRS, **SPEED[name][0]}, "epochs": EPOCHS}
        for side, what in (("default", {"trials": [{}]}), ("tuned", {"trials": trials})):
            found.append({"name": f"{name}-{side}", "side": f"RecBole {side}", **what})
        found.append({"name": f"{name}-speed", "side": "RecBole", **speed})
        for job in found[-3:]:
            job.update(model=name, recbole=PEERS[name])
    return found


def write_events(out: pathlib.Path, data, part: str) -> None:
    """Writes one part as RecBole's atomic file `out`/events.`part`.inter: raw ids and labels."""
    users, items = vocabularies(data)
    lines = ["user_id:token\titem_id:token\tlabel:float"]
    for features, targets in events(data, part):
        columns = (features["user"], features["item"], targets["value"])
        for user, item, value in zip(*(c.numpy() for c in columns), strict=True):
            if user >= 0:
                lines.append(f"{users[user]}\t{items[item]}\t{value:g}")
    out.mkdir(parents=True, exist_ok=True)
    (out / f"events.{part}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")


def events(data, part: str):
    """All events of a part, with the last batch filled up."""
    from tfrec.data import inputs

    return inputs.events(data.data_dir, data.info, part, 4096, fill=True)


def vocabularies(data) -> list[list[str]]:
    """Raw ids of users and of items, by position."""
    from tfrec import schema
    from tfrec.data import vocabulary

    return [vocabulary.read(data.data_dir / x) for x in (schema.USERS_FILE, schema.ITEMS_FILE)]


def train(name: str, changes: dict, data, path: pathlib.Path, **options):
    """A run with `changes` of settings of the model or of training; does not read the test part."""
    import tfrec

    settings = {**OURS, **TRAIN, **changes}
    return tfrec.fit(
        name,
        data,
        run_dir=path,
        overwrite=True,
        check_export=False,
        test=False,
        **settings,
        **options,
    )


def run_ours(name: str, data, out: pathlib.Path, seed: int):
    """Trains all trials, tests the best; returns a line of the table and the test report."""
    import keras

    cpu: list[float] = []

    def note(logs=None):
        cpu.append(time.process_time())

    watch = keras.callbacks.LambdaCallback(on_train_begin=note, on_train_end=note)
    found, best = [], None
    for number, changes in enumerate(combinations(GRIDS[name][1])):
        changes = {**ALSO[name][1], **changes}
        path = out / "runs" / f"{name}-{number}"
        run = train(name, changes, data, path, seed=seed, callbacks=[watch])
        measured = shown(run.metrics["validation"])
        line = {"settings": {**TRAIN, **OURS, **changes}, "validation": measured}
        line |= {"epochs": run.metrics["epochs"], "cpu_seconds": cpu[-1] - cpu[-2]}
        found.append(line)
        print(name, changes, line["validation"], flush=True)
        if best is None or line["validation"]["logloss"] < best[1]["validation"]["logloss"]:
            best = run, line
    run, line = best
    report = measure(data, run.model.score)
    line = {**line, "test": shown(report.result()), "trials": found}
    return {"model": name, "side": "tfrec", **line}, report


def our_seconds(name: str, data, out: pathlib.Path) -> list[float]:
    """CPU seconds of each of EPOCHS epochs of training after the first, without validation."""
    changes = {**SPEED[name][1], "epochs": 1 + EPOCHS, "patience": 0}
    run = train(name, changes, data, out / "runs" / f"{name}-speed")
    return run.history["cpu_seconds"].tolist()[1:]


def speed_line(name: str, ours: list[float], theirs: list[float]) -> dict:
    """Medians of both sides, and RecBole's time over tfrec's."""
    a, b = statistics.median(ours), statistics.median(theirs)
    sides = {"tfrec": a, "RecBole": b, "tfrec_all": ours, "RecBole_all": theirs}
    return {"model": name, "settings": SPEED[name][1], **sides, "ratio": b / a}


def measure(data, score):
    """The test report of `score`.

    Args:
        data: Prepared data.
        score: From features to logits `[batch]`.
    """
    from tfrec import metrics

    report = metrics.CtrReport(data.info)
    for features, targets in events(data, "test"):
        report.update(features, targets, score(features))
    return report


def logit_scores(data, logits: list[list]):
    """A function from features to RecBole's logits.

    Args:
        data: Prepared data.
        logits: Lists of raw user id, raw item id and logit, one for each test event.

    Raises:
        ValueError: they are not of the test events.
    """
    import numpy as np

    users, items = vocabularies(data)
    logit = {(user, item): value for user, item, value in logits}
    if not len(logits) == len(logit) == data.info.n_ratings["test"]:
        raise ValueError(f"{len(logits)} logits of {data.info.n_ratings['test']} test events")

    def score(features):
        pairs = zip(features["user"].numpy(), features["item"].numpy(), strict=True)
        return np.array([logit[users[u], items[i]] if u >= 0 else 0.0 for u, i in pairs])

    return score


def compared(peer: dict, report, data) -> dict:
    """RecBole's line of the table; see `peers.compared`."""
    theirs = measure(data, logit_scores(data, peer.pop("logits")))
    return peers.compared(peer, report, theirs, SHOWN, 1e-4, ("logloss", "gauc"))


def shown(measured: dict) -> dict[str, float]:
    """The two metrics of the table."""
    return peers.shown(measured, SHOWN)


def print_results(content: dict) -> None:
    """Both tables."""
    print(f"{'model':8} {'side':16} {'AUC':>7} {'logloss':>8} {'valid.':>7} {'CPU s':>6}  settings")
    for line in content["results"]:
        numbers = (*line["test"].values(), line["validation"]["logloss"], line["cpu_seconds"])
        text = "{:7.4f} {:8.4f} {:7.4f} {:6.1f}".format(*numbers)
        settings = " ".join(f"{k}={v}" for k, v in line["settings"].items()) or "-"
        print(f"{line['model']:8} {line['side']:16} {text}  {settings}")
        peers.print_leads(line)
    for line in content["speed"]:
        print(
            f"{line['model']:8} CPU s an epoch: tfrec {line['tfrec']:.2f}, RecBole (one thread) "
            f"{line['RecBole']:.2f}: {line['ratio']:.2f} times tfrec's"
        )


if __name__ == "__main__":
    cli.run(
        main,
        FLAGS,
        "Compares tfrec's FM and DeepFM with RecBole's on likes of ml-100k.",
        "python benchmarks/recbole_ctr.py --recbole_python=recbole-env/bin/python",
    )
