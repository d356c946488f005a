"""Ratings on disk in partitions of users, each of which fits memory, whatever their total.

`cut` divides a chunk of columns by partition; the other functions are tasks that read the columns
of one partition, and write those of the next step or count something (`Tally`). A task names
files and holds no rating, so tasks run one after the other or in parallel on any engine. Users of a
partition are numbered from 0, ratings are in file order.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tfrec import schema
from tfrec.config import DataConfig
from tfrec.data import blocks, exact, ratings
from tfrec.ratings import Ratings
from tfrec.split_rules import DROPPED, HISTORY, Facts, hash_law

_CUT = "cut"
COLUMNS = ("users", "items", "values", "times")


@dataclasses.dataclass(frozen=True)
class Task:
    """A partition at one step.

    Attributes:
        directory: The directory of all steps and facts.
        number: The partition.
        step: The step whose columns are read.
        to: The step whose columns are written, if any.
        config: Settings of preparing.
        n_items: Number of items' codes.
        bound: `Facts.bound`.
        span: The first and the last time that are counted, and the width of a bin.
    """

    directory: str
    number: int
    step: str
    config: DataConfig
    n_items: int
    to: str = ""
    bound: float = np.inf
    span: tuple[int, int, int] = (0, 0, 1)

    def fact(self, name: str) -> np.ndarray:
        """An array that `save_fact` wrote."""
        return np.load(pathlib.Path(self.directory) / f"{name}.npy", mmap_mode="r")

    @functools.cached_property
    def users(self) -> np.ndarray:
        """Codes of the partition's users, int32 `[n_users]`."""
        return self.column("codes")

    def column(self, name: str) -> np.ndarray:
        """A column of the step that is read."""
        return np.load(_file(self.directory, self.step, self.number, name), mmap_mode="r")

    def ratings(self) -> Ratings:
        """The ratings of the step that is read."""
        return Ratings(*(np.asarray(self.column(name)) for name in COLUMNS))

    def save(self, codes: np.ndarray, data: Ratings, **more: np.ndarray) -> None:
        """Writes the columns of the next step."""
        columns = {name: getattr(data, name) for name in COLUMNS}
        for name, column in ({"codes": codes} | columns | more).items():
            np.save(_file(self.directory, self.to, self.number, name), column)


@dataclasses.dataclass(frozen=True)
class Tally:
    """What tasks count, merged over partitions.

    Attributes:
        sums: Numbers and arrays that are added.
        least: Values of which the smallest is kept.
        dropped: Ratings that were left out, by reason.
    """

    sums: dict[str, Any]
    least: dict[str, Any] = dataclasses.field(default_factory=dict)
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)


def merged(a: Tally, b: Tally) -> Tally:
    """The tally of both."""
    return Tally(_joined(a.sums, b.sums, lambda x, y: x + y), _joined(a.least, b.least, min),
                 _joined(a.dropped, b.dropped, lambda x, y: x + y))  # fmt: skip


def _joined(a: Mapping, b: Mapping, of_both: Callable[[Any, Any], Any]) -> dict:
    both = {name: of_both(a[name], b[name]) for name in a.keys() & b.keys()}
    return {**a, **b, **both}


def save_fact(directory: pathlib.Path, name: str, array: np.ndarray) -> None:
    """Writes an array that all tasks may read."""
    np.save(directory / f"{name}.npy", array)


def _file(directory: str | pathlib.Path, step: str, number: int, name: str) -> pathlib.Path:
    return pathlib.Path(directory) / step / f"{number:05d}-{name}.npy"


