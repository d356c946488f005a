"""A client of TensorFlow Serving, real or local, that needs no TensorFlow.

    with Client("localhost:8500", "deeprec") as client:
        client.recommend([{"1": 5.0, "50": 3.0}])     # histories: raw item id -> rating
        client.recommend_users(["7", "12"])           # users known to the model

    async with AsyncClient("localhost:8500", "deeprec") as client:
        await client.recommend([{"1": 5.0, "50": 3.0}])

It imports grpcio, protobuf and numpy: a fraction of a second instead of TensorFlow's ten.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tfrec.serving import arrays
from tfrec.serving.asking import DEFAULT, Asking, Recommendation
from tfrec.serving.async_client import AsyncClient
from tfrec.serving.channel import grpc
from tfrec.serving.exchange import Exchange, RequestError, Specs, inputs_of, states

__all__ = ["AsyncClient", "Client", "Recommendation", "RequestError"]


class Client(Exchange, Asking):
    """One model of one server; may be shared by threads.

    Args:
        target: "host:port", or "unix:/path" of a socket.
        model: The model's name.
        version: A version, else the latest that answers.
        label: A version's label, such as "stable", instead.
        timeout: Seconds that a call may take, its retries included.
        attempts: Calls in all where the server is UNAVAILABLE; gRPC allows 5 at most.
        rating: Of the items of a history that is given without ratings.
        batch_size: Rows of one request; longer lists are sent in several.
        tls: PEM of the certificate authority, or True for the system's own; None: no TLS.
        client_key: PEM of the client's private key, where the server asks for a certificate.
        client_certificate: PEM of that key's certificate.
        authority: The name on the server's certificate, where it is not the host's.
        metadata: Sent with every call, such as `{"authorization": "Bearer ..."}`; or a function
            that returns it, called before each call.
        load_balancing: "round_robin": calls go to all addresses of the target in turn;
            "pick_first": to one.
        keepalive: Seconds between pings on a connection without calls, so that no proxy closes
            it. A server may close connections that ping more often than every 300 seconds.
        options: More of the channel's options, by gRPC's names; they replace the client's own.
    """

    transport = grpc

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def predict(
        self,
        inputs: Mapping[str, np.ndarray | list],
        signature: str = DEFAULT,
        *,
        outputs: Sequence[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Predict, for any signature.

        Args:
            inputs: An array or nested list by name; converted to the signature's dtypes.
            signature: Its name.
            outputs: Names of those wanted, else all.
            timeout: Seconds, instead of the client's.

        Returns:
            An array by name; strings are bytes.

        Raises:
            RequestError: the server's answer was no.
        """
        request = self._predict_request(inputs, signature, outputs, self.specs(signature))
        return self._outputs(self._call(self._predict, request, timeout))

    def signatures(self) -> Specs:
        """Names -> inputs -> dtype and shape.

        Asked once, and again where another version may answer: its number stood in an answer, or
        a call was refused; but not within ten seconds.
        """
        found = self._up_to_date()
        if found is None:
            found = self._learn(self._call(self._metadata, self._metadata_request(), None))
        return found

    def specs(self, signature: str) -> Mapping[str, arrays.Spec]:
        """A signature's inputs.

        Raises:
            RequestError: there is no such signature.
        """
        if signature not in self.signatures():
            self._doubt()
        return inputs_of(self.signatures(), signature)

    def status(self) -> dict[int, str]:
        """Version -> state, such as {2: "AVAILABLE", 1: "END"}."""
        return states(self._call(self._status, self._status_request(), None))

    def _call(self, method, request, timeout: float | None):
        try:
            return method(request, **self._call_options(timeout))
        except grpc.RpcError as error:
            raise self._error(error) from None
