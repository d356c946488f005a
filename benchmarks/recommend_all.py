"""Recommendations for all users: users a CPU second, memory, and agreement with `recommend`.

    TFREC_DATA=DIR python benchmarks/recommend_all.py [--models=ease,sasrec] [--times=1,2,4]

DIR contains ml-1m.zip. A model is briefly trained on ML-1M with every user once, twice, ... (copies
with new ids and the same items); its quality does not matter here. Then, in a new process, the run
is loaded and `Run.recommend_all` writes the 10 best items of every user. Its seconds include all
that a call does: signatures, reading, scoring, writing. Peak memory is that of the process. For 200
users the results are compared with those of `Run.recommend`.
"""

import json
import multiprocessing
import pathlib
import resource
import time

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_list("models", ["ease", "sasrec"], "which", flag_values=FLAGS)
flags.DEFINE_list("times", ["1", "2", "4"], "copies of each user of ML-1M", flag_values=FLAGS)
flags.DEFINE_integer("k", 10, "items a user", 1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 512, "users scored at once", 1, flag_values=FLAGS)
flags.DEFINE_integer("epochs", 1, "of training", 1, flag_values=FLAGS)
flags.DEFINE_string("out", "runs/recommend_all", "where the runs are written", flag_values=FLAGS)

SETTINGS = {"sasrec": {"window": 50, "width": 64, "blocks": 2, "heads": 2}}
COMPARED = 200  # users


def train(model: str, times: int, path: pathlib.Path, epochs: int) -> None:
    """Trains on every user of ML-1M `times` times, unless an earlier call has done so."""
    import pandas as pd

    import tfrec
    from tfrec.datasets import registry

    if (path / "metrics.json").exists():
        return
    raw = registry.load("ml-1m")
    once = pd.concat(raw.chunks())
    copies = [once.assign(user=once["user"] + f"-{n}") for n in range(times)]
    frame, titles = pd.concat(copies, ignore_index=True), raw.items[["item", "title"]]
    data = tfrec.Dataset.from_pandas(frame, time="time", items=titles, name=f"ml-1m-{times}x")
    tfrec.fit(
        model,
        data.split("last", validation=0),
        run_dir=path,
        overwrite=True,
        check_export=False,
        test=False,
        epochs=epochs,
        **SETTINGS.get(model, {}),
    )


def measure(path: pathlib.Path, k: int, batch_size: int) -> dict:
    """Cost of `recommend_all` for the run in `path`, and its agreement with `recommend`."""
    import tfrec

    run, file = tfrec.load(path), path / "all.parquet"
    wall, cpu = time.perf_counter(), time.process_time()
    users = run.recommend_all(file, k, batch_size, progress=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    costs = {"users": users, "wall_seconds": wall, "cpu_seconds": cpu, "peak_memory_mb": peak}
    return costs | compared(run, file, k)


def compared(run, file: pathlib.Path, k: int) -> dict:
    """Compares `recommend` for some users with the rows of `recommend_all`."""
    import pandas as pd

    some = list(run.users)[:: max(1, len(run.users) // COMPARED)][:COMPARED]
    direct, written = run.recommend(users=some, k=k), pd.read_parquet(file)
    both = direct.merge(written, "left", on=["user", "rank"], suffixes=("", "_all"))
    return {
        "compared": len(some),
        "same_items": float((both["item"] == both["item_all"]).mean()),
        "score_difference": float((both["score"] - both["score_all"]).abs().max()),
    }


def main() -> None:
    """A line for each model and number of users; a process for each step."""
    out, lines = pathlib.Path(FLAGS.out).absolute(), []
    print("model      users  CPU s  users a CPU s  wall s  peak MB  same items  score difference")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for model in FLAGS.models:
            for times in map(int, FLAGS.times):
                path = out / f"{model}-{times}x"
                pool.apply(train, (model, times, path, FLAGS.epochs))
                found = pool.apply(measure, (path, FLAGS.k, FLAGS.batch_size))
                lines.append({"model": model, **found})
                print(line(model, **found), flush=True)
        pool.close()  # its processes end without `terminate`
        pool.join()
    (out / "results.json").write_text(json.dumps(lines, indent=2) + "\n")


def line(
    model: str, users, cpu_seconds, wall_seconds, peak_memory_mb, same_items, score_difference, **_
) -> str:
    """A line of the table."""
    return (
        f"{model:8} {users:7,} {cpu_seconds:6.1f} {users / cpu_seconds:14,.0f} "
        f"{wall_seconds:7.1f} {peak_memory_mb:8,} {same_items:11.2%} {score_difference:17.1e}"
    )


if __name__ == "__main__":
    cli.run(
        main,
        FLAGS,
        "Measures recommendations for all users.",
        "TFREC_DATA=data python benchmarks/recommend_all.py",
    )
