"""Writes a SavedModel version that TF Serving takes, and proves it before publishing."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np

from tfrec.models.base import Recommender
from tfrec.serving import signatures

REQUEST = "assets.extra/request.json"  # an example; TF Serving ignores what else lies there
REPLAY = "replay.npz"  # requests and answers, beside the model until it is published

# Runs in a process of its own, so that nothing but the files can answer.
CHECK = """
import sys, numpy as np, tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
with np.load(sys.argv[2]) as file:
    replay = {tuple(k.split("/")): v for k, v in file.items()}
for endpoint in sorted({k[0] for k in replay}):
    sent = {k[2]: tf.constant(v) for k, v in replay.items() if k[:2] == (endpoint, "in")}
    due = {k[2]: v for k, v in replay.items() if k[:2] == (endpoint, "out")}
    for name, answer in signatures[endpoint](**sent).items():
        got, due_here = answer.numpy(), due[name]
        if name == "scores":
            same = np.isclose(got, due_here, rtol=1e-4, atol=1e-4)
        else:
            # Two items whose scores differ by rounding only may change places.
            ties = np.isclose(due["scores"][:, 1:], due["scores"][:, :-1], rtol=1e-5, atol=1e-5)
            may_swap = np.pad(ties, [(0, 0), (0, 1)]) | np.pad(ties, [(0, 0), (1, 0)])
            got = got.astype("S")
            among = (got[:, :, None] == due_here[:, None, :]).any(2)
            same = (got == due_here) | (may_swap & among & (got != b""))
        for place in np.argwhere(~same)[:1]:
            got, due_here = got[tuple(place)], due_here[tuple(place)]
            sys.exit(f"{endpoint}: {name} of request {place[0]}, place {place[-1]}: {got} from "
                     f"the SavedModel, {due_here} from the model")
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
        write_request(top, aside / "model" / REQUEST)
        replay(top, aside / REPLAY)
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
    """All endpoints; vocabularies and titles become assets."""
    archive = keras.export.ExportArchive()
    archive.track(top.model)
    for table in top.tables():
        archive.track(table)
    for name, function in top.endpoints().items():
        archive.add_endpoint(name, function)
    archive.write_out(path, verbose=False)


def replay(top: signatures.TopK, path: pathlib.Path) -> None:
    """Notes the model's own answers to a few requests, an empty one among them."""
    noted = {}
    for endpoint in top.endpoints():
        sent = top.example(endpoint)
        for name, answer in top.ask(endpoint, sent).items():
            array = answer.numpy()
            noted[f"{endpoint}/out/{name}"] = array.astype("S") if array.dtype == object else array
        noted.update({f"{endpoint}/in/{name}": array for name, array in sent.items()})
    np.savez(path, **noted)


def write_request(top: signatures.TopK, path: pathlib.Path) -> None:
    """Writes the body of a REST request that `serving_default` answers; short histories."""
    request = top.example("serving_default")
    path.parent.mkdir()
    short = {k: (v[:1, :3] if v.ndim > 1 else v[:1]).tolist() for k, v in request.items()}
    path.write_text(json.dumps({"inputs": short}))


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
    body = (version / REQUEST).read_text()
    return f"curl -d '{body}' http://localhost:8501/v1/models/{name}:predict"
