"""Assembles the server and runs it until it is stopped."""

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Awaitable

import tensorflow as tf

from tfrec.server import grpc_service, rest_service
from tfrec.server.inference import Inference
from tfrec.server.models import Models
from tfrec.server.monitoring import Metrics
from tfrec.server.options import Options
from tfrec.server.thread_pool import ThreadPool

SWITCH_SECONDS = 5e-4  # with Python's 5 ms a request would wait for the parsing of another
GRACE_SECONDS = 5.0  # for running requests when the server stops


def log(text: str) -> None:
    """Prints a line on stderr."""
    print(text, file=sys.stderr, flush=True)


async def serve(options: Options, stop: asyncio.Event, ready=lambda: None) -> None:
    """Loads the models, listens, and returns when `stop` is set and requests have ended.

    Args:
        options: Checked options.
        stop: Set to stop the server.
        ready: Called when all ports are open.

    Raises:
        ValueError: a configuration or a port that cannot be used.
    """
    pool = ThreadPool(max(options.grpc_max_threads, options.rest_api_num_threads))
    metrics = Metrics()
    models = Models(options, pool, log)
    inference = Inference(models, options, pool, metrics)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(pool.close)
        stack.push_async_callback(asyncio.to_thread, models.stop)
        if not await _unless(stop, asyncio.to_thread(models.start)):
            return
        if options.rest_api_port:
            service = rest_service.RestService(options, inference, metrics, pool)
            runner = await rest_service.start(service, options)
            stack.push_async_callback(runner.cleanup)
            page = "; the page to try it is there" if options.demo else ""
            log(f"HTTP/REST API at http://{options.host}:{options.rest_api_port}{page}")
        if options.port or options.grpc_socket_path:
            services = grpc_service.Services(inference, metrics, pool)
            server = await grpc_service.start(services, options)
            stack.push_async_callback(server.stop, GRACE_SECONDS)
            port = f"{options.host}:{options.port}" if options.port else ""
            log(f"gRPC at {port} {options.grpc_socket_path}")
        ready()
        await stop.wait()


async def _unless(stop: asyncio.Event, work: Awaitable) -> bool:
    """Waits for work or for `stop`; returns whether the work ended."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            await working  # raises its error
        return not stop.is_set()
    finally:
        stopping.cancel()


def run(options: Options) -> None:
    """Serves until SIGINT or SIGTERM."""
    sys.setswitchinterval(SWITCH_SECONDS)
    tf.get_logger().setLevel("ERROR")  # the loader is deprecated: see saved_model.py

    async def main() -> None:
        stop = asyncio.Event()
        for text in options.notes():
            log(text)
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        await serve(options, stop)

    asyncio.run(main())


@contextlib.contextmanager
def in_thread(options: Options):
    """Runs a server in a thread of this process while the block runs.

    Raises:
        ValueError: a configuration or a port that cannot be used.
    """
    ready, failed = threading.Event(), []
    loop_and_stop = []

    async def main() -> None:
        stop = asyncio.Event()
        loop_and_stop.extend([asyncio.get_running_loop(), stop])
        await serve(options, stop, ready.set)

    def work() -> None:
        try:
            asyncio.run(main())
        except Exception as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="tfrec-serve", daemon=True)
    thread.start()
    ready.wait()
    try:
        if failed:
            raise failed[0]
        yield options
    finally:
        if not failed:
            loop_and_stop[0].call_soon_threadsafe(loop_and_stop[1].set)
        thread.join()
