"""RecBole's side of recbole.py, recbole_ctr.py and recbole_sequence.py, in its own environment.

    PYTHON -I recbole_side.py JOBS.json OUT_DIR

JOBS.json is a list of {"name", "recbole", "settings"}. Writes the interactions of RecBole's
default split (by user, at random, 80/10/10) to OUT_DIR/train.csv, validation.csv and test.csv
(user, item: raw ids), and for each job OUT_DIR/<name>.json with RecBole's own metrics, the
lists behind them and the time.

Jobs with "trials" instead of "settings" (a list of settings) train on the labelled events of
OUT_DIR/events; the best trial by validation log loss is tested, and its logits are written. Jobs
with "epochs" measure the time of that many epochs there. Jobs with "sequence_epochs" train on
sequences, leave-one-out by time, for that many epochs, and write every user's whole sequence of raw
item ids to OUT_DIR/sequences.json.

Does not import tfrec; -I prevents recbole.py in this folder from hiding the package of that name.
"""

import csv
import json
import os
import pathlib
import sys
import tempfile
import time

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # RecBole loads its own pickled checkpoint

import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

DATA = str(pathlib.Path(recbole.__file__).parent / "dataset_example")
BOTH = {"metric_decimal_place": 6, "use_gpu": False, "show_progress": False, "state": "ERROR"}
ALWAYS = {**BOTH, "data_path": DATA, "metrics": ["NDCG", "Recall", "MRR"], "topk": [10]}
# The files are the split, which RecBole uses unchanged.
CTR = {
    **BOTH,
    "benchmark_filename": ["train", "validation", "test"],
    "load_col": {"inter": ["user_id", "item_id", "label"]},
}
SEQUENCES = {
    **BOTH,
    "data_path": DATA,
    "metrics": ["NDCG", "Hit"],
    "topk": [10],
    "valid_metric": "NDCG@10",
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    "eval_batch_size": 10_000_000,
    "MAX_ITEM_LIST_LENGTH": 50,
    "hidden_size": 64,
    "inner_size": 256,
    "n_layers": 2,
    "n_heads": 2,
    "train_neg_sample_args": None,
}


def run(model_name, settings, out_dir):
    """Trains one model with RecBole's own trainer; the epoch is chosen on validation.

    Args:
        model_name: RecBole's name, such as "MultiVAE".
        settings: RecBole settings other than its defaults.
        out_dir: Directory of the interactions.

    Returns:
        Validation and test metrics (dicts), "cpu_seconds" and "seconds" of training with its
        validation passes, and "top": raw item ids by raw user id, best first.
    """
    config = Config(model=model_name, dataset="ml-100k", config_dict={**ALWAYS, **settings})
    parts = prepare(config)
    for name, part in zip(("train", "validation", "test"), parts):  # noqa: B905  Python 3.8
        write(out_dir / (name + ".csv"), part._dataset)
    train, validation, test = parts
    trainer, result = fit(config, train, validation)
    result["test"] = dict(trainer.evaluate(test, load_best_model=True, show_progress=False))
    result["top"] = top_lists(trainer, test)
    return result


def prepare(config):
    """RecBole's loaders of the train, validation and test part."""
    init_seed(config["seed"], config["reproducibility"])
    parts = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], config["reproducibility"])  # as RecBole's quick start does
    return parts


def make(config, train):
    """RecBole's trainer of a new model."""
    model = get_model(config["model"])(config, train._dataset)
    return get_trainer(config["MODEL_TYPE"], config["model"])(config, model)


