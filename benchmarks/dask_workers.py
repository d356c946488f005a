"""Measures preparing on Dask: peak memory and CPU seconds of every process, and the bytes.

python benchmarks/dask_workers.py --shape=ml-20m --work=DIR --partitions=20
python benchmarks/dask_workers.py --shape=netflix --work=DIR --partitions=100
python benchmarks/dask_workers.py --shape=ml-20m --work=DIR --partitions=1    # in memory

The ratings are those of `ingest.py`. A scheduler and four workers of at most 1 GB each are started
on this machine as in docs/scale.md: with nannies, which end a worker that takes more. With
one partition this process prepares in memory, without Dask. The hash is over names and contents of
all files that were made.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator

import ingest
import psutil

from pipelines import artifacts, engine, transform
from tfrec import config as configs


def peak(process: psutil.Process) -> float:
    """Peak resident memory of a process in MB."""
    lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


@contextlib.contextmanager
def cluster(n: int, limit: str, work: pathlib.Path) -> Iterator[tuple[str, dict]]:
    """Starts a scheduler and n workers; yields the address and the processes by name."""
    dask, file = (sys.executable, "-m", "dask"), work / "scheduler.json"
    local = ("--host", "127.0.0.1", "--no-dashboard")
    file.unlink(missing_ok=True)
    words = [*dask, "scheduler", "--port", "0", "--scheduler-file", str(file), *local]
    log = (work / "dask.txt").open("w")
    started = [psutil.Popen(words, stderr=log)]
    try:
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        each = ("--nworkers", str(n), "--nthreads", "1", "--memory-limit", limit)
        words = [*dask, "worker", address, *each, *local, "--local-directory", str(work)]
        started.append(psutil.Popen(words, stderr=log))
        found: list[psutil.Process] = []
        while len(found) < n:
            time.sleep(0.5)
            found = [p for p in started[1].children() if "spawn_main" in " ".join(p.cmdline())]
        workers = {f"worker {i}": p for i, p in enumerate(found, 1)}
        yield address, {"scheduler": started[0], "nannies": started[1]} | workers
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
        log.close()


def rows(options: argparse.Namespace, worker: engine.Engine) -> pathlib.Path:
    """Makes the rows, those of an earlier run removed."""
    target = options.work / "rows"
    shutil.rmtree(target, ignore_errors=True)
    base = configs.DataConfig(dataset=options.shape, shards=16)
    data = configs.data_config(base, "", "", ["law=hash", *options.data])
    span = artifacts.Artifact.load(options.work / "span")
    return transform.run({1: span}, data, worker, target, None, options.partitions).path


def digest(folder: pathlib.Path) -> str:
    """SHA-256 over names and contents of all files."""
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found.update(f"{path.relative_to(folder)}\n{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def main() -> None:
    """Prepares once, and prints a line for each process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shape", choices=ingest.SHAPES, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("ingest-work"))
    parser.add_argument("--data", action="append", default=[], help="name=value, as of transform")
    parser.add_argument("--partitions", type=int, default=20, help="as of transform")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--limit", default="1GB", help="a worker's memory, as of dask worker")
    options = parser.parse_args()
    if not (options.work / "span").exists():
        options.work.mkdir(parents=True, exist_ok=True)
        words = (options.shape, 1.0, 0, options.work / "span")
        making = multiprocessing.get_context("spawn").Process(target=ingest.write_span, args=words)
        making.start()  # its memory is not this process's
        making.join()
    this, start = psutil.Process(), time.perf_counter()
    with contextlib.ExitStack() as stack:
        worker: engine.Engine = engine.Local()
        processes = {}
        if options.partitions > 1:
            address, processes = stack.enter_context(
                cluster(options.workers, options.limit, options.work)
            )
            worker = engine.make(
                "DaskRunner", [f"dask_client_address={address}"], options.work / "beam"
            )
        made = rows(options, worker)
        print(f"{time.perf_counter() - start:.0f} s")
        for name, process in ({"this process": this} | processes).items():
            times = process.cpu_times()
            print(f"{name:14}{peak(process):>8,.0f} MB{times.user + times.system:>8.1f} CPU s")
    print(digest(made))


if __name__ == "__main__":
    main()
