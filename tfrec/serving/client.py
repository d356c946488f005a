"""A client of TensorFlow Serving and of the local server, without TensorFlow.

    with Client("localhost:8500", "deeprec") as client:
        client.recommend([{"1": 5.0, "50": 3.0}])     # histories: raw item id -> rating
        client.recommend_users(["7", "12"])           # known users

    async with AsyncClient("localhost:8500", "deeprec") as client:
        await client.recommend([{"1": 5.0, "50": 3.0}])

Imports grpcio, protobuf and numpy, in a fraction of a second instead of TensorFlow's ten.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tfrec.serving import arrays
from tfrec.serving.async_client import AsyncClient
from tfrec.serving.base_client import BaseClient, RequestError, Specs, inputs_of, states
from tfrec.serving.channel import grpc
from tfrec.serving.predictor import DEFAULT, Predictor, Recommendation

__all__ = ["AsyncClient", "Client", "Recommendation", "RequestError"]


class Client(BaseClient, Predictor):
    """A client of one model of a server; can be shared by threads.

    Args:
        target: "host:port", or "unix:/path" of a socket.
        model: The model's name.
        version: A version; default the latest that is available.
        label: A version label, such as "stable", instead of `version`.
        timeout: Maximum seconds of a call, including retries.
        attempts: Maximum number of attempts while the server is UNAVAILABLE; gRPC allows up to 5.
        rating: The rating of items that are given without one.
        batch_size: Maximum number of rows of a request; longer inputs are sent in several.
        tls: PEM of the certificate authority, or True for the system's authorities; None: no TLS.
        client_key: PEM of the client's private key, if the server requires a client certificate.
        client_certificate: PEM of that key's certificate.
        authority: The name on the server's certificate, if it is not the host name.
        metadata: Sent with every call, such as `{"authorization": "Bearer ..."}`; or a function
            that returns it, called before each call.
        load_balancing: "round_robin": calls go to all addresses of the target in turn;
            "pick_first": to one.
        keepalive: Seconds between pings on an idle connection, so that proxies do not close it. A
            server may close connections that ping more often than every 300 seconds.
        options: More options of the channel by their names in gRPC; they override the client's.
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
        """Calls Predict with any signature.

        Args:
            inputs: Arrays or nested lists by name, converted to the signature's dtypes.
            signature: Its name.
            outputs: Names of the outputs to return; default all.
            timeout: In seconds; default the client's.

        Returns:
            Arrays by name; strings are bytes.

        Raises:
            RequestError: the server returned an error.
        """
        request = self._predict_request(inputs, signature, outputs, self.specs(signature))
        return self._outputs(self._call(self._predict, request, timeout))

    def signatures(self) -> Specs:
        """Signature -> input -> dtype and shape.

        Cached, and requested again, at most every ten seconds, if the version may have changed:
        a response has another version, or a call was refused.
        """
        found = self._up_to_date()
        if found is None:
            found = self._cache(self._call(self._metadata, self._metadata_request(), None))
        return found

    def specs(self, signature: str) -> Mapping[str, arrays.Spec]:
        """Specs of a signature's inputs.

        Raises:
            RequestError: there is no such signature.
        """
        if signature not in self.signatures():
            self._invalidate()
        return inputs_of(self.signatures(), signature)

    def status(self) -> dict[int, str]:
        """Version -> state, such as {2: "AVAILABLE", 1: "END"}."""
        return states(self._call(self._status, self._status_request(), None))

    def _call(self, method, request, timeout: float | None):
        try:
            return method(request, **self._call_options(timeout))
        except grpc.RpcError as error:
            raise self._error(error) from None