def cut(directory: pathlib.Path, chunk: int, data: Ratings, first: int) -> None:
    """Writes a chunk's columns, those of each partition together, in file order.

    Args:
        directory: That of all steps, with the fact `partition` by the user's code.
        chunk: The chunk's number, in file order.
        data: Its ratings, with codes for users and items.
        first: Number of its first rating in the file, from 0.
    """
    of_user = np.load(directory / "partition.npy", mmap_mode="r")
    partition = of_user[data.users]
    order = np.argsort(partition, kind="stable")
    n_partitions = int(np.load(directory / "n_partitions.npy"))
    ends = np.cumsum(np.bincount(partition, minlength=n_partitions))
    columns = {name: getattr(data, name)[order] for name in COLUMNS}
    columns |= {"numbers": first + order, "bounds": np.concatenate([[0], ends])}
    for name, column in columns.items():
        np.save(_file(directory, _CUT, chunk, name), column)


def _read_cut(task: Task) -> dict[str, np.ndarray]:
    """The partition's columns from all chunks."""
    pieces: dict[str, list[np.ndarray]] = {}
    for file in sorted((pathlib.Path(task.directory) / _CUT).glob("*-bounds.npy")):
        start, end = np.load(file)[task.number : task.number + 2]
        for name in (*COLUMNS, "numbers"):
            piece = _read(str(file).replace("bounds", name), start, end)
            pieces.setdefault(name, []).append(piece)
    return {name: np.concatenate(parts) for name, parts in pieces.items()}


def _read(file: str, start: int, end: int) -> np.ndarray:
    """Entries of an array in a file, which is not mapped: Linux may map 2 MB for each entry."""
    with pathlib.Path(file).open("rb") as opened:
        np.lib.format.read_magic(opened)
        dtype = np.lib.format.read_array_header_1_0(opened)[2]
        opened.seek(int(start) * dtype.itemsize, 1)
        return np.fromfile(opened, dtype, int(end - start))


def clean(task: Task) -> Tally:
    """Drops duplicates, filters by value and labels: from `cut` to the first step."""
    columns, config = _read_cut(task), task.config
    numbers = columns.pop("numbers")
    codes, columns["users"] = _renumbered(columns["users"])
    data = Ratings(**columns)
    found = None
    if config.duplicates == "error":
        found, n = ratings.first_repeat(data, task.n_items), 0
    else:
        data, n = ratings.merge_duplicates(data, config.duplicates, task.n_items)
    if found:
        first, second = (int(numbers[i]) for i in (found.first, found.second))
        user = int(codes[found.user])
        repeat = dataclasses.replace(found, user=user, first=first, second=second)
        return Tally({"repeats": found.n}, {"repeat": repeat})
    data, dropped = ratings.filter_values(data, config)
    data = ratings.labelled(data, config)
    _save_users(task, codes, data)
    return _of_items(task, data, dropped | ({"duplicates": n} if n else {}))


def narrow(task: Task) -> Tally:
    """Drops rare items, and users with too few or too many ratings, once."""
    data, dropped = ratings.filter_counts(task.ratings(), task.config, task.fact("item_counts"))
    _save_users(task, task.users, data)
    return _of_items(task, data, dropped)


def _save_users(task: Task, codes: np.ndarray, data: Ratings) -> None:
    """Writes ratings, with only those users that have one left."""
    left, users = _renumbered(data.users)
    data = dataclasses.replace(data, users=users)
    task.save(codes[left], data, counts=np.bincount(users, minlength=len(left)))


