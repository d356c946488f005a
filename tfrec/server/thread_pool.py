"""Threads for functions that would block the event loop."""

import asyncio
import concurrent.futures
from collections.abc import Callable


class ThreadPool:
    """`await pool(function, *args)` runs a function in a thread.

    Args:
        threads: The number of threads.
    """

    def __init__(self, threads: int):
        self._threads = concurrent.futures.ThreadPoolExecutor(threads, "tfrec-run")

    async def __call__(self, function: Callable, *args, after: Callable | None = None):
        """Runs `function`; calls `after` when it has ended, even if the caller was cancelled."""
        try:
            future = self._threads.submit(function, *args)
        except RuntimeError:  # shut down
            if after:
                after()
            raise
        if after:
            future.add_done_callback(lambda _: after())
        try:
            return await asyncio.wrap_future(future)
        finally:
            del future  # it and an exception would refer to each other

    def close(self) -> None:
        """Waits for running functions."""
        self._threads.shutdown()


async def run_inline(function: Callable, *args):
    """Runs a function on the event loop, with the signature of a `ThreadPool`."""
    return function(*args)
