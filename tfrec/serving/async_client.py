"""The client for asyncio: the same methods and messages, over `grpc.aio`."""

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfrec.serving import arrays
from tfrec.serving.base_client import BaseClient, Specs, inputs_of, states
from tfrec.serving.channel import grpc
from tfrec.serving.predictor import DEFAULT, BasePredictor, Calls


def awaiting(method: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """A method of `BasePredictor` as a coroutine method, which sends its requests one by one."""

    @functools.wraps(method)
    async def call(self, *given, timeout: float | None = None, **more):
        planner = CallPlanner(await self.signatures(), self.rating, self.batch_size)
        signature, requests, read = method(planner, *given, **more)
        await self.specs(signature)
        return read([await self.predict(r, signature, timeout=timeout) for r in requests])

    return call


class AsyncClient(BaseClient):
    """As `tfrec.serving.client.Client`, with coroutine methods.

    Must be created in the event loop that uses it.

    Args:
        target: "host:port", or "unix:/path" of a socket.
        model: The model's name.
        **options: As for `Client`.
    """

    transport = grpc.aio

    async def close(self) -> None:
        """Closes the connection; running calls are cancelled."""
        await self._channel.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    recommend = awaiting(BasePredictor.recommend)
    recommend_users = awaiting(BasePredictor.recommend_users)
    rate = awaiting(BasePredictor.rate)
    explain = awaiting(BasePredictor.explain)

    async def predict(
        self,
        inputs: Mapping[str, np.ndarray | list],
        signature: str = DEFAULT,
        *,
        outputs: Sequence[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """See `Client.predict`."""
        request = self._predict_request(inputs, signature, outputs, await self.specs(signature))
        return self._outputs(await self._call(self._predict, request, timeout))

    async def signatures(self) -> Specs:
        """See `Client.signatures`."""
        found = self._up_to_date()
        if found is None:
            found = self._cache(await self._call(self._metadata, self._metadata_request(), None))
        return found

    async def specs(self, signature: str) -> Mapping[str, arrays.Spec]:
        """See `Client.specs`."""
        if signature not in await self.signatures():
            self._invalidate()
        return inputs_of(await self.signatures(), signature)

    async def status(self) -> dict[int, str]:
        """See `Client.status`."""
        return states(await self._call(self._status, self._status_request(), None))

    async def _call(self, method, request, timeout: float | None):
        try:
            return await method(request, **self._call_options(timeout))
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from None


class CallPlanner(BasePredictor):
    """Makes the calls of known signatures without running them."""

    def __init__(self, specs: Specs, rating: float, batch_size: int):
        self._specs, self.rating, self.batch_size = specs, rating, batch_size

    def signatures(self) -> Specs:
        return self._specs

    def run(self, calls: Calls, timeout: float | None) -> Calls:
        """Returns the calls."""
        del timeout
        return calls