def fit(config, train, validation):
    """Trains a new model; returns the trainer and the results before the test."""
    wall, cpu = time.perf_counter(), time.process_time()
    trainer = make(config, train)
    _, best = trainer.fit(train, validation, show_progress=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    result = {"validation": dict(best), "seconds": wall, "cpu_seconds": cpu}
    return trainer, {**result, "epochs": len(trainer.train_loss_dict)}


def run_trials(model_name, trials, out_dir):
    """Trains all `trials`, and tests only the one with the least validation log loss.

    Args:
        model_name: RecBole's name, such as "FM".
        trials: A list of RecBole settings other than its defaults.
        out_dir: Directory with the folder "events".

    Returns:
        As `run`, of the best trial, its "settings", and instead of "top" the "logits": lists of
        raw user id, raw item id and logit. "trials" has the validation results of each trial.
    """
    found, best = [], None
    for number, settings in enumerate(trials):
        # RecBole names its checkpoints by the second.
        config = ctr_config(model_name, out_dir, {**settings, "checkpoint_dir": f"trial-{number}"})
        train, validation, test = prepare(config)
        trainer, result = fit(config, train, validation)
        found.append({"settings": settings, **result})
        print(model_name, settings, result["validation"], flush=True)
        if best is None or logloss(result) < logloss(best[2]):
            best = trainer, test, found[-1]
    trainer, test, result = best
    measured = trainer.evaluate(test, load_best_model=True, show_progress=False)
    more = {"test": dict(measured), "logits": logits(trainer.model, test), "trials": found}
    return {**result, **more}


def ctr_config(model_name, out_dir, settings):
    """RecBole's configuration for the events of `out_dir`."""
    settings = {**CTR, "data_path": str(out_dir), **settings}
    return Config(model=model_name, dataset="events", config_dict=settings)


def logloss(result):
    """The log loss of the validation part."""
    return result["validation"]["logloss"]


@torch.no_grad()
def logits(model, test):
    """`[raw user id, raw item id, logit]` of all events of a part."""
    model.eval()
    dataset, found = test._dataset, []
    for events, *_ in test:
        names = [dataset.id2token(f, events[f]) for f in (dataset.uid_field, dataset.iid_field)]
        found += [
            [str(user), str(item), logit]
            for user, item, logit in zip(*names, model.forward(events).tolist())  # noqa: B905
        ]
    return found


def run_epochs(model_name, settings, epochs, out_dir):
    """CPU seconds of each of `epochs` epochs of training after the first, without validation."""
    config = ctr_config(model_name, out_dir, settings)
    train, _, _ = prepare(config)
    trainer, seconds = make(config, train), []
    for epoch in range(1 + epochs):
        cpu = time.process_time()
        trainer._train_epoch(train, epoch, show_progress=False)
        seconds.append(time.process_time() - cpu)
    return {"cpu_seconds": seconds[1:]}


def run_sequences(model_name, epochs, out_dir):
    """Trains for `epochs` and tests the last; CPU seconds are those of an epoch of training."""
    config = Config(
        model=model_name, dataset="ml-100k", config_dict={**SEQUENCES, "epochs": epochs}
    )
    train, validation, test = prepare(config)
    found = json.dumps(sequences((train, validation, test)))
    (out_dir / "sequences.json").write_text(found)
    trainer, cpu = make(config, train), 0.0
    for epoch in range(epochs):
        begun = time.process_time()
        trainer._train_epoch(train, epoch, show_progress=False)
        cpu += time.process_time() - begun
    result = trainer.evaluate(test, load_best_model=False, show_progress=False)
    metrics = {"ndcg@10": result["ndcg@10"], "hr@10": result["hit@10"]}
    return {"epochs": epochs, "cpu_seconds": cpu / epochs, **metrics}


def sequences(parts):
    """Raw item ids by raw user id, oldest first, from the parts' samples (prefix and target)."""
    found = {}
    for part in parts:
        dataset = part._dataset
        users = dataset.id2token("user_id", dataset.inter_feat["user_id"])
        items = dataset.id2token("item_id", dataset.inter_feat["item_id"])
        lists = dataset.inter_feat["item_id_list"]
        for user, item, before in zip(users, items, lists):  # noqa: B905  Python 3.8
            if user not in found:  # the first target's prefix is only the first item
                found[str(user)] = [str(dataset.id2token("item_id", before[0]))]
            found[str(user)].append(str(item))
    return found


def write(path, part):
    """Writes one part of the split as raw ids; raises if a later job has another split."""
    rows = [
        list(part.id2token(field, part.inter_feat[field]))
        for field in (part.uid_field, part.iid_field)
    ]
    lines = sorted([str(user), str(item)] for user, item in zip(*rows))  # noqa: B905
    if path.exists():
        with path.open(newline="") as file:
            if list(csv.reader(file))[1:] != lines:
                raise ValueError(f"{path.name}: RecBole's split differs between two jobs")
        return
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["user", "item"], *lines])


@torch.no_grad()
def top_lists(trainer, test):
    """RecBole's lists: `{raw user id: the 10 best raw item ids}`."""
    dataset, lists = test._dataset, {}
    for batch in test:
        users, scores, _, _ = trainer._full_sort_batch_eval(batch)
        tops = scores.topk(10, dim=1).indices
        names = dataset.id2token(dataset.uid_field, users[dataset.uid_field])
        for user, top in zip(names, tops):  # noqa: B905
            lists[str(user)] = [str(item) for item in dataset.id2token(dataset.iid_field, top)]
    return lists


def main():
    """Runs the jobs one after the other; each writes its file when it is finished."""
    jobs = json.loads(pathlib.Path(sys.argv[1]).read_text())
    out_dir = pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # RecBole writes checkpoints and logs to the current folder
        for job in jobs:
            if "trials" in job:
                result = run_trials(job["recbole"], job["trials"], out_dir)
            elif "epochs" in job:
                result = run_epochs(job["recbole"], job["settings"], job["epochs"], out_dir)
            elif "sequence_epochs" in job:
                result = run_sequences(job["recbole"], job["sequence_epochs"], out_dir)
            else:
                result = run(job["recbole"], job["settings"], out_dir)
            (out_dir / (job["name"] + ".json")).write_text(json.dumps({**job, **result}))


if __name__ == "__main__":
    main()
