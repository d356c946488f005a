"""Prepares ratings by partitions of users: the stages of `prepare.write` in bounded memory.

This process holds users, items and counts, but no ratings; tasks (`partitions`) read one partition
each. All files are those that `prepare.write` makes, byte for byte, however many partitions there
are.
"""

import dataclasses
import math
import pathlib
import shutil
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tfrec import memory
from tfrec.config import DataConfig
from tfrec.data import blocks, exact, partitions, pending_rows, ratings, stages, vocabulary
from tfrec.data.partitions import Tally, Task
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.ratings import Ratings
from tfrec.schema import DatasetInfo
from tfrec.split_rules import HISTORY, TEST, VALIDATION, ByTime, HeldOutUsers, hash_law

RATINGS = 1_000_000  # in a partition
BYTES = 45  # a rating takes in memory: docs/scale.md
_BINS = 1 << 16

Combine = Callable[[Callable[[Any], Any], Callable[[Any, Any], Any], Any], dict[str, Any]]
"""Merges the results of tasks by key, as `combine` of an engine."""


def is_wanted(n: int, wanted: int) -> bool:
    """Whether n ratings should be divided: several partitions are wanted, or they are too many.

    Args:
        n: Number of ratings.
        wanted: The number of partitions; 0: by size, so that what is in memory takes less than
            half of it.
    """
    return wanted > 1 or (wanted == 0 and BYTES * n >= memory.available() / 2)


def is_possible(config: DataConfig, has_ids: bool, columns: Iterable[str], wanted: int) -> bool:
    """Whether these ratings can be divided; prints why not.

    Args:
        config: As of `whole`.
        has_ids: As of `whole`.
        columns: As of `whole`.
        wanted: As of `is_wanted`.

    Raises:
        ValueError: they cannot, and several partitions are wanted.
    """
    why = whole(config, has_ids, columns)
    if why and wanted:
        raise ValueError(f"--partitions={wanted}: {why}; use --partitions=1, which is in memory")
    if why:
        print(f"more than half of the memory is needed: {why}", flush=True)
    return not why


def number(n: int, wanted: int) -> int:
    """The number of partitions of n ratings, which is printed; `wanted` as of `is_wanted`."""
    chosen = wanted or math.ceil(n / RATINGS)
    print(f"{n:,} ratings in {chosen} partitions", flush=True)
    return chosen


def whole(config: DataConfig, has_ids: bool, columns: Iterable[str]) -> str:
    """Why all ratings are needed at once; "" if partitions are enough.

    Args:
        config: Settings of preparing.
        has_ids: As of the raw data set.
        columns: The columns of its ratings.
    """
    more = sorted(set(columns) - {"user", "item", "value", "time", "test"})
    if config.rows == "item":
        return "rows=item needs all ratings at once"
    if more or not has_ids:
        return f"events with fields of their own ({', '.join(more)}) are encoded all at once"
    return config.rule.whole


@dataclasses.dataclass(frozen=True)
class Source:
    """Ratings that are about to be cut.

    Attributes:
        directory: An empty directory for the partitions.
        n: Number of partitions.
        user_ids: Raw ids by code.
        item_ids: Raw ids by code.
    """

    directory: pathlib.Path
    n: int
    user_ids: list[str]
    item_ids: list[str]

    def start(self, config: DataConfig) -> None:
        """Assigns users to partitions, by a hash of their ids, before `partitions.cut`."""
        keys = hash_law.of_ids(self.user_ids)
        (self.directory / "cut").mkdir(parents=True)
        self.fact("partition", (keys % np.uint64(self.n)).astype(np.int32))
        self.fact("n_partitions", np.array(self.n))
        if config.rule.needs_pairs:
            self.fact("user_keys", keys)
            self.fact("item_keys", hash_law.of_ids(self.item_ids))

    def fact(self, name: str, array: np.ndarray) -> None:
        """Writes an array that all tasks may read."""
        partitions.save_fact(self.directory, name, array)


