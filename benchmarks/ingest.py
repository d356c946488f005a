"""Measures the pipeline's first steps: ratings a second and peak memory.

python benchmarks/ingest.py --shape=ml-1m --raw=ml-1m.zip
python benchmarks/ingest.py --shape=ml-20m --work=DIR       # 20 million made-up ratings
python benchmarks/ingest.py --shape=netflix --work=DIR      # 100 million
python benchmarks/ingest.py --shape=netflix --share=0.01 --work=DIR
python benchmarks/ingest.py --shape=netflix --work=DIR --data=law=hash --partitions=50

Synthetic ratings have the numbers of users, items and ratings of the data set, a few popular items
and a few active users; they are written once, in the data set's own layout, by seed.
Each step runs in its own process, without Beam: example_gen converts the files to Parquet,
statistics_gen counts, transform makes rows, input streams one epoch of DeepRec's batches.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

# In an installed tfrec they are tfrec.pipelines; these are the checkout's.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

SHAPES = {  # users, items, ratings, smallest rating, steps
    "ml-20m": (138_493, 26_744, 20_000_263, 0.5, 10),
    "netflix": (480_189, 17_770, 100_480_507, 1.0, 5),
}
STEPS = ("example_gen", "statistics_gen", "transform", "input")
BATCH = 128  # DeepRec's


def made_up(shape: str, share: float, seed: int):
    """Yields (item, users, values, times), item by item; users of an item are distinct."""
    n_users, n_items, n_ratings, _, steps = SHAPES[shape]
    random = np.random.default_rng(seed)
    weights = (np.arange(n_items) + 30.0) ** -1.1
    sizes = weights / weights.sum() * n_ratings * share
    sizes = np.minimum(sizes, n_users * share * 0.4)
    sizes = np.maximum(1, sizes * (n_ratings * share / sizes.sum())).astype(int)
    users = max(50, int(n_users * share**0.5))
    activity = np.cumsum(random.lognormal(0, 1.2, users))
    for item, size in enumerate(random.permutation(sizes).tolist()):
        drawn = np.searchsorted(activity, random.random(int(size * 1.6) + 8) * activity[-1])
        found = random.permutation(np.unique(drawn))[:size]
        values = random.integers(1, steps + 1, len(found))
        times = random.integers(1_000_000_000, 1_130_000_000, len(found))
        yield item + 1, found + 1, values, times


def write_raw(shape: str, share: float, seed: int, folder: pathlib.Path) -> int:
    """Writes made-up ratings in the layout of ml-20m; returns how many."""
    import pyarrow as pa
    import pyarrow.csv

    folder.mkdir(parents=True)
    plain = pa.csv.WriteOptions(include_header=False, quoting_style="none")
    n = 0
    with (folder / "ratings.csv").open("wb") as file:
        file.write(b"userId,movieId,rating,timestamp\n")
        for item, users, values, times in made_up(shape, share, seed):
            columns = [users, np.full(len(users), item), values / 2, times]
            pa.csv.write_csv(pa.table(columns, list("abcd")), file, plain)
            n += len(users)
    lines = [f"{item},Film {item} (1999),Drama\n" for item in range(1, SHAPES[shape][1] + 1)]
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(lines))
    return n


def write_span(shape: str, share: float, seed: int, directory: pathlib.Path) -> int:
    """Writes made-up ratings as the span that example_gen would make; returns how many."""
    import pandas as pd

    from pipelines import artifacts, spans
    from tfrec.datasets.raw_dataset import RawDataset

    n_users, n_items, _, low, steps = SHAPES[shape]
    ids = [pd.CategoricalDtype([str(i + 1) for i in range(n)]) for n in (n_users, n_items)]

    def frame(found):
        users, items, values, times = (
            np.concatenate(column) for column in zip(*found, strict=True)
        )
        users, items = (
            pd.Categorical.from_codes(codes - 1, dtype=dtype)
            for codes, dtype in zip((users, items), ids, strict=True)
        )
        return pd.DataFrame(
            {"user": users, "item": items, "value": values.astype(np.float32), "time": times}
        )

    def chunks():
        found, n = [], 0
        for item, users, values, times in made_up(shape, share, seed):
            found.append((users, np.full(len(users), item), values, times))
            n += len(users)
            if n >= 1_000_000:
                yield frame(found)
                found, n = [], 0
        if found:
            yield frame(found)

    raw = RawDataset(
        name=shape,
        fingerprint=f"{shape} {share} {seed}",
        chunks=chunks,
        rating_min=low,
        rating_max=5.0,
        rating_step=5.0 / steps,
        has_times=True,
    )
    artifacts.make(
        directory,
        "example_gen",
        {"dataset": shape, "fold": None},
        {"raw": raw.fingerprint},
        lambda path: spans.write(raw, path),
    )
    return spans.Span.load(directory).about["n"]


def step(options: argparse.Namespace, raw: str) -> dict[str, float]:
    """Runs one step in this process; returns its seconds and memory."""
    from pipelines import artifacts, engine, example_gen, statistics_gen, transform
    from tfrec import cli
    from tfrec import config as configs

    name, dataset, work = options.step, options.shape, options.work

    cli.start_tensorflow()
    from tfrec.data import inputs, prepare  # noqa: F401  imported before the clock starts
    from tfrec.schema import DatasetInfo

    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    if name == "example_gen":
        example_gen.make(example_gen.Source(1, dataset, raw), work / "span")
    else:
        span = artifacts.Artifact.load(work / "span")
        if name == "statistics_gen":
            statistics_gen.of_span(span, engine.Local(), work / "statistics")
        elif name == "transform":
            base = configs.DataConfig(dataset=dataset, shards=16)
            data, local = configs.data_config(base, "", "", options.data), engine.Local()
            transform.run({1: span}, data, local, work / "rows", None, options.partitions)
        else:
            info = DatasetInfo.load(work / "rows")
            rows = inputs.histories(work / "rows", info, "train", BATCH, shuffle=True)
            for _ in rows:
                pass
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - start,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "before": before.ru_maxrss / 1024,
        "peak": after.ru_maxrss / 1024,
    }


def main() -> None:
    """All steps, one process each, and a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shape", choices=["ml-1m", *SHAPES], required=True)
    parser.add_argument("--raw", default="", help="ml-1m: the zip")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("ingest-work"))
    parser.add_argument("--share", type=float, default=1.0, help="of the ratings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", choices=STEPS, help="only this one, in this process")
    parser.add_argument("--data", action="append", default=[], help="name=value, as of transform")
    parser.add_argument("--partitions", type=int, default=1, help="as of transform")
    options = parser.parse_args()
    raw = options.raw or str(options.work / "raw")
    if options.step:
        print(json.dumps(step(options, raw)))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    steps = STEPS if options.shape != "netflix" else STEPS[1:]
    if not options.raw:
        start = time.perf_counter()
        write = write_raw if options.shape != "netflix" else write_span
        target = pathlib.Path(raw) if options.shape != "netflix" else options.work / "span"
        n = write(options.shape, options.share, options.seed, target)
        print(f"wrote {n:,} made-up ratings in {time.perf_counter() - start:.0f} s", flush=True)
    words = [sys.executable, __file__, f"--shape={options.shape}", f"--work={options.work}"]
    words += [f"--partitions={options.partitions}", *(f"--data={text}" for text in options.data)]
    print(
        f"{'step':16}{'seconds':>9}{'CPU s':>8}{'M/s':>7}{'M/CPU s':>9}{'MB before':>11}{'peak':>8}"
    )
    total = 0.0
    for name in steps:
        done = subprocess.run(
            [*words, f"--raw={raw}", f"--step={name}"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        took = json.loads(done.stdout.splitlines()[-1])
        n = json.loads((options.work / "span/span.json").read_text())["n"]
        total += took["seconds"] if name in ("example_gen", "transform") else 0.0
        print(
            f"{name:16}{took['seconds']:>9.1f}{took['cpu']:>8.1f}{n / took['seconds'] / 1e6:>7.2f}"
            f"{n / took['cpu'] / 1e6:>9.2f}{took['before']:>11,.0f}{took['peak']:>8,.0f}",
            flush=True,
        )
    print(f"{n:,} ratings; {n / total / 1e6:.2f} M/s from the first file to rows")


if __name__ == "__main__":
    main()
