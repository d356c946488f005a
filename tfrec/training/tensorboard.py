"""What a run writes for TensorBoard: curves, hyperparameters with final metrics, item vectors.

All is in one folder, `logs` of the run directory, which is one run of TensorBoard. A step is an
epoch, from 1 as in `history.csv`. docs/watching.md explains the curves.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import api as hparams_api
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams_summary

from tfrec.config import TrainConfig
from tfrec.data import vocabulary
from tfrec.models.base import Recommender
from tfrec.schema import ITEMS_FILE, DatasetInfo
from tfrec.training.run_config import RunConfig

MAX_POINTS = 10_000  # that the projector shows smoothly
VECTORS_FILE, NAMES_FILE = "items.tsv", "items-names.tsv"
GROUPS = {
    "learning_rate": "optimizer",
    "gradient_norm": "optimizer",
    "skipped_steps": "optimizer",
    "seconds": "speed",
    "cpu_seconds": "speed",
    "examples_per_second": "speed",
    "input_wait": "speed",
}  # all other logs belong to the group "loss"


def tag(name: str) -> str:
    """TensorBoard's tag of an epoch's log, such as "loss/kl" or "validation/rmse"."""
    if name.startswith("val_"):
        return f"validation/{name.removeprefix('val_')}"
    return f"{GROUPS.get(name, 'loss')}/{name}"


class Curves(keras.callbacks.Callback):
    """Writes an epoch's logs as scalars.

    Args:
        folder: The folder of the files; a resumed run appends to it.
        start: Arguments of `write_start`, which is called before the first epoch of a new run.
        histograms: Whether to write a histogram of each trainable weight as well.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        start: tuple[RunConfig, DatasetInfo] | None = None,
        histograms: bool = False,
    ):
        super().__init__()
        self.folder, self.start, self.histograms = folder, start, histograms

    def on_train_begin(self, logs: dict | None = None) -> None:
        is_new = not any(self.folder.glob("events*"))
        self._writer = tf.summary.create_file_writer(str(self.folder))
        if is_new and self.start:
            with self._writer.as_default(step=0):
                write_start(*self.start)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        with self._writer.as_default(step=epoch + 1):
            for name, value in (logs or {}).items():
                if not name.startswith("val_n_"):  # counts, the same in each epoch
                    tf.summary.scalar(tag(name), value)
            for weight in self.model.trainable_variables if self.histograms else ():
                # Keras numbers models: the second one of a process is mult_vae_1.
                name = weight.path.removeprefix(f"{self.model.name}/")
                tf.summary.histogram(f"weights/{name}", weight)
        self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        self._writer.close()


def write_start(config: RunConfig, info: DatasetInfo) -> None:
    """Writes a run's settings, as hyperparameters and as text, and a summary of its data."""
    hparams_api.hparams(hyperparameters(config))
    settings = {
        "model": config.model,
        "preset": config.preset,
        "strategy": config.strategy,
        "warm_start": config.warm_start,
        "data_dir": config.data_dir,
    }
    parts = {
        "run": {name: value for name, value in settings.items() if value},
        f"--set, of {config.model}": config.settings,
        "--train": dataclasses.asdict(config.train),
        "versions": config.versions,
    }
    tf.summary.text("run/settings", "\n\n".join(_table(*part) for part in parts.items()))
    counts = {f"interactions of {part}": f"{n:,}" for part, n in info.n_ratings.items()}
    dropped = {f"dropped: {why}": f"{n:,}" for why, n in info.dropped.items() if n}
    data = {
        "data": info.name,
        "protocol": info.protocol,
        "fingerprint": info.fingerprint,
        "users": f"{info.n_users:,}",
        "items": f"{info.n_items:,}",
        **counts,
        **dropped,
    }
    tf.summary.text("run/data", _table("data", data))


def hyperparameters(config: RunConfig) -> dict[str, bool | int | float | str]:
    """Hyperparameters for the HParams plugin, by which runs are compared.

    These are the data, the model, its settings and the training settings that change the result,
    named by their flag, such as "set.dropout". TensorBoard shows the first five by name.
    """
    left_out = {*TrainConfig.of_running, "eval_batch_size", "memory_check"}
    train = dataclasses.asdict(config.train)
    found = {
        "model": config.model,
        "dataset": config.data.dataset,
        "split": config.data.split,
        **{f"set.{name}": value for name, value in config.settings.items()},
        **{f"train.{name}": value for name, value in train.items() if name not in left_out},
    }
    plain = (bool, int, float, str)
    return {k: v if isinstance(v, plain) else _text(v) for k, v in found.items()}


def write_end(folder: pathlib.Path, result: Mapping[str, Any]) -> None:
    """Writes the final metrics of a run, for the HParams plugin too.

    Args:
        folder: The folder of the run's `Curves`.
        result: The content of `metrics.json`.
    """
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default(step=result["best_epoch"]):
        for group, part in (("validation_best", "validation"), ("test", "test")):
            for name, value in result[part].items():
                tf.summary.scalar(f"{group}/{name}", value)
        ended = hparams_summary.session_end_pb(api_pb2.STATUS_SUCCESS)
        tf.summary.experimental.write_raw_pb(ended.SerializeToString())
    writer.close()


def write_items(folder: pathlib.Path, model: Recommender, data_dir: str) -> None:
    """Writes item vectors for the projector, with id, title and number of interactions.

    Nothing is written for a model without item vectors. Of more than `MAX_POINTS` items the most
    popular ones are written.

    Args:
        folder: The folder of the run's `Curves`.
        model: A trained model.
        data_dir: Its prepared data.
    """
    found = model.item_vectors()
    if found is None:
        return
    vectors, counts = tf.cast(found, tf.float32).numpy(), model.list_order.counts.numpy()
    chosen = np.argsort(-counts, kind="stable")[:MAX_POINTS]
    ids = vocabulary.read(pathlib.Path(data_dir) / ITEMS_FILE)
    titles = vocabulary.titles(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / VECTORS_FILE, vectors[chosen], fmt="%.6g", delimiter="\t")
    rows = [("title", "item", "interactions")]
    rows += [(titles[i] or ids[i], ids[i], f"{counts[i]:.0f}") for i in chosen]
    lines = ("\t".join(" ".join(text.split()) for text in row) + "\n" for row in rows)
    (folder / NAMES_FILE).write_text("".join(lines))
    config = projector.ProjectorConfig()
    config.embeddings.add(tensor_name="items", tensor_path=VECTORS_FILE, metadata_path=NAMES_FILE)
    projector.visualize_embeddings(str(folder), config)


def _table(title: str, values: Mapping[str, Any]) -> str:
    """A table in Markdown."""
    rows = [f"| {name} | {_text(value)} |" for name, value in values.items()]
    return "\n".join([f"| {title} | |", "|---|---|", *rows])


def _text(value: Any) -> str:
    """A setting's value as text, tuples as flags take them; "-" where it is empty."""
    if isinstance(value, (tuple, list)):
        value = ",".join(map(str, value))
    return "-" if value in ("", None) else str(value)
