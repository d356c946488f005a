"""RecBole's half of recbole.py: splits, trains, measures. Runs in RecBole's own environment.

    PYTHON -I recbole_side.py JOBS.json OUT_DIR

JOBS.json is a list of {"name", "recbole", "settings"}. Writes the interactions of RecBole's
default split (by user, at random, 80/10/10) to OUT_DIR/train.csv, validation.csv and test.csv
(user, item: raw ids), and for each job OUT_DIR/<name>.json with RecBole's own metrics, the
lists behind them and the time. Knows nothing of tfrec; -I keeps recbole.py beside this file
from hiding the package of that name.
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
ALWAYS = {
    "data_path": DATA,
    "metrics": ["NDCG", "Recall", "MRR"],
    "topk": [10],
    "metric_decimal_place": 6,
    "use_gpu": False,
    "show_progress": False,
    "state": "ERROR",
}


def run(model_name, settings, out_dir):
    """Trains one model with RecBole's own trainer; the epoch is chosen on validation.

    Args:
        model_name: RecBole's name, such as "MultiVAE".
        settings: RecBole settings other than its defaults.
        out_dir: Where the interactions go.

    Returns:
        Validation and test metrics (dicts), "cpu_seconds" and "seconds" of training with its
        validation passes, and "top": raw item ids by raw user id, best first.
    """
    config = Config(model=model_name, dataset="ml-100k", config_dict={**ALWAYS, **settings})
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    parts = data_preparation(config, dataset)
    for name, part in zip(("train", "validation", "test"), parts):  # noqa: B905  Python 3.8
        write(out_dir / (name + ".csv"), part._dataset)
    train, validation, test = parts
    init_seed(config["seed"], config["reproducibility"])  # as RecBole's quick start does
    wall, cpu = time.perf_counter(), time.process_time()
    model = get_model(model_name)(config, train._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model_name)(config, model)
    _, best = trainer.fit(train, validation, show_progress=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    result = {"validation": dict(best), "seconds": wall, "cpu_seconds": cpu}
    result["epochs"] = len(trainer.train_loss_dict)
    result["test"] = dict(trainer.evaluate(test, load_best_model=True, show_progress=False))
    result["top"] = top_lists(trainer, test)
    return result


def write(path, part):
    """Writes one part of the split as raw ids, once; a later job must have the same one."""
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
    """What RecBole ranked: `{raw user id: its 10 best raw item ids}`."""
    dataset, lists = test._dataset, {}
    for batch in test:
        users, scores, _, _ = trainer._full_sort_batch_eval(batch)
        tops = scores.topk(10, dim=1).indices
        names = dataset.id2token(dataset.uid_field, users[dataset.uid_field])
        for user, top in zip(names, tops):  # noqa: B905
            lists[str(user)] = [str(item) for item in dataset.id2token(dataset.iid_field, top)]
    return lists


def main():
    """Runs the jobs one after the other; a finished one leaves its file."""
    jobs = json.loads(pathlib.Path(sys.argv[1]).read_text())
    out_dir = pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # RecBole writes checkpoints and logs where it stands
        for job in jobs:
            result = run(job["recbole"], job["settings"], out_dir)
            (out_dir / (job["name"] + ".json")).write_text(json.dumps({**job, **result}))


if __name__ == "__main__":
    main()
