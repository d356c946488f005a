"""`record.json`: the result of a run as data, with all that is needed to judge and repeat it.

Docs are generated from such records, kept in `results/` of the repository.
"""

import dataclasses
import datetime
import functools
import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
from collections.abc import Iterable

import tensorflow as tf

import tfrec
from tfrec import metrics
from tfrec.config import TrainConfig
from tfrec.metrics import Report
from tfrec.training.run_config import RunConfig, versions

FILE = "record.json"
_DRAWS = 200_000_000  # random numbers of an interval's bootstrap, at most


def of_run(config: RunConfig, result: dict, report: Report | None) -> dict:
    """The record of a finished run.

    Args:
        config: The run's configuration.
        result: The content of `metrics.json`.
        report: Of the test set; None where it was not read.

    Returns:
        JSON: `name` (the preset, or the model), `config` and its `config_hash`, `tfrec`, `commit`
        (of a checkout; "" otherwise), `data` (the fingerprint), `protocol`, `seeds`, `versions`,
        `machine`, `time` (UTC), `metrics` and `intervals` (95 %, over users) by part, `seconds`,
        `cpu_seconds`, `peak_memory_mb`, `epochs` and `best_epoch`.
    """
    figures = {} if report is None else intervals(report, config.task.figures(config.train.monitor))
    costs = ("seconds", "cpu_seconds", "peak_memory_mb", "epochs", "best_epoch")
    packages = versions()
    parts = {part: result[part] for part in ("validation", "test") if result.get(part)}
    return {
        "name": config.preset or config.model,
        "kept": "run",
        "config": settings(config),
        "config_hash": config_hash(config),
        "tfrec": packages.pop("tfrec"),
        "commit": commit(),
        "data": config.fingerprint,
        "protocol": result["protocol"],
        "seeds": {"split": config.data.seed, "model": config.train.seed},
        "versions": packages,
        "machine": machine(),
        "time": now(),
        "metrics": parts | ({"floors": result["floors"]} if result.get("floors") else {}),
        "intervals": {"test": figures} if figures else {},
        **{name: result[name] for name in costs if name in result},
    }


def settings(config: RunConfig) -> dict:
    """The settings that results depend on: without paths, versions, and those of running alone."""
    found = dataclasses.asdict(config)
    train = {k: v for k, v in found["train"].items() if k not in TrainConfig.of_running}
    kept = {name: found[name] for name in ("model", "settings", "data")}
    for name in ("runs", "data_dirs"):  # of an ensemble
        if name in kept["settings"]:
            folders = [pathlib.Path(path).name for path in kept["settings"][name]]
            kept["settings"] = kept["settings"] | {name: folders}
    return kept | {"train": train, "warm_start": bool(config.warm_start)}


def config_hash(config: RunConfig) -> str:
    """A hash of `settings`, 16 hexadecimal digits."""
    text = json.dumps(settings(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def intervals(report: Report, names: Iterable[str]) -> dict[str, list[float]]:
    """95 % intervals over users, `[low, high]` by metric, of those that have values by user."""
    known = metrics.comparable(report)
    draws = max(200, min(2_000, _DRAWS // max(1, len(report.users))))
    found = {x: metrics.interval(report, x, draws=draws) for x in names if x in known}
    return {name: [x.low, x.high] for name, x in found.items()}


@functools.cache
def commit() -> str:
    """The commit of the checkout that tfrec runs from, with "+" if files were changed; or ""."""
    root = pathlib.Path(tfrec.__file__).parents[1]
    git = shutil.which("git")
    if not git or not (root / ".git").exists():
        return ""
    said = [
        subprocess.run([git, "-C", str(root), *words], capture_output=True, text=True).stdout
        for words in (["rev-parse", "HEAD"], ["status", "-s", "-uno", "--", "tfrec"])
    ]
    return said[0].strip() + ("+" if said[1].strip() else "")


@functools.cache
def machine() -> dict:
    """Processor, cores, memory and GPUs; no names of hosts or users."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    details = [
        tf.config.experimental.get_device_details(x) for x in tf.config.list_physical_devices("GPU")
    ]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpus": [str(x.get("device_name", "GPU")) for x in details],
    }


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
