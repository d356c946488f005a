"""Measures Santander's reader on SYNTHETIC months: rows a second and peak memory.

python benchmarks/santander.py --write=FILE                # a file to try the commands with
python benchmarks/santander.py --customers=950000 --months=17    # as large as the real one
"""

import argparse
import multiprocessing
import pathlib
import resource
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

import santander_synthetic

from tfrec.datasets import registry


def measure(path: str) -> str:
    """Opens the file and reads all events once; returns time and memory of this process."""
    start = time.perf_counter()
    raw = registry.load("santander", path)
    opened = time.perf_counter() - start
    n_events = sum(len(chunk) for chunk in raw.chunks())
    wall = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return (
        f"{len(raw.users):,} customers, {n_events:,} events: opened in {opened:.1f} s, all events "
        f"after {wall:.1f} s ({time.process_time():.1f} CPU s); peak memory {peak:,} MiB"
    )


def main() -> None:
    """Writes the file, then reads it in a new process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", help="only write this file; .gz is compressed")
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--months", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    size = (args.customers, args.months, args.seed)
    if args.write:
        print(santander_synthetic.write(args.write, *size))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = santander_synthetic.write(f"{folder}/train_ver2.csv", *size)
        with path.open("rb") as file:
            rows = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 24), b"")) - 1
        print(f"synthetic: {rows:,} rows, {path.stat().st_size / 1e9:.2f} GB", flush=True)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(measure, (str(path),)))


if __name__ == "__main__":
    main()
