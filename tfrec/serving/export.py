"""Exports a SavedModel version for TF Serving, and verifies it before publishing."""

import contextlib
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from tfrec import locks
from tfrec.models.base import Recommender
from tfrec.serving import checks, export_metadata, replay, signatures, warmup
from tfrec.serving.answers import Answers

REQUESTS, ANSWERS = "requests", "answers.npz"  # next to the SavedModel until it is published
WRITING, LOCK = ".writing-", ".export.lock"


def export(
    model: Recommender,
    data_dir: str,
    export_dir: str,
    k: int = 20,
    make: Callable[..., Answers] = signatures.make,
    version: int | None = None,
    extras: Mapping[str, str] | None = None,
) -> pathlib.Path:
    """Writes `export_dir/<version>` and returns it.

    The version is written under a name that TF Serving ignores, checked and loaded in a new
    process, its answers are compared with the model's, and only then it is renamed.

    Args:
        model: A trained model.
        data_dir: The directory of its prepared data.
        export_dir: The model's base path for TF Serving.
        k: Number of items of an answer.
        make: Creates the signatures; takes the arguments of `signatures.make`.
        version: The version number; default one more than the highest in `export_dir`.
        extras: Additional text files by name in the version's `assets.extra`.

    Raises:
        ValueError: the version exists, TF Serving could not serve it, or the reloaded SavedModel
            answers differently; nothing is published.
    """
    with writing_folder(pathlib.Path(export_dir).absolute()) as aside:
        path = version_path(aside.parent, version)
        top = make(model, data_dir, k, aside / "titles.txt")
        write(top, aside / "model")
        write_extras(top, aside / "model", path, extras or {})
        write_requests(top, aside)
        check(aside)
        (aside / "model").rename(path)
    return path


@contextlib.contextmanager
def writing_folder(base: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary folder in `base` whose name TF Serving ignores.

    Only one export at a time writes to `base`; others wait. Folders of killed exports are removed.
    """
    is_new = not base.exists()
    base.mkdir(parents=True, exist_ok=True)
    try:
        with locks.held(base / LOCK, f"another export writes to {base}", wait=math.inf):
            for left in base.glob(f"{WRITING}*"):
                shutil.rmtree(left)
            aside = base / f"{WRITING}{os.getpid()}"
            aside.mkdir()
            try:
                yield aside
            finally:
                shutil.rmtree(aside)
    finally:
        if is_new and not any(base.iterdir()):
            base.rmdir()


def version_path(base: pathlib.Path, version: int | None) -> pathlib.Path:
    """The path of a version; None: the next one.

    Raises:
        ValueError: it exists, or is not a version number of TF Serving.
    """
    path = base / str(next_version(base) if version is None else version)
    if not path.name.isdigit():
        raise ValueError(f"version={version}: versions of TF Serving are integers from 0")
    if path.exists():
        raise ValueError(f"{path} already exists: give another version, or none for the next")
    return path


def dry_run(model: Recommender, data_dir: str, k: int = 20) -> None:
    """Writes the model, trained or not, to a temporary folder and checks the SavedModel.

    Takes seconds, since it reads no ratings and runs no signature.

    Raises:
        ValueError: it could not be exported; gives the reason.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        try:
            top = signatures.make(model, data_dir, k, path / "titles.txt", with_ratings=False)
            write(top, path / "model")
        except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError) as error:
            raise ValueError(
                f"{type(model).__name__} cannot be exported, so nothing was trained: {error}; "
                "fix the model, or train without this check by --nodry_run"
            ) from error


def write(top: Answers, path: pathlib.Path) -> None:
    """Writes and checks all signatures; vocabularies and titles become assets.

    The saved object has only concrete functions, the variables that they read and the tables. If
    it had Keras layers, a server could not find the variables; `keras.export.ExportArchive` solves
    that too, but traces and stores each function twice.

    Raises:
        ValueError: TF Serving could not serve it.
    """
    functions = {name: f.get_concrete_function() for name, f in top.endpoints().items()}
    saved = tf.Module()
    read = {id(v): v for function in functions.values() for v in function.graph.variables}
    # Sorted, since their order in TensorFlow differs between processes.
    saved.read, saved.tables = sorted(read.values(), key=lambda v: v.name), top.tables()
    check_weights(top.model, saved.read)
    tf.saved_model.save(saved, str(path), signatures=functions)
    checks.check(path, functions)


def check_weights(model: Recommender, variables: Iterable[tf.Variable]) -> None:
    """Refuses a model that diverged, since its answers would be empty without an error.

    Raises:
        ValueError: names the weights.
    """
    floats = (v for v in variables if v.dtype.is_floating)
    broken = [v.name for v in floats if not tf.reduce_all(tf.math.is_finite(v))]
    if broken:
        raise ValueError(
            f"{type(model).__name__} has NaN or infinity in {', '.join(broken)}: the training "
            "diverged; train again with a lower --train learning_rate"
        )


def write_extras(
    top: Answers, path: pathlib.Path, version: pathlib.Path, extras: Mapping[str, str]
) -> None:
    """Writes the README, `signatures.json`, an example request and warm-up requests.

    Args:
        top: The signatures.
        path: The directory of the SavedModel.
        version: The directory that it will be renamed to.
        extras: The caller's text files by name in `assets.extra`.
    """
    name = version.parent.name
    (path / "assets.extra").mkdir()
    (path / export_metadata.README).write_text(export_metadata.readme(top, name, version))
    (path / export_metadata.SIGNATURES).write_text(
        json.dumps(export_metadata.describe(top), indent=1)
    )
    body = export_metadata.rest_body(export_metadata.small_request(top, "serving_default"))
    (path / export_metadata.REQUEST).write_text(json.dumps(body))
    # One row per record, since a server with batching refuses warm-up requests longer than a batch.
    rows = {endpoint: first_row(top.example(endpoint)) for endpoint in top.endpoints()}
    warmup.write(path / warmup.FILE, name, rows)
    for file, text in extras.items():
        (path / "assets.extra" / file).write_text(text)


def first_row(request: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first row of a request."""
    return {name: array[:1] for name, array in request.items()}


def write_requests(top: Answers, aside: pathlib.Path) -> None:
    """Writes requests to all signatures, longer than the published ones, and their answers."""
    requests = {name: top.example(name) for name in top.endpoints()}
    warmup.write(aside / REQUESTS, "", requests)
    replay.save(aside / ANSWERS, {name: top.ask(name, r) for name, r in requests.items()})


def check(aside: pathlib.Path) -> None:
    """Loads the SavedModel in a new process, runs the requests and compares the answers."""
    files = (str(aside / name) for name in ("model", REQUESTS, ANSWERS))
    done = subprocess.run(
        [sys.executable, "-m", replay.__name__, *files],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        raise ValueError(
            "the exported SavedModel does not answer like the model; nothing was published: "
            + (done.stderr.strip().splitlines() or ["the process that loaded it died"])[-1]
        )


def next_version(base: pathlib.Path) -> int:
    """One more than the highest version in `base`."""
    return 1 + max((int(p.name) for p in base.iterdir() if p.name.isdigit()), default=0)
