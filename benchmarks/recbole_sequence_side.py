"""RecBole's half of recbole_sequence.py. Runs in RecBole's own environment.

    PYTHON -I recbole_sequence_side.py MODEL EPOCHS RESULT.json SEQUENCES.json

Trains MODEL on the ml-100k of RecBole's wheel, leave-one-out by time, and writes the CPU seconds
an epoch and the test's metrics to RESULT.json, and every user's whole sequence of raw item ids to
SEQUENCES.json. Knows nothing of tfrec.
"""

import json
import os
import pathlib
import sys
import tempfile
import time

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import recbole
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

SETTINGS = {
    "data_path": str(pathlib.Path(recbole.__file__).parent / "dataset_example"),
    "use_gpu": False,
    "show_progress": False,
    "state": "ERROR",
    "metric_decimal_place": 6,
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


def sequences(parts):
    """Raw item ids by raw user id, oldest first, from the parts' samples (prefix and target)."""
    found = {}
    for part in parts:
        dataset = part._dataset
        users = dataset.id2token("user_id", dataset.inter_feat["user_id"])
        items = dataset.id2token("item_id", dataset.inter_feat["item_id"])
        lists = dataset.inter_feat["item_id_list"]
        for user, item, before in zip(users, items, lists):  # noqa: B905  Python 3.8
            if user not in found:  # the first target's prefix is the first item alone
                found[str(user)] = [str(dataset.id2token("item_id", before[0]))]
            found[str(user)].append(str(item))
    return found


def main():
    """Trains, tests, writes."""
    model_name, epochs, result_path, sequences_path = sys.argv[1:]
    settings = {**SETTINGS, "epochs": int(epochs)}
    config = Config(model=model_name, dataset="ml-100k", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, validation, test = data_preparation(config, dataset)
    pathlib.Path(sequences_path).write_text(json.dumps(sequences((train, validation, test))))
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(model_name)(config, train._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model_name)(config, model)
    cpu = 0.0
    for epoch in range(int(epochs)):
        begun = time.process_time()
        trainer._train_epoch(train, epoch, show_progress=False)
        cpu += time.process_time() - begun
    result = trainer.evaluate(test, load_best_model=False, show_progress=False)
    found = {
        "epochs": int(epochs),
        "cpu_seconds": cpu / int(epochs),
        "ndcg@10": result["ndcg@10"],
        "hr@10": result["hit@10"],
    }
    pathlib.Path(result_path).write_text(json.dumps(found))


if __name__ == "__main__":
    result, written = pathlib.Path(sys.argv[3]).resolve(), pathlib.Path(sys.argv[4]).resolve()
    sys.argv[3:5] = [str(result), str(written)]
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # RecBole writes checkpoints and logs where it stands
        main()
