"""Threads for what would hold up the event loop."""

import asyncio
import concurrent.futures
from collections.abc import Callable


class Pool:
    """`await pool(function, *args)` runs it in a thread.

    Args:
        threads: How many.
    """

    def __init__(self, threads: int):
        self._threads = concurrent.futures.ThreadPoolExecutor(threads, "tfrec-run")

    async def __call__(self, function: Callable, *args, after: Callable | None = None):
        """Runs `function`; `after` is called when it has ended, even if nobody waits for it."""
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
            del future  # an exception would refer to it, and it to the exception

    def close(self) -> None:
        """Waits for what runs."""
        self._threads.shutdown()


async def here(function: Callable, *args):
    """Calls a function on the event loop itself, as a Pool does in a thread."""
    return function(*args)
