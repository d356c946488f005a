"""Requests run together: one batch of one signature, sizes rounded up to the allowed ones."""

import asyncio
import collections
import dataclasses
import os
import time
from collections.abc import Awaitable, Callable

import numpy as np

from tfrec.serving.server.engine import Call
from tfrec.serving.server.errors import ServingError, invalid

LATE = "Run() timeout exceeded while waiting in batching queue"


@dataclasses.dataclass(frozen=True)
class Settings:
    """`BatchingParameters`, with the real server's defaults."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False

    @classmethod
    def of(cls, message) -> "Settings":
        """Of a message of that name.

        Raises:
            ValueError: sizes that do not fit each other.
        """
        wrapped = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches")
        given = {
            name: getattr(message, name).value
            for name in (*wrapped, "num_batch_threads")
            if message.HasField(name)
        }
        allowed = tuple(message.allowed_batch_sizes)
        settings = cls(
            **given,
            allowed_batch_sizes=allowed,
            pad_variable_length_inputs=message.pad_variable_length_inputs,
        )
        if list(allowed) != sorted(set(allowed)):
            raise ValueError(f"allowed_batch_sizes {list(allowed)} must be increasing")
        if allowed and allowed[-1] != settings.max_batch_size:
            raise ValueError(
                f"the last of allowed_batch_sizes, {allowed[-1]}, must be max_batch_size, "
                f"{settings.max_batch_size}"
            )
        if min(settings.max_batch_size, settings.num_batch_threads) < 1:
            raise ValueError("max_batch_size and num_batch_threads must be at least 1")
        return settings

    def rounded(self, size: int) -> int:
        """The allowed size for a batch of `size` rows."""
        return next((s for s in self.allowed_batch_sizes if s >= size), size)


@dataclasses.dataclass
class Task:
    """One request in a batch; `deadline` is on the clock of `time.monotonic`, or None."""

    call: Call
    size: int
    deadline: float | None
    answer: asyncio.Future


@dataclasses.dataclass
class Batch:
    """Tasks that run together; it closes when it is full, and is ripe after the timeout."""

    ripe: float
    tasks: list[Task] = dataclasses.field(default_factory=list)
    size: int = 0
    closed: bool = False


class Batcher:
    """Queues of one servable, one a signature; all on the event loop.

    Args:
        settings: Sizes and times.
        run: Runs a call off the loop: `(call, milliseconds or None) -> arrays`.
    """

    def __init__(self, settings: Settings, run: Callable[[Call, int | None], Awaitable]):
        self.settings, self._run = settings, run
        self._queues: dict[tuple, collections.deque[Batch]] = {}
        self._free = settings.num_batch_threads
        self._running: set[asyncio.Task] = set()  # the loop itself keeps weak references only

    async def run(self, call: Call, deadline: float | None) -> list[np.ndarray]:
        """Answers a call, together with others.

        Raises:
            ServingError: too large, the queue is full, too late, or the batch failed.
        """
        size = self.size(call)
        task = Task(call, size, deadline, asyncio.get_running_loop().create_future())
        self._enqueue(task)
        self._start_what_can()
        return await task.answer

    def size(self, call: Call) -> int:
        """A call's rows.

        Raises:
            ServingError: more than a batch holds, or not the same number in all inputs.
        """
        size, largest = rows(call), self.settings.max_batch_size
        if size > largest:
            raise invalid(f"Task size {size} is larger than maximum input batch size {largest}")
        return size

    def _enqueue(self, task: Task) -> None:
        key = (task.call.feeds, task.call.fetches)
        queue = self._queues.setdefault(key, collections.deque())
        if queue and queue[-1].size + task.size > self.settings.max_batch_size:
            queue[-1].closed = True
        if not queue or queue[-1].closed:
            if len(queue) >= self.settings.max_enqueued_batches:
                raise ServingError(
                    "UNAVAILABLE",
                    "The batch scheduling queue to which this task was submitted is full; "
                    f"currently {len(queue)} batches enqueued",
                )
            wait = self.settings.batch_timeout_micros / 1e6
            queue.append(Batch(time.monotonic() + wait))
            if wait:
                asyncio.get_running_loop().call_later(wait, self._start_what_can)
        queue[-1].tasks.append(task)
        queue[-1].size += task.size
        queue[-1].closed = queue[-1].size == self.settings.max_batch_size

    def _start_what_can(self) -> None:
        """Starts closed and ripe batches while threads are free, the oldest first."""
        now = time.monotonic() + 1e-4  # a timer may fire a little early
        while self._free:
            ready = [q for q in self._queues.values() if q and (q[0].closed or q[0].ripe <= now)]
            if not ready:
                return
            batch = min(ready, key=lambda queue: queue[0].ripe).popleft()
            self._free -= 1
            running = asyncio.ensure_future(self._process(batch))
            self._running.add(running)
            running.add_done_callback(self._finished)

    def _finished(self, running: asyncio.Task) -> None:
        self._running.discard(running)
        self._free += 1
        self._start_what_can()

    async def _process(self, batch: Batch) -> None:
        now = time.monotonic()
        tasks = []
        for task in batch.tasks:
            if task.deadline is not None and task.deadline <= now:
                settle(task, error=ServingError("DEADLINE_EXCEEDED", LATE))
            elif not task.answer.done():  # its client may have gone
                tasks.append(task)
        if not tasks:
            return
        deadlines = [task.deadline for task in tasks]
        limit = None if None in deadlines else max(1, int(1e3 * (max(deadlines) - now)))
        try:
            merged = merge([task.call for task in tasks], self.settings)
            arrays = split(await self._run(merged, limit), [task.size for task in tasks])
        except Exception as error:  # whatever it is, nobody may be left waiting
            for task in tasks:
                settle(task, error=error)
            return
        for task, answer in zip(tasks, arrays, strict=True):
            settle(task, answer)


def settle(task: Task, answer=None, error: Exception | None = None) -> None:
    """Gives a task its answer, unless its client has gone."""
    if task.answer.done():
        return
    if error is not None:
        task.answer.set_exception(error)
    else:
        task.answer.set_result(answer)


def rows(call: Call) -> int:
    """The inputs' common first dimension."""
    sizes = {array.shape[:1] for array in call.arrays}
    if () in sizes:
        raise invalid("Batching Run() input tensors must have at least one dimension")
    if len(sizes) != 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()[0]


