"""Measures the readers: rows and ratings a second from TFRecords to padded batches.

python benchmarks/input_pipeline.py                        # made-up ratings, ML-1M's shape
python benchmarks/input_pipeline.py --data_dir=DIR         # a prepared directory
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import numpy as np
import pandas as pd
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tfrec.config import DataConfig
from tfrec.data import inputs, prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.schema import DatasetInfo

N_USERS, N_ITEMS, MEAN_RATINGS = 6040, 3706, 165.6


def synthetic(seed: int = 0) -> RawDataset:
    """A raw data set with ML-1M's shape: 6,040 users, about a million ratings, long-tailed."""
    random = np.random.default_rng(seed)
    counts = np.exp(random.normal(4.58, 1.06, N_USERS)).clip(20, 2300).astype(int)
    counts = (counts * (MEAN_RATINGS / counts.mean())).clip(20, 2300).astype(int)
    popularity = 1 / (np.arange(N_ITEMS) + 50.0)
    popularity /= popularity.sum()
    items = [random.choice(N_ITEMS, n, replace=False, p=popularity) for n in counts]
    n = int(counts.sum())
    frame = pd.DataFrame(
        {
            "user": np.repeat(np.arange(N_USERS), counts).astype(str),
            "item": np.concatenate(items).astype(str),
            "value": random.integers(1, 6, n).astype(np.float32),
            "time": random.integers(956_700_000, 1_046_400_000, n),
        }
    )
    return RawDataset(
        name="synthetic-1m",
        chunks=lambda: iter([frame]),
        fingerprint=f"synthetic-1m seed {seed}",
        rating_min=1.0,
        rating_max=5.0,
        rating_step=1.0,
        has_times=True,
    )


def measure(make: Callable[[int], tf.data.Dataset], passes: int) -> tuple[float, float, float]:
    """Runs `passes` passes after a warm-up; medians: wall s, CPU s, batches a pass."""
    walls, cpus, n = [], [], 0
    for epoch in range(passes + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        n = sum(1 for _ in make(epoch))
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return float(np.median(walls[1:])), float(np.median(cpus[1:])), n


def report(data_dir: str, info: DatasetInfo, passes: int) -> None:
    """Prints one line a reader and batch size."""
    rows, ratings = info.row_counts["train"], info.n_ratings["train"]
    print(f"{info.protocol}: {rows:,} training rows, {ratings:,} ratings, {passes} passes")
    cases = [("histories", 500, True), ("histories", 128, True), ("histories", 500, False)]
    cases += [("events", 500, True), ("events", 4096, True)]
    for name, batch_size, shuffle in cases:
        reader = getattr(inputs, name)

        def make(epoch, reader=reader, batch_size=batch_size, shuffle=shuffle):
            return reader(data_dir, info, "train", batch_size, shuffle=shuffle, epoch=epoch)

        wall, cpu, n = measure(make, passes)
        print(
            f"{name:10} batch {batch_size:5} {'shuffled' if shuffle else 'in order':8} "
            f"{n:6,} batches  wall {wall:.3f} s  CPU {cpu:.3f} s  {rows / wall:9,.0f} rows/s  "
            f"{ratings / wall / 1e6:6.2f} M ratings/s  {ratings / cpu / 1e6:6.2f} M ratings/CPU s"
        )


def main() -> None:
    """Prepares data if needed, then measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", help="a prepared directory; default: made-up ratings")
    parser.add_argument("--passes", type=int, default=5)
    args = parser.parse_args()
    if args.data_dir:
        report(args.data_dir, DatasetInfo.load(args.data_dir), args.passes)
        return
    with tempfile.TemporaryDirectory() as directory:
        raw = synthetic()
        wall, cpu = time.perf_counter(), time.process_time()
        info = prepare.prepare(raw, DataConfig(), f"{directory}/rows", progress=False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"prepared in {wall:.2f} s ({cpu:.2f} CPU s)")
        report(f"{directory}/rows", info, args.passes)


if __name__ == "__main__":
    main()
