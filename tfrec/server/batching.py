"""Batches requests of one signature, with sizes rounded up to the allowed ones."""

import asyncio
import collections
import dataclasses
import itertools
import os
import time
from collections.abc import Awaitable, Callable

import numpy as np

from tfrec.server import merging
from tfrec.server.errors import ServingError, invalid
from tfrec.server.saved_model import Call

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
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0  # 0: max_batch_size; used only with splitting

    @classmethod
    def of(cls, message) -> "Settings":
        """The settings of a `BatchingParameters` message.

        Raises:
            ValueError: inconsistent sizes.
        """
        plain = {"allowed_batch_sizes", "pad_variable_length_inputs"}
        given = {
            field.name: getattr(message, field.name).value
            for field in dataclasses.fields(cls)
            if field.name not in plain and message.HasField(field.name)
        }
        settings = cls(
            **given,
            allowed_batch_sizes=tuple(message.allowed_batch_sizes),
            pad_variable_length_inputs=message.pad_variable_length_inputs,
        )
        settings.check()
        return settings

    def check(self) -> None:
        """Refuses inconsistent sizes.

        Raises:
            ValueError: with the sizes.
        """
        allowed = list(self.allowed_batch_sizes)
        if allowed != sorted(set(allowed)):
            raise ValueError(f"allowed_batch_sizes {allowed} must be increasing")
        if allowed and allowed[-1] != self.max_batch_size:
            raise ValueError(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{allowed[-1]}; expected {self.max_batch_size}"
            )
        if min(self.max_batch_size, self.num_batch_threads) < 1:
            raise ValueError("max_batch_size and num_batch_threads must be at least 1")
        if not 0 <= self.max_execution_batch_size <= self.max_batch_size:
            raise ValueError(
                f"max_execution_batch_size {self.max_execution_batch_size} must not be larger "
                f"than max_batch_size, {self.max_batch_size}"
            )

    @property
    def largest(self) -> int:
        """The largest number of rows in one run."""
        split = self.enable_large_batch_splitting and self.max_execution_batch_size
        return split or self.max_batch_size

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
    """Tasks that run together; it is closed when full, and due after the timeout."""

    ripe: float
    tasks: list[Task] = dataclasses.field(default_factory=list)
    size: int = 0
    closed: bool = False


class Batcher:
    """Queues of one servable, one for each signature; all on the event loop.

    Only inputs of the same dtypes and ranks are batched, so that a request with wrong ones fails
    alone. In the real server the other requests of its batch fail too.

    Args:
        settings: Sizes and times.
        run: Runs a call off the loop: `(call, milliseconds or None) -> arrays`.
    """

    def __init__(self, settings: Settings, run: Callable[[Call, int | None], Awaitable]):
        self.settings, self._run = settings, run
        self._queues: dict[tuple, collections.deque[Batch]] = {}
        self._free = settings.num_batch_threads
        self._running: set[asyncio.Task] = set()  # the loop keeps only weak references

    async def run(self, call: Call, deadline: float | None) -> list[np.ndarray]:
        """Runs a call batched with others; one that is larger than a batch is split.

        Raises:
            ServingError: too large, the queue is full, the deadline passed, or the batch failed.
        """
        loop = asyncio.get_running_loop()
        kinds = tuple((array.dtype, array.ndim) for array in call.arrays)
        queue = self._queues.setdefault((call.feeds, call.fetches, kinds), collections.deque())
        tasks = [
            Task(piece, merging.rows(piece), deadline, loop.create_future())
            for piece in self._pieces(call, queue)
        ]
        self._check_room(queue, tasks)
        for task in tasks:
            self._enqueue(queue, task)
        self._start_what_can()
        answers = await asyncio.gather(*(task.answer for task in tasks))
        return merging.join(answers)

    def run_alone(self, call: Call, run: Callable[[Call], list[np.ndarray]]) -> list[np.ndarray]:
        """Runs a call in its own batches, checked and padded like others; for loader threads."""
        parts = []
        for piece in self._pieces(call, collections.deque()):
            arrays = run(merging.merge([piece], self.settings))
            parts.append(merging.split(arrays, [merging.rows(piece)])[0])
        return merging.join(parts)

    def _pieces(self, call: Call, queue: collections.deque[Batch]) -> list[Call]:
        """Splits a call if splitting is on; the first piece fills the open batch.

        Raises:
            ServingError: too many rows, or inputs of different numbers of rows.
        """
        size, most = merging.rows(call), self.settings.max_batch_size
        if size > most:
            raise invalid(f"Task size {size} is larger than maximum input batch size {most}")
        room = self._room(queue) or self.settings.largest
        if size <= room or not self.settings.enable_large_batch_splitting:
            return [call]
        cuts = [0, *range(room, size, self.settings.largest), size]
        return [
            Call(call.feeds, tuple(a[start:end] for a in call.arrays), call.fetches)
            for start, end in itertools.pairwise(cuts)
        ]

    def _room(self, queue: collections.deque[Batch]) -> int:
        """The number of rows that the open batch of a queue can still take."""
        is_open = queue and not queue[-1].closed
        return self.settings.largest - queue[-1].size if is_open else 0

    def _check_room(self, queue: collections.deque[Batch], tasks: list[Task]) -> None:
        new = len(tasks) - (tasks[0].size <= self._room(queue))
        if len(queue) + new > max(1, self.settings.max_enqueued_batches):
            raise ServingError(
                "UNAVAILABLE",
                "The batch scheduling queue to which this task was submitted is full; "
                f"currently {len(queue)} batches enqueued",
            )

    def _enqueue(self, queue: collections.deque[Batch], task: Task) -> None:
        if task.size > self._room(queue):
            if queue:
                queue[-1].closed = True
            wait = self.settings.batch_timeout_micros / 1e6
            queue.append(Batch(time.monotonic() + wait))
            if wait:
                asyncio.get_running_loop().call_later(wait, self._start_what_can)
        queue[-1].tasks.append(task)
        queue[-1].size += task.size
        queue[-1].closed = queue[-1].size >= self.settings.largest

    def _start_what_can(self) -> None:
        """Starts closed and due batches while threads are free, oldest first."""
        now = time.monotonic() + 1e-4  # a timer may fire a little early
        self._queues = {key: queue for key, queue in self._queues.items() if queue}
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
            elif not task.answer.done():  # its client may have disconnected
                tasks.append(task)
        if not tasks:
            return
        deadlines = [task.deadline for task in tasks]
        limit = None if None in deadlines else max(1, int(1e3 * (max(deadlines) - now)))
        try:
            merged = merging.merge([task.call for task in tasks], self.settings)
            arrays = merging.split(await self._run(merged, limit), [task.size for task in tasks])
        except Exception as error:  # of any type: every waiting client must get an answer
            for task in tasks:
                settle(task, error=error)
            return
        for task, answer in zip(tasks, arrays, strict=True):
            settle(task, answer)


def settle(task: Task, answer=None, error: Exception | None = None) -> None:
    """Sets a task's answer or error, unless its client has disconnected."""
    if task.answer.done():
        return
    if error is not None:
        task.answer.set_exception(error)
    else:
        task.answer.set_result(answer)