def merge(calls: list[Call], settings: Settings) -> Call:
    """One call of the rows of all, filled up to an allowed size by repeating a row."""
    merged = []
    total = sum(rows(call) for call in calls)
    for place, name in enumerate(calls[0].feeds):
        arrays = [call.arrays[place] for call in calls]
        if len({array.shape[1:] for array in arrays}) > 1:
            arrays = _same_shapes(arrays, name, settings.pad_variable_length_inputs)
        missing = settings.rounded(total) - total
        if missing:
            arrays.append(np.repeat(arrays[-1][:1], missing, axis=0))
        merged.append(np.concatenate(arrays) if len(arrays) > 1 else arrays[0])
    return Call(calls[0].feeds, tuple(merged), calls[0].fetches)


def _same_shapes(arrays: list[np.ndarray], name: str, pad: bool) -> list[np.ndarray]:
    """Pads with each array's first value, as the real server does."""
    if not pad or len({array.ndim for array in arrays}) > 1:
        raise ServingError(
            "FAILED_PRECONDITION",
            f"Tensors with name '{name}' from different tasks have different shapes and padding "
            "is turned off.Set pad_variable_length_inputs to true, or ensure that all tensors "
            "with the same namehave equal dimensions starting with the first dim.",
        )
    shape = [max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True)]
    padded = []
    for array in arrays:
        wide = np.full((len(array), *shape), array.flat[0] if array.size else 0, array.dtype)
        wide[tuple(slice(size) for size in array.shape)] = array
        padded.append(wide)
    return padded


def split(arrays: list[np.ndarray], sizes: list[int]) -> list[list[np.ndarray]]:
    """Each request's share of the outputs."""
    total = sum(sizes)
    for array in arrays:
        if not array.ndim:
            raise ServingError("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
        if len(array) < total:
            raise ServingError(
                "FAILED_PRECONDITION",
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors",
            )
    ends = np.cumsum(sizes)
    return [[a[end - size : end] for a in arrays] for end, size in zip(ends, sizes, strict=True)]