class Preparation:
    """The stages after the ratings were cut.

    Args:
        source: The ratings.
        raw: The raw data set; its chunks are not read.
        config: Settings of preparing.
        run: Runs tasks.
        combine: Runs tasks and merges their results.
    """

    def __init__(
        self,
        source: Source,
        raw: RawDataset,
        config: DataConfig,
        run: blocks.Run,
        combine: Combine,
    ):
        self.source, self.raw, self.config = source, raw, config
        self._run, self._combine = run, combine
        self.step = "cut"
        self.dropped = dict(raw.dropped)

    def write(self, directory: pathlib.Path) -> DatasetInfo:
        """Prepares in a directory, which may hold that of the partitions.

        Raises:
            ValueError: the settings do not fit this data set, or the data is invalid.
        """
        self.clean()
        codes, counts = (self._of_users(name) for name in ("codes", "counts"))
        codes, counts = np.concatenate(codes), np.concatenate(counts)
        facts = self._facts(codes)
        found = self._pass(partitions.assign, to="split", **facts)
        self._drop(found)
        indexed, rows, block_of_row = self._indexed(found, self.config.rule.note(counts))
        pending = pending_rows.announce(directory, indexed, rows, self.raw, self.config)
        blocks.assign_rows(pending.directory, block_of_row)
        tasks = [
            partitions.Encode(task, blocks.Block(str(pending.directory), task.number))
            for task in self._tasks()
        ]
        self._run(partitions.encode, tasks)
        shutil.rmtree(self.source.directory)
        return pending_rows.gather(directory, pending, self._run)

    def clean(self) -> None:
        """Duplicates, filters and labels, as `stages.clean`."""
        config = self.config
        found = self._pass(partitions.clean, to="clean")
        if "repeat" in found.least:
            repeat = dataclasses.replace(found.least["repeat"], n=found.sums["repeats"])
            ids = self.source.user_ids, self.source.item_ids
            ratings.refuse_repeat(repeat, *ids, self.raw.locate)
        self._drop(found)
        limits = (config.min_item_ratings, config.min_user_ratings, config.max_user_ratings)
        n_before, n_rounds = -1, 0
        while any(limits) and n_before != found.sums["n"]:
            n_before, n_rounds = found.sums["n"], n_rounds + 1
            self.source.fact("item_counts", found.sums["items"])
            found = self._pass(partitions.narrow, to=f"narrow-{n_rounds}")
            self._drop(found)
            if not config.core:
                break
        if not found.sums["n"]:
            others = {"duplicates", *self.raw.dropped}
            ratings.refuse_nothing({n: x for n, x in self.dropped.items() if n not in others})

    def _tasks(self, **more: Any) -> list[Task]:
        source = self.source
        known = {"directory": str(source.directory), "step": self.step, "config": self.config}
        known |= {"n_items": len(source.item_ids)} | more
        return [Task(number=number, **known) for number in range(source.n)]

    def _pass(self, function: Callable[[Task], Tally], to: str = "", **more: Any) -> Tally:
        """Runs a function on all partitions; if it writes a step, the step before is removed."""
        if to:
            (self.source.directory / to).mkdir()
        tasks = [("all", task) for task in self._tasks(to=to, **more)]
        found = self._combine(function, partitions.merged, tasks)["all"]
        if to:
            shutil.rmtree(self.source.directory / self.step)
            self.step = to
        return found

    def _drop(self, found: Tally) -> None:
        for reason, n in found.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + n

    def _of_users(self, name: str) -> list[np.ndarray]:
        """A column by user, of each partition."""
        return [np.asarray(task.column(name)) for task in self._tasks()]

    def _facts(self, codes: np.ndarray) -> dict[str, Any]:
        """Finds what splitting some users takes; returns the facts that tasks are given."""
        rule, given = self.config.rule, {}
        if isinstance(rule, HeldOutUsers):
            group = np.zeros(len(self.source.user_ids), np.int8)
            used = stages.occurs(codes, len(group))
            position = vocabulary.select(self.source.user_ids, used)[1]
            group[codes] = rule.groups(len(codes))[position[codes]]
            self.source.fact("group", group)
        elif isinstance(rule, ByTime):
            given = {"bound": self._bound(rule)}
        else:
            return {}
        found = self._pass(partitions.known_items, **given)
        self.source.fact("known_items", found.sums["items"] > 0)
        if isinstance(rule, HeldOutUsers):
            self._draw_targets(rule, position, group)
        else:
            n_history = found.sums["history"]
            rule.refuse_empty(n_history, found.sums["inside"] - n_history)
        return given

    def _draw_targets(self, rule: HeldOutUsers, position: np.ndarray, group: np.ndarray) -> None:
        """Draws held-out users' targets in order of position, as one sequence of a group."""
        if rule.fold_in == "time":  # nothing is drawn
            return
        self._run(partitions.known_counts, self._tasks())
        known = np.zeros(len(group), np.int64)
        for codes, counts in zip(self._of_users("codes"), self._of_users("known"), strict=True):
            known[codes] = counts
        sizes, drawn = np.zeros(len(group) + 1, np.int64), {}
        for code in (VALIDATION, TEST):
            users = np.flatnonzero((group == code) & (known > 0))
            users = users[np.argsort(position[users])]
            for user, chosen in zip(users.tolist(), rule.targets(known[users]), strict=True):
                drawn[user] = chosen.astype(np.int32)
                sizes[user + 1] = len(chosen)
        none = np.zeros(0, np.int32)
        self.source.fact("targets", np.concatenate([none, *(drawn[u] for u in sorted(drawn))]))
        self.source.fact("target_starts", np.cumsum(sizes))

    def _bound(self, rule: ByTime) -> float:
        """The quantile of all times, as `numpy.quantile` gives it."""
        found = self._pass(partitions.time_range)
        n = found.sums["n"]
        if rule.test_since or not n:
            return 0.0
        at = (n - 1) * (1 - rule.test)
        low, first, last = int(at), found.least["first"], -found.least["last"]
        a, b = (self._time(k, first, last) for k in (low, min(low + 1, n - 1)))
        return interpolated(a, b, at - low)

    def _time(self, k: int, first: int, last: int) -> int:
        """The k-th time in order, from 0, by histograms of ever smaller bins."""
        while first < last:
            width = (last - first) // _BINS + 1
            bins = self._pass(partitions.histogram, span=(first, last, width)).sums["bins"]
            ends = np.cumsum(bins)
            at = int(np.searchsorted(ends, k, side="right"))
            k -= int(ends[at] - bins[at])
            first, last = first + at * width, min(last, first + (at + 1) * width - 1)
        return first

    def _indexed(self, found: Tally, note: str) -> tuple[stages.Indexed, np.ndarray, np.ndarray]:
        """All but the ratings, the counts by row and part, and the partition of each row."""
        source, groups, sums = self.source, found.least["groups"], found.sums
        codes, counts, group, number = self._rows(len(groups) > 1)
        used = stages.occurs(codes, len(source.user_ids))
        user_ids, users = vocabulary.select(source.user_ids, used)
        item_ids, items = vocabulary.select(source.item_ids, sums["items"] > 0)
        source.fact("user_positions", users)
        source.fact("item_positions", items)
        order = np.argsort(users[codes])
        counts, group, number = counts[order], group[order], number[order]
        none = np.zeros(0, np.int32)
        kept = stages.Interactions(
            Ratings(none, none, none, none), user_ids, item_ids, dropped=self.dropped
        )
        history = found.least["test_history"]
        parts = stages.Parts(kept, none, group, groups, history, note)
        train_items = items[np.flatnonzero(sums["train_items"])]
        in_train = (counts[:, HISTORY] > 0) & (group == 0)
        totals = stages.Totals(
            n=sums["n"],
            mean=exact.mean(sums["value"], sums["train"]),
            lowest=found.least.get("lowest", np.inf),
            highest=-found.least.get("highest", np.inf),
            times=(found.least.get("first", 0), -found.least.get("last", 0)),
            used={"user": in_train, "item": stages.occurs(train_items, len(item_ids))},
        )
        indexed = stages.index_tables(parts, totals, self.raw, self.config)
        return indexed, counts, number

    def _rows(self, everyone: bool) -> tuple[np.ndarray, ...]:
        """Users with rows: codes, counts by part, file groups, and partitions."""
        by_partition = self._of_users("codes")
        codes, counts = np.concatenate(by_partition), np.concatenate(self._of_users("counts"))
        number = np.repeat(np.arange(self.source.n, dtype=np.uint32), list(map(len, by_partition)))
        if everyone:  # held-out users keep their row even if no rating is left
            return codes, counts, np.load(self.source.directory / "group.npy")[codes], number
        kept = counts.sum(1) > 0
        return codes[kept], counts[kept], np.zeros(int(kept.sum()), np.int8), number[kept]


def interpolated(a: float, b: float, share: float) -> float:
    """The number between a and b at this share, rounded as in `numpy.quantile`."""
    return float(b - (b - a) * (1 - share) if share >= 0.5 else a + (b - a) * share)
