"""The part of the comparisons with other packages that all of them share.

RecBole runs in its own environment, by `recbole_side.py`, which recbole.py describes; its lists or
logits are measured again by tfrec's report, which must give RecBole's own metrics. Other packages
are installed beside tfrec.
"""

import dataclasses
import importlib
import json
import os
import pathlib
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags

from tfrec import cli
from tfrec import config as config_lib
from tfrec.config import DataConfig


def flags_of(models: list[str], out: str) -> flags.FlagValues:
    """The flags of a comparison.

    Args:
        models: Default of --models; empty: all.
        out: Default of --out.
    """
    found = flags.FlagValues()
    flags.DEFINE_string(
        "recbole_python",
        "",
        "Python of an environment with torch, recbole==1.2.1, numpy==1.26.4, scipy==1.11.4, "
        "pandas==2.1.4 and scikit-learn==1.5.2",
        flag_values=found,
    )
    flags.DEFINE_list("models", models, "tfrec's names (default: all)", flag_values=found)
    flags.DEFINE_integer("seed", 0, "seed of tfrec's training", flag_values=found)
    flags.DEFINE_string("out", out, "directory of all results", flag_values=found)
    return found


def given(values: flags.FlagValues, peers: Mapping[str, object]) -> tuple[list[str], pathlib.Path]:
    """The models of --models, and --out as an absolute path.

    Raises:
        ValueError: a flag is missing, or a model has no peer.
    """
    cli.require(values, "recbole_python")
    names = values.models or list(peers)
    for name in names:
        if name not in peers:
            raise ValueError(f"--models={name}: " + config_lib.known_names(name, peers))
    return names, pathlib.Path(values.out).absolute()


def run_jobs(python: str, jobs: list[dict], out: pathlib.Path) -> dict[str, dict]:
    """Runs `recbole_side.py` on one thread; returns the result of each job by its name.

    Args:
        python: Python of RecBole's environment.
        jobs: See `recbole_side.py`.
        out: Directory of the jobs and their results.

    Raises:
        ValueError: RecBole failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "jobs.json").write_text(json.dumps(jobs, indent=2))
    script = pathlib.Path(__file__).with_name("recbole_side.py")
    command = [python, "-W", "ignore", "-I", str(script), str(out / "jobs.json"), str(out)]
    if subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode:
        raise ValueError(
            f"RecBole failed under --recbole_python={python}: the docstring of recbole.py lists "
            "versions that work together"
        )
    return {job["name"]: json.loads((out / f"{job['name']}.json").read_text()) for job in jobs}


def shown(measured: Mapping[str, float], metrics: tuple[str, ...]) -> dict[str, float]:
    """The metrics of the table."""
    return {name: measured[name] for name in metrics}


def compared(
    peer: dict, ours, theirs, metrics: tuple[str, ...], tolerance: float, leads: tuple[str, ...]
) -> dict:
    """RecBole's line of the table, with tfrec's lead over it.

    Args:
        peer: RecBole's result of a job.
        ours: tfrec's test report.
        theirs: The report of RecBole's lists or logits.
        metrics: Metrics of the table.
        tolerance: Allowed difference between RecBole's metrics and those of `theirs`.
        leads: Metrics to compare user by user.

    Raises:
        ValueError: RecBole's metrics are not those of its predictions by tfrec's report.
    """
    from tfrec.metrics import compare

    again = shown(theirs.result(), metrics)
    for metric, value in again.items():
        if abs(value - peer["test"][metric]) > tolerance:
            raise ValueError(
                f"{peer['name']}: {metric} is {peer['test'][metric]} by RecBole and {value} by "
                "tfrec for the same predictions: the two do not measure the same thing"
            )
    lead = {metric: dataclasses.asdict(compare(ours, theirs, metric)) for metric in leads}
    validation = shown(peer["validation"], metrics)
    own = {"test": again, "test_by_recbole": peer["test"], "lead": lead}
    return {**peer, "validation": validation, **own}


def print_leads(line: dict) -> None:
    """Prints tfrec's leads over RecBole, below RecBole's line."""
    for name, lead in line.get("lead", {}).items():
        print(
            f"         tfrec minus this: {lead['mean_difference']:+.4f} {name} "
            f"[{lead['low']:+.4f}, {lead['high']:+.4f}], p = {lead['p_value']:.4f}"
        )


def write_results(path: str | pathlib.Path, content: object) -> None:
    """Writes JSON atomically."""
    from tfrec import aside

    with aside.file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


# ------------------------------------------------------------------ peers in this environment


def prepared(data: DataConfig, data_dir: str):
    """The folder of prepared data, and its info.

    Args:
        data: Settings, prepared in their default folder if needed.
        data_dir: Prepared data to use instead, or "".
    """
    from tfrec.data import prepared
    from tfrec.schema import DatasetInfo

    if data_dir:
        return data_dir, DatasetInfo.load(data_dir)
    folder = prepared.default_dir(data)
    return folder, prepared.ensure(data, folder)


def timed(function: Callable, *args, **options) -> tuple[Any, dict[str, float]]:
    """The result of a call, and its "seconds" and "cpu_seconds"."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*args, **options)
    cost = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    return result, cost


def package(name: str, install: str):
    """A module of another package.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"this benchmark needs `{install}` ({error})") from None
