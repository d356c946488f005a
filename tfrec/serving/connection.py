"""One model of one server over gRPC: plain calls, without TensorFlow."""

import json
from collections.abc import Mapping, Sequence

try:
    import grpc
except ImportError as error:
    raise ImportError("the client needs grpcio: pip install 'tfrec[serving]'") from error
import numpy as np

from tfrec.serving import arrays, messages
from tfrec.serving.asking import DEFAULT

SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
LONGEST_MESSAGE = 2**31 - 1  # bytes; gRPC's own limit of 4 MB is soon reached by scores


class RequestError(Exception):
    """What the server answered instead.

    Args:
        code: A gRPC status code by name, such as "NOT_FOUND".
        message: The server's text.
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class Connection:
    """See `tfrec.serving.client.Client`, which adds recommendations and names the arguments."""

    def __init__(
        self,
        target: str = "localhost:8500",
        model: str = "default",
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        attempts: int = 4,
        tls: bytes | bool | None = None,
        authority: str | None = None,
    ):
        self.model, self.version, self.label = model, version, label
        self.timeout = timeout
        options = channel_options(attempts)
        if tls:
            if authority:
                options.append(("grpc.ssl_target_name_override", authority))
            credentials = grpc.ssl_channel_credentials(tls if isinstance(tls, bytes) else None)
            self._channel = grpc.secure_channel(target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._predict = self._method(SERVICE, "Predict", messages.PredictResponse)
        self._metadata = self._method(
            SERVICE, "GetModelMetadata", messages.GetModelMetadataResponse
        )
        self._status = self._method(
            MODEL_SERVICE, "GetModelStatus", messages.GetModelStatusResponse
        )
        self._specs: dict[str, dict[str, arrays.Spec]] | None = None

    def _method(self, service: str, name: str, response):
        return self._channel.unary_unary(
            f"/{service}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,
        )

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
        specs = self.specs(signature)
        request = messages.PredictRequest(output_filter=outputs)
        self._fill(request.model_spec)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            arrays.fill(request.inputs[name], value, specs.get(name))
        response = self._call(self._predict, request, timeout)
        return {name: arrays.to_array(proto) for name, proto in response.outputs.items()}

    def signatures(self) -> dict[str, dict[str, arrays.Spec]]:
        """Names -> inputs -> dtype and shape; asked once."""
        if self._specs is None:
            request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
            self._fill(request.model_spec)
            response = self._call(self._metadata, request, None)
            found = messages.SignatureDefMap()
            response.metadata["signature_def"].Unpack(found)
            self._specs = {
                name: {alias: arrays.Spec.of(info) for alias, info in signature.inputs.items()}
                for name, signature in found.signature_def.items()
            }
        return self._specs

    def specs(self, name: str) -> dict[str, arrays.Spec]:
        """A signature's inputs; asks again where a new version may have brought it."""
        if name not in self.signatures():
            self._specs = None
        if name not in self.signatures():
            known = ", ".join(sorted(self.signatures()))
            text = f'Serving signature key "{name}" not found. known: {known}'
            raise RequestError("FAILED_PRECONDITION", text)
        return self.signatures()[name]

    def status(self) -> dict[int, str]:
        """Version -> state, such as {2: "AVAILABLE", 1: "END"}."""
        request = messages.GetModelStatusRequest()
        self._fill(request.model_spec)
        response = self._call(self._status, request, None)
        names = messages.VersionState
        return {v.version: names[v.state].name for v in response.model_version_status}

    def _fill(self, spec) -> None:
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version
        elif self.label is not None:
            spec.version_label = self.label

    def _call(self, method, request, timeout: float | None):
        try:
            return method(request, timeout=self.timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            self._specs = None  # another version may answer now
            raise RequestError(error.code().name, error.details()) from None


def channel_options(attempts: int) -> list[tuple[str, int | str]]:
    """Message limits, and retries where the server is UNAVAILABLE."""
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    names = [{"service": SERVICE}, {"service": MODEL_SERVICE}]
    config = {"methodConfig": [{"name": names, "retryPolicy": policy}]} if attempts > 1 else {}
    return [
        ("grpc.max_receive_message_length", LONGEST_MESSAGE),
        ("grpc.max_send_message_length", LONGEST_MESSAGE),
        ("grpc.service_config", json.dumps(config)),
    ]
