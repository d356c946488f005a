"""Writes a SavedModel version that TF Serving takes, and proves it before publishing."""

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
from tfrec.serving import about, checks, replay, signatures, warmup
from tfrec.serving.answers import Answers

REQUESTS, ANSWERS = "requests", "answers.npz"  # beside the SavedModel until it is published
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

    It is written under a name that TF Serving ignores, checked, loaded in a fresh process, its
    answers to requests compared with the model's, and only then renamed.

    Args:
        model: A trained model.
        data_dir: Where its data was prepared.
        export_dir: The model's base path for TF Serving.
        k: Items an answer holds.
        make: What makes the signatures, with the arguments of `signatures.make`.
        version: The version's number; one more than the highest in `export_dir` by default.
        extras: Texts to write besides, by file name in the version's `assets.extra`.

    Raises:
        ValueError: the version is there already, TF Serving could not serve it, or the
            reloaded SavedModel answers differently; nothing is published.
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
    """A folder in `base` whose name TF Serving ignores, removed at the end.

    One export at a time writes in `base`; another waits. What a killed one left is removed.
    """
    is_new = not base.exists()
    base.mkdir(parents=True, exist_ok=True)
    try:
        with locks.held(base / LOCK, f"another export writes in {base}", wait=math.inf):
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
    """Where a version will be; None: the next.

    Raises:
        ValueError: it is there already, or is no number for TF Serving.
    """
    path = base / str(next_version(base) if version is None else version)
    if not path.name.isdigit():
        raise ValueError(f"version={version}: TF Serving counts versions from 0 on")
    if path.exists():
        raise ValueError(f"{path} is there already: give another version, or none for the next")
    return path


def dry_run(model: Recommender, data_dir: str, k: int = 20) -> None:
    """Writes the model, trained or not, to a temporary folder and checks what is there.

    Takes seconds: reads no ratings and asks nothing.

    Raises:
        ValueError: it could not be exported; says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        try:
            top = signatures.make(model, data_dir, k, path / "titles.txt", with_ratings=False)
            write(top, path / "model")
        except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError) as error:
            raise ValueError(
                f"{type(model).__name__} can not be exported, so nothing was trained: {error}; "
                "mend the model, or train without this check by --nodry_run"
            ) from error


def write(top: Answers, path: pathlib.Path) -> None:
    """All endpoints, checked; vocabularies and titles become assets.

    The saved object holds nothing but concrete functions, the variables that they read and the
    tables. Were it to hold Keras' layers, a server could not find the variables;
    `keras.export.ExportArchive`, which mends that too, traces and stores each function twice.

    Raises:
        ValueError: TF Serving could not serve it.
    """
    functions = {name: f.get_concrete_function() for name, f in top.endpoints().items()}
    saved = tf.Module()
    read = {id(v): v for function in functions.values() for v in function.graph.variables}
    # Sorted: TensorFlow keeps them in an order that changes from process to process.
    saved.read, saved.tables = sorted(read.values(), key=lambda v: v.name), top.tables()
    check_weights(top.model, saved.read)
    tf.saved_model.save(saved, str(path), signatures=functions)
    checks.check(path, functions)


def check_weights(model: Recommender, variables: Iterable[tf.Variable]) -> None:
    """Refuses a model that diverged: its answers would be empty, and no error would say why.

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
    """What TF Serving does not need: a page, the same for programs, requests to warm up.

    Args:
        top: What answers.
        path: Where the SavedModel is.
        version: Where it will be.
        extras: Texts of the caller's, by file name in `assets.extra`.
    """
    name = version.parent.name
    (path / "assets.extra").mkdir()
    (path / about.README).write_text(about.readme(top, name, version))
    (path / about.SIGNATURES).write_text(json.dumps(about.describe(top), indent=1))
    body = about.rest_body(about.small_request(top, "serving_default"))
    (path / about.REQUEST).write_text(json.dumps(body))
    # One row a record: a server that batches does not load a version with longer ones than a batch.
    rows = {endpoint: first_row(top.example(endpoint)) for endpoint in top.endpoints()}
    warmup.write(path / warmup.FILE, name, rows)
    for file, text in extras.items():
        (path / "assets.extra" / file).write_text(text)


def first_row(request: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A request's first row."""
    return {name: array[:1] for name, array in request.items()}


def write_requests(top: Answers, aside: pathlib.Path) -> None:
    """Requests to all signatures and the model's own answers: more rows than are published."""
    requests = {name: top.example(name) for name in top.endpoints()}
    warmup.write(aside / REQUESTS, "", requests)
    replay.save(aside / ANSWERS, {name: top.ask(name, r) for name, r in requests.items()})


def check(aside: pathlib.Path) -> None:
    """Loads the SavedModel in a fresh process, asks it and compares the answers."""
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
            + (done.stderr.strip().splitlines() or ["the process that asked it died"])[-1]
        )


def next_version(base: pathlib.Path) -> int:
    """One more than the highest version in `base`."""
    return 1 + max((int(p.name) for p in base.iterdir() if p.name.isdigit()), default=0)
