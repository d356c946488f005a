"""Workers of one run: which are waited for, which differ, which are lost."""

import contextlib
import json
import os
import pathlib
import secrets
import socket
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfrec import interrupts
from tfrec.training import strategies

PATIENCE = 5.0  # seconds between two checks of the other workers, and their timeout
GONE = 4  # failed checks in a row after which a worker counts as lost
MARK = ".workers"  # a file that shows whether all workers share the run directory


@contextlib.contextmanager
def naming_missing() -> Iterator[None]:
    """Prints on stderr which workers of `TF_CONFIG` are waited for, whenever that changes."""
    last: list[str] = []

    def report(missing: list[str]) -> None:
        if missing and missing != last:
            print(f"waiting for {', '.join(missing)}", file=sys.stderr, flush=True)
        last[:] = missing

    with _checking(report):
        yield


@contextlib.contextmanager
def ending_without_others(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Ends this process where another worker is lost, instead of waiting for it forever.

    That takes about half a minute.

    Raises:
        ValueError: TensorFlow has raised an error for it first.
    """
    if not strategies.is_multiworker(strategy):
        yield
        return
    checks: list[list[str]] = []

    def end(missing: list[str]) -> None:
        checks.append(missing)
        if len(checks) >= GONE and all(checks[-GONE:]):
            print(f"stopped: {_lost(missing)}", file=sys.stderr, flush=True)
            os._exit(interrupts.SAVED)  # the main thread waits inside TensorFlow

    with _checking(end):
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.InternalError, tf.errors.AbortedError) as e:
            missing = _missing()
            if not missing:
                raise
            raise ValueError(_lost(missing)) from e
        strategies.wait_for_all(strategy)


def refuse_different(
    strategy: tf.distribute.Strategy, run_dir: pathlib.Path, values: Mapping[str, object]
) -> None:
    """Compares what must be equal in all workers, before the first step.

    Args:
        strategy: Their strategy.
        run_dir: The run directory, which they must share.
        values: JSON types, by a name for errors.

    Raises:
        ValueError: in all workers; it names the worker that differs from the first, and the value.
    """
    if not strategies.is_multiworker(strategy):
        return
    mark, chief = run_dir / MARK, strategies.is_chief(strategy)
    if chief:
        mark.write_text(secrets.token_hex())
    strategies.wait_for_all(strategy)
    seen = mark.read_text() if mark.exists() else "no such file"
    texts = [json.dumps(value, sort_keys=True) for value in values.values()]
    found = _of_all(strategy, [zlib.crc32(text.encode()) for text in (seen, *texts)])
    if chief:
        mark.unlink()
    names = list(_addresses())
    for name, column in zip(("--run_dir", *values), found.T, strict=True):
        others = [names[i] for i in np.flatnonzero(column != column[0])]
        if others and name == "--run_dir":
            raise ValueError(
                f"{', '.join(others)}: --run_dir={run_dir} is not the directory of {names[0]}: "
                "name one that all workers share, such as on a network file system"
            )
        if others:
            raise ValueError(
                f"{', '.join(others)} and {names[0]} differ in {name}: start all workers with the "
                "same command, the same data and the same --run_dir"
            )


def _of_all(strategy: tf.distribute.Strategy, values: Sequence[int]) -> np.ndarray:
    """The values of every worker, int64 `[n_workers, n_values]`, the chief's first."""
    own = np.zeros((len(_addresses()), len(values)), np.int64)
    own[_position()] = values
    found = strategies.sum_of_all(strategy, tf.constant(own))
    # A worker with several devices has added its own row for each of them.
    return found.numpy() // (strategy.num_replicas_in_sync // len(own))


def _config() -> dict:
    return json.loads(os.environ.get("TF_CONFIG") or "{}")


def _addresses() -> dict[str, str]:
    """All workers in their order, the chief first: "worker 1 (host:port)" -> "host:port"."""
    cluster = _config().get("cluster", {})
    return {
        f"{kind} {i} ({address})": address
        for kind in ("chief", "worker")
        for i, address in enumerate(cluster.get(kind, ()))
    }


def _position() -> int:
    """This worker's position among `_addresses`."""
    own, n_chiefs = _config()["task"], len(_config()["cluster"].get("chief", ()))
    return int(own["index"]) + {"chief": 0}.get(own["type"], n_chiefs)


def _missing() -> list[str]:
    """Which of the other workers do not answer."""
    others = list(_addresses().items())
    del others[_position()]
    return [name for name, address in others if not _answers(address)]


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def _lost(missing: Sequence[str]) -> str:
    return (
        f"{', '.join(missing)} is gone: start all workers again, with --resume to go on from the "
        "last saved state"
    )


@contextlib.contextmanager
def _checking(act: Callable[[list[str]], object]) -> Iterator[None]:
    """Calls `act` with the missing workers every few seconds, in a thread."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(PATIENCE):
            missing = _missing()
            if not ended.is_set():
                act(missing)

    thread = threading.Thread(target=work, daemon=True)
    if _config().get("cluster"):
        thread.start()
    try:
        yield
    finally:
        ended.set()
