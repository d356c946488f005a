"""The client for asyncio: the same methods and messages, over `grpc.aio`."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tfrec.serving import arrays
from tfrec.serving.base_client import BaseClient, Specs, inputs_of, states
from tfrec.serving.channel import grpc
from tfrec.serving.predictor import DEFAULT, BasePredictor, Calls, History, Recommendation


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

    async def recommend(
        self,
        histories: Sequence[History],
        k: int | None = None,
        *,
        exclude: Sequence[Iterable[str]] | None = None,
        allow: Sequence[Iterable[str]] | None = None,
        times: Sequence[Iterable[int]] | None = None,
        ask_time: Sequence[int] | None = None,
        timeout: float | None = None,
    ) -> list[list[Recommendation]]:
        """See `Client.recommend`."""
        given = {"k": k, "exclude": exclude, "allow": allow, "times": times, "ask_time": ask_time}
        return await self._run(BasePredictor.recommend, histories, timeout=timeout, **given)

    async def recommend_users(
        self,
        users: Sequence[str],
        k: int | None = None,
        *,
        exclude: Sequence[Iterable[str]] | None = None,
        allow: Sequence[Iterable[str]] | None = None,
        timeout: float | None = None,
    ) -> list[list[Recommendation]]:
        """See `Client.recommend_users`."""
        given = {"k": k, "exclude": exclude, "allow": allow}
        return await self._run(BasePredictor.recommend_users, users, timeout=timeout, **given)

    async def rate(
        self,
        histories_or_users: Sequence[History] | Sequence[str],
        candidates: Sequence[Sequence[str]],
        *,
        timeout: float | None = None,
    ) -> list[list[float]]:
        """See `Client.rate`."""
        return await self._run(BasePredictor.rate, histories_or_users, candidates, timeout=timeout)

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

    async def _run(self, method: Callable[..., Calls], *given, timeout, **more):
        """Sends the requests of a method of `BasePredictor` one after the other."""
        planner = CallPlanner(await self.signatures(), self.rating, self.batch_size)
        signature, requests, read = method(planner, *given, **more)
        await self.specs(signature)
        return read([await self.predict(r, signature, timeout=timeout) for r in requests])

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
