"""The log of readings of test sets: one line of JSON for each, appended and never rewritten.

A test set that was read by many settings no longer tells how good the best of them is. The log
belongs to the user, not to a run, so that it outlives runs: `readings.jsonl` in the folder
TFREC_STATE, else `$XDG_STATE_HOME/tfrec`, else `~/.local/state/tfrec`.
"""

import json
import os
import pathlib
import sys

from tfrec.training import record
from tfrec.training.run_config import RunConfig


def path() -> pathlib.Path:
    """The log."""
    home = pathlib.Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "tfrec"
    return pathlib.Path(os.environ.get("TFREC_STATE") or home).expanduser() / "readings.jsonl"


def append(config: RunConfig, protocol: str, why: str) -> None:
    """Logs that the test set of a run's data is read.

    Training does not fail where the log cannot be written; a line on stderr says so.

    Args:
        config: The run's configuration.
        protocol: How the test set is read.
        why: What for, such as "train" or "report".
    """
    entry = {
        "time": record.now(),
        "data": config.fingerprint,
        "protocol": protocol,
        "model": config.model,
        "preset": config.preset,
        "config_hash": record.config_hash(config),
        "seed": config.train.seed,
        "why": why,
    }
    log = path()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:  # one short write: lines of several processes do not mix
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        print(f"{log}: this reading of the test set is not logged: {error}", file=sys.stderr)


def settings_that_read(fingerprint: str) -> int:
    """How many settings have read the test set of some data, according to the log."""
    log = path()
    lines = log.read_text().splitlines() if log.exists() else []
    found = [json.loads(line) for line in lines if fingerprint in line]
    return len({entry["config_hash"] for entry in found if entry["data"] == fingerprint})
