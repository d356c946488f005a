"""Recommendations for new users: the most popular items of all time, or of recent interactions.

    python benchmarks/newcomers.py --datasets=ml-latest-small,ml-100k,ml-1m

Only training data of the split by time is read (its first 90 %). Five times a part of it, from 50,
60, ... 90 % on, is the past, and the tenth that follows the future. A newcomer is a user of the
future without a past, and gets the ten items most popular in the most recent share of the past
(`tfrec.training.lists`: whole days, ties broken by popularity of all time). NDCG@10 with the
newcomer's items in the future as targets, mean over the newcomers of all five; the difference to
share 1 has a 95 % interval. `known`: the same for users with a past, whose items are excluded.
"""

import time

import numpy as np
from absl import flags

from tfrec import cli
from tfrec.config import DataConfig
from tfrec.data import stages
from tfrec.datasets import registry
from tfrec.metrics.ranking_report import row_metrics

FLAGS = flags.FlagValues()
flags.DEFINE_list(
    "datasets", ["ml-latest-small"], "keys of data sets with times", flag_values=FLAGS
)
flags.DEFINE_list("shares", ["1", ".5", ".3", ".2", ".1", ".05"], "to try", flag_values=FLAGS)

K, DAY = 10, 86_400
STARTS = (0.5, 0.6, 0.7, 0.8, 0.9)


def main() -> None:
    """A table for each data set."""
    for dataset in FLAGS.datasets:
        start = time.process_time()
        users, items, times = past(dataset)
        shares = [float(share) for share in FLAGS.shares]
        found = {share: ([], []) for share in shares}
        for begin in STARTS:
            first, end = times[int(begin * len(times))], times[int((begin + 0.1) * len(times)) - 1]
            before, after = times < first, (times >= first) & (times <= end)
            for share in shares:
                order = np.argsort(-popular(items[before], times[before], share, items.max() + 1))
                new, known = values(order, users, items, before, after)
                found[share][0].extend(new)
                found[share][1].extend(known)
        report(dataset, found, time.process_time() - start)


def past(dataset: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and times of training, in the order of time."""
    config = DataConfig(dataset=dataset, split="time")
    raw = registry.load(dataset)
    parts = stages.split(stages.clean(stages.read(raw), config, raw.locate), config)
    ratings = parts.kept.ratings.take(parts.in_train)
    order = np.argsort(ratings.times, kind="stable")
    return ratings.users[order], ratings.items[order], ratings.times[order]


def popular(items: np.ndarray, times: np.ndarray, share: float, n_items: int) -> np.ndarray:
    """Popularity of items in the most recent share, with ties broken by all time: `[n_items]`."""
    days = times // DAY
    recent = days >= days[-int(np.ceil(share * len(days)))]
    counts = np.bincount(items, minlength=n_items)
    return np.bincount(items[recent], minlength=n_items) + counts / (1 + counts.max())


def values(order, users, items, before, after) -> tuple[list[float], list[float]]:
    """NDCG of newcomers and of known users."""
    found: tuple[list[float], list[float]] = [], []
    had: dict[int, set] = {}
    for user, item in zip(users[before], items[before], strict=True):
        had.setdefault(user, set()).add(item)
    for user in np.unique(users[after]):
        seen, due = had.get(user, set()), items[after & (users == user)]
        top = [item for item in order[: K + len(seen)] if item not in seen][:K]
        hits = np.isin(top, due)[np.newaxis]
        found[user in had].append(row_metrics(hits, np.array([len(due)]), (K,))[f"ndcg@{K}"][0])
    return found


def report(dataset: str, found: dict, seconds: float) -> None:
    """Means, and differences to share 1."""
    base = [np.array(one) for one in found[1.0]]
    print(f"{dataset}: {len(base[0]):,} newcomers, {len(base[1]):,} known, {seconds:.1f} CPU s")
    for share, both in found.items():
        line = f"  share {share:4g}"
        for name, own, due in zip(("newcomers", "known"), both, base, strict=True):
            change = np.array(own) - due
            half = 1.96 * change.std() / np.sqrt(len(change))
            line += f"  {name} {np.mean(own):.4f} ({change.mean():+.4f} +- {half:.4f})"
        print(line, flush=True)


if __name__ == "__main__":
    example = "python benchmarks/newcomers.py --datasets=ml-1m"
    cli.run(main, FLAGS, "Compares recommendations for new users.", example)