def _renumbered(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The users that occur, sorted, and each rating's index among them, int32."""
    found, index = np.unique(users, return_inverse=True)
    return found, index.astype(np.int32)


def _of_items(task: Task, data: Ratings, dropped: dict[str, int]) -> Tally:
    counts = np.bincount(data.items, minlength=task.n_items)
    return Tally({"n": len(data), "items": counts}, dropped=dropped)


def time_range(task: Task) -> Tally:
    """Number, first and last (negated) of the times inside a split by time."""
    times = task.column("times")
    times = times[task.config.rule.inside(times)]
    if not len(times):
        return Tally({"n": 0})
    return Tally({"n": len(times)}, {"first": int(times.min()), "last": -int(times.max())})


def histogram(task: Task) -> Tally:
    """Counts the times inside a split by time that are in the task's span, by bin."""
    first, last, width = task.span
    times = task.column("times")
    times = times[task.config.rule.inside(times) & (times >= first) & (times <= last)]
    return Tally(
        {"bins": np.bincount((times - first) // width, minlength=(last - first) // width + 1)}
    )


def known_items(task: Task) -> Tally:
    """Counts items with history; and ratings in the history, and inside of it and the window."""
    data, rule = task.ratings(), task.config.rule
    history = rule.history(data, _facts(task))
    n_inside = int(rule.inside(data.times).sum()) if hasattr(rule, "inside") else len(data)
    counts = np.bincount(data.items[history], minlength=task.n_items)
    return Tally({"items": counts, "history": int(history.sum()), "inside": n_inside})


def known_counts(task: Task) -> int:
    """Writes each user's number of ratings of known items, as the column `known`."""
    data = task.ratings()
    known = data.users[task.fact("known_items")[data.items]]
    counts = np.bincount(known, minlength=len(task.users))
    np.save(_file(task.directory, task.step, task.number, "known"), counts)
    return len(known)


def assign(task: Task) -> Tally:
    """Splits the ratings; writes those that are kept, and each user's counts by part."""
    data, rule = task.ratings(), task.config.rule
    if rule.needs_pairs:
        users = task.fact("user_keys")[task.users][data.users]
        pairs = hash_law.of_pairs(users, task.fact("item_keys")[data.items])
        data = dataclasses.replace(data, pairs=pairs)
    cut = rule.split_users(data, len(task.users), task.n_items, _facts(task))
    kept = cut.part != DROPPED
    data, part = data.take(kept), cut.part[kept]
    in_train = (part == HISTORY) & (cut.group[data.users] == 0)
    lists = data.users.astype(np.int64) * len(schema.PARTS) + part
    counts = np.bincount(lists, minlength=len(task.users) * len(schema.PARTS))
    task.save(task.users, data, part=part, counts=counts.reshape(-1, len(schema.PARTS)))
    times, least = data.times[in_train], {"groups": cut.groups, "test_history": cut.test_history}
    if len(data):
        least |= {"lowest": float(data.values.min()), "highest": -float(data.values.max())}
    if len(times):
        least |= {"first": int(times.min()), "last": -int(times.max())}
    sums = {
        "n": len(data),
        "train": len(times),
        "value": exact.total(data.values[in_train]),
        "items": np.bincount(data.items, minlength=task.n_items),
        "train_items": np.bincount(data.items[in_train], minlength=task.n_items),
    }
    return Tally(sums, least, cut.dropped)


def _facts(task: Task) -> Facts:
    """The facts that have been written so far."""
    directory, facts = pathlib.Path(task.directory), Facts(bound=task.bound)
    if (directory / "group.npy").exists():
        facts = dataclasses.replace(facts, group=task.fact("group")[task.users])
    if (directory / "known_items.npy").exists():
        facts = dataclasses.replace(facts, known_items=np.asarray(task.fact("known_items")))
    if (directory / "targets.npy").exists():
        flat, starts = task.fact("targets"), task.fact("target_starts")

        def targets(users: np.ndarray) -> Iterator[np.ndarray]:
            for code in task.users[users].tolist():
                yield flat[starts[code] : starts[code + 1]]

        facts = dataclasses.replace(facts, targets=targets)
    return facts


@dataclasses.dataclass(frozen=True)
class Encode:
    """`blocks.write_records` of a partition, which is the block of its number.

    Attributes:
        task: The partition.
        block: Its block.
    """

    task: Task
    block: blocks.Block


def encode(encode: Encode) -> int:
    """Writes a partition's records; returns the number of rows."""
    task = encode.task
    data, rows = task.ratings(), task.fact("user_positions")[task.users]
    columns = {
        "row": rows[data.users],
        "column": task.fact("item_positions")[data.items],
        "value": data.values,
        "time": data.times,
        "part": np.asarray(task.column("part")),
    }
    return blocks.write_records(encode.block, columns)
