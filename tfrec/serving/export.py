"""Writes a SavedModel version that TF Serving takes, and proves it before publishing."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from tfrec.data import inputs, vocabulary
from tfrec.models.base import Recommender
from tfrec.schema import ITEMS_FILE, USERS_FILE
from tfrec.serving import signatures

REPLAY = "replay.npz"  # requests and answers, beside the model until it is published

# Runs in a process of its own, so that nothing but the files can answer.
CHECK = """
import sys, numpy as np, tensorflow as tf
recommend = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
with np.load(sys.argv[2]) as replay:
    sent = {k[3:]: tf.constant(v) for k, v in replay.items() if k.startswith("in_")}
    due = {k[4:]: v for k, v in replay.items() if k.startswith("out_")}
# Two items whose scores differ by rounding only may change places.
ties = np.isclose(due["scores"][:, 1:], due["scores"][:, :-1], rtol=1e-5, atol=1e-5)
may_swap = np.pad(ties, [(0, 0), (0, 1)]) | np.pad(ties, [(0, 0), (1, 0)])
for name, answer in recommend(**sent).items():
    got, due_here = answer.numpy(), due[name]
    if name == "scores":
        same = np.isclose(got, due_here, rtol=1e-4, atol=1e-4)
    else:
        got = got.astype("S")
        among = (got[:, :, None] == due_here[:, None, :]).any(2)
        same = (got == due_here) | (may_swap & among & (got != b""))
    for row, column in np.argwhere(~same)[:1]:
        got, due_here = got[row, column], due_here[row, column]
        sys.exit(f"{name} of request {row}, place {column}: {got} from the SavedModel, "
                 f"{due_here} from the model")
"""


def export(model: Recommender, data_dir: str, export_dir: str, k: int = 20) -> pathlib.Path:
    """Writes `export_dir/<version>` and returns it.

    The version is one more than the highest there. It is written under a name that TF
    Serving ignores, loaded in a fresh process, its answers compared with the model's, and
    only then renamed.

    Args:
        model: A trained model.
        data_dir: Where its data was prepared.
        export_dir: The model's base path for TF Serving.
        k: Items an answer holds.

    Raises:
        ValueError: the reloaded SavedModel answers differently; nothing is published.
    """
    base = pathlib.Path(export_dir).absolute()
    is_new = not base.exists()
    base.mkdir(parents=True, exist_ok=True)
    aside = base / f".writing-{os.getpid()}"
    aside.mkdir()
    try:
        top = signatures.make(model, data_dir, k, aside / "titles.txt")
        write(top, aside / "model")
        replay(top, data_dir, aside / REPLAY)
        check(aside)
        version = base / str(next_version(base))
        (aside / "model").rename(version)
    except BaseException:
        shutil.rmtree(aside)
        if is_new and not any(base.iterdir()):
            base.rmdir()
        raise
    shutil.rmtree(aside)
    return version


def write(top: signatures.TopK, path: pathlib.Path) -> None:
    """One endpoint, `serving_default`; vocabularies and titles become assets."""
    archive = keras.export.ExportArchive()
    archive.track(top.model)
    for table in top.tables():
        archive.track(table)
    archive.add_endpoint("serving_default", top.recommend)
    archive.write_out(path, verbose=False)


def replay(top: signatures.TopK, data_dir: str, path: pathlib.Path, rows: int = 8) -> None:
    """Notes the model's own answers to a few requests, an empty one among them."""
    sent = example_requests(top, data_dir, rows)
    answer = top.recommend(**{k: tf.constant(v) for k, v in sent.items()})
    due = {
        k: v.numpy().astype("S") if v.dtype == tf.string else v.numpy() for k, v in answer.items()
    }
    np.savez(
        path,
        **{f"in_{k}": v for k, v in sent.items()},
        **{f"out_{k}": v for k, v in due.items()},
    )


def example_requests(top: signatures.TopK, data_dir: str, rows: int) -> dict[str, np.ndarray]:
    """Requests made of the data's own rows, by name of the signature's inputs."""
    if isinstance(top, signatures.UserTopK):
        users = vocabulary.read(pathlib.Path(data_dir) / USERS_FILE)
        return {"user": np.array([*users[:rows], "no such user"])}
    info = top.model.info
    features, _ = next(iter(inputs.histories(data_dir, info, "all", rows, fill=True)))
    items = np.array([*vocabulary.read(pathlib.Path(data_dir) / ITEMS_FILE), signatures.UNKNOWN])
    empty = np.zeros_like(features["values"][:1])
    return {
        "items": np.concatenate([items[features["items"].numpy()], np.full(empty.shape, "")]),
        "values": np.concatenate([features["values"].numpy(), empty]),
    }


def check(aside: pathlib.Path) -> None:
    """Loads the SavedModel in a fresh process and replays the requests."""
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(aside / "model"), str(aside / REPLAY)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        raise ValueError(
            "the exported SavedModel does not answer like the model; nothing was published: "
            + (done.stderr.strip().splitlines() or ["the process that asked it died"])[-1]
        )


def next_version(base: pathlib.Path) -> int:
    """One more than the highest version in `base`."""
    return 1 + max((int(p.name) for p in base.iterdir() if p.name.isdigit()), default=0)


def rest_request(version: pathlib.Path, name: str) -> str:
    """A `curl` line that TF Serving answers from the export in `version`."""
    ids = {
        f: vocabulary.read(version / "assets" / f)[:2]
        for f in (ITEMS_FILE, USERS_FILE)
        if (version / "assets" / f).exists()
    }
    if USERS_FILE in ids:
        body: dict = {"inputs": {"user": ids[USERS_FILE]}}
    else:
        body = {"inputs": {"items": [ids[ITEMS_FILE]], "values": [[5.0, 3.0]]}}
    return f"curl -d '{json.dumps(body)}' http://localhost:8501/v1/models/{name}:predict"
