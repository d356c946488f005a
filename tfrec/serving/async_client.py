"""The client for programs of asyncio: the same questions and messages, sent over `grpc.aio`."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tfrec.serving import arrays
from tfrec.serving.asking import DEFAULT, History, Question, Questions, Recommendation
from tfrec.serving.channel import grpc
from tfrec.serving.exchange import Exchange, Specs, inputs_of, states


class AsyncClient(Exchange):
    """As `tfrec.serving.client.Client`, with methods to be awaited.

    To be made in the event loop that uses it.

    Args:
        target: "host:port", or "unix:/path" of a socket.
        model: The model's name.
        **options: As of `Client`.
    """

    transport = grpc.aio

    async def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
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
        timeout: float | None = None,
    ) -> list[list[Recommendation]]:
        """See `Client.recommend`."""
        given = {"k": k, "exclude": exclude, "allow": allow}
        return await self._ask(Questions.recommend, histories, timeout=timeout, **given)

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
        return await self._ask(Questions.recommend_users, users, timeout=timeout, **given)

    async def rate(
        self,
        histories_or_users: Sequence[History] | Sequence[str],
        candidates: Sequence[Sequence[str]],
        *,
        timeout: float | None = None,
    ) -> list[list[float]]:
        """See `Client.rate`."""
        return await self._ask(Questions.rate, histories_or_users, candidates, timeout=timeout)

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
            found = self._learn(await self._call(self._metadata, self._metadata_request(), None))
        return found

    async def specs(self, signature: str) -> Mapping[str, arrays.Spec]:
        """See `Client.specs`."""
        if signature not in await self.signatures():
            self._doubt()
        return inputs_of(await self.signatures(), signature)

    async def status(self) -> dict[int, str]:
        """See `Client.status`."""
        return states(await self._call(self._status, self._status_request(), None))

    async def _ask(self, method: Callable[..., Question], *given, timeout, **more):
        """Sends the requests of a question one after the other."""
        questions = Unanswered(await self.signatures(), self.rating, self.batch_size)
        signature, requests, read = method(questions, *given, **more)
        await self.specs(signature)
        return read([await self.predict(r, signature, timeout=timeout) for r in requests])

    async def _call(self, method, request, timeout: float | None):
        try:
            return await method(request, **self._call_options(timeout))
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from None


class Unanswered(Questions):
    """Questions to known signatures, for others to answer."""

    def __init__(self, specs: Specs, rating: float, batch_size: int):
        self._specs, self.rating, self.batch_size = specs, rating, batch_size

    def signatures(self) -> Specs:
        return self._specs

    def answer(self, question: Question, timeout: float | None) -> Question:
        """The question itself."""
        del timeout
        return question
