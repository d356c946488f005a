"""Base of both clients: the channel, requests and responses, and cached signatures."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfrec.serving import arrays, messages
from tfrec.serving.channel import MODEL_SERVICE, SERVICE, channel_options, credentials, grpc

Specs = Mapping[str, Mapping[str, arrays.Spec]]  # signature -> input -> dtype and shape
Metadata = Mapping[str, str] | Callable[[], Mapping[str, str]]
REFRESH_SECONDS = 10.0  # signatures that are newer are not requested again
# Errors of requests that were made for an older version, possibly.
STALE_CODES = ("INVALID_ARGUMENT", "FAILED_PRECONDITION")


class RequestError(Exception):
    """An error that the server returned.

    Args:
        code: A gRPC status code by name, such as "NOT_FOUND".
        message: The server's text.
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class CachedSignatures(NamedTuple):
    """Cached signatures, their version, and the time of the request."""

    specs: Specs
    version: int
    requested: float


class BaseClient:
    """Makes requests and reads responses; `Client` and `AsyncClient` send them.

    See `tfrec.serving.client.Client` for the arguments.

    Attributes:
        transport: The module that creates channels: `grpc` or `grpc.aio`.
    """

    transport: Any

    def __init__(
        self,
        target: str = "localhost:8500",
        model: str = "default",
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        attempts: int = 4,
        rating: float = 5.0,
        batch_size: int = 256,
        tls: bytes | bool | None = None,
        client_key: bytes | None = None,
        client_certificate: bytes | None = None,
        authority: str | None = None,
        metadata: Metadata | None = None,
        load_balancing: str = "round_robin",
        keepalive: float | None = None,
        options: Mapping[str, int | str] | None = None,
    ):
        self.model, self.version, self.label = model, version, label
        self.timeout, self.metadata = timeout, metadata or {}
        self.rating, self.batch_size = rating, batch_size
        given = channel_options(attempts, load_balancing, keepalive)
        if authority:
            given["grpc.ssl_target_name_override"] = authority
        given |= options or {}
        security = credentials(tls, client_key, client_certificate)
        if security:
            self._channel = self.transport.secure_channel(target, security, list(given.items()))
        else:
            self._channel = self.transport.insecure_channel(target, list(given.items()))
        self._predict = self._method(SERVICE, "Predict", messages.PredictResponse)
        self._metadata = self._method(
            SERVICE, "GetModelMetadata", messages.GetModelMetadataResponse
        )
        self._status = self._method(
            MODEL_SERVICE, "GetModelStatus", messages.GetModelStatusResponse
        )
        self._known: CachedSignatures | None = None
        self._is_stale = False

    def _method(self, service: str, name: str, response):
        return self._channel.unary_unary(
            f"/{service}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def _call_options(self, timeout: float | None) -> dict[str, Any]:
        """Timeout and metadata of a call."""
        metadata = self.metadata() if callable(self.metadata) else self.metadata
        return {
            "timeout": self.timeout if timeout is None else timeout,
            "metadata": [(name.lower(), value) for name, value in metadata.items()],
        }

    def _fill(self, spec) -> None:
        """Writes name and version into a ModelSpec."""
        spec.name = self.model
        if self.version is not None:
            spec.version.value = self.version
        elif self.label is not None:
            spec.version_label = self.label

    def _predict_request(
        self,
        inputs: Mapping[str, np.ndarray | list],
        signature: str,
        outputs: Sequence[str],
        specs: Mapping[str, arrays.Spec],
    ):
        request = messages.PredictRequest(output_filter=outputs)
        self._fill(request.model_spec)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            arrays.fill(request.inputs[name], value, specs.get(name))
        return request

    def _outputs(self, response) -> dict[str, np.ndarray]:
        """The arrays of a PredictResponse."""
        if self._known and response.model_spec.version.value != self._known.version:
            self._invalidate()
        return {name: arrays.to_array(proto) for name, proto in response.outputs.items()}

    def _metadata_request(self):
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._fill(request.model_spec)
        return request

    def _cache(self, response) -> Specs:
        """Caches the signatures of a GetModelMetadataResponse."""
        found = messages.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        specs = {
            name: {alias: arrays.Spec.of(info) for alias, info in signature.inputs.items()}
            for name, signature in found.signature_def.items()
        }
        self._is_stale = False
        self._known = CachedSignatures(specs, response.model_spec.version.value, time.monotonic())
        return specs

    def _up_to_date(self) -> Specs | None:
        """The cached signatures; None if they must be requested."""
        known = self._known
        return None if known is None or self._is_stale else known.specs

    def _invalidate(self) -> None:
        """Marks cached signatures that are not new as stale: the version may have changed."""
        known = self._known
        self._is_stale = known is not None and time.monotonic() - known.requested > REFRESH_SECONDS

    def _status_request(self):
        request = messages.GetModelStatusRequest()
        self._fill(request.model_spec)
        return request

    def _error(self, error: grpc.RpcError) -> RequestError:
        code = error.code().name
        if code in STALE_CODES:
            self._invalidate()
        return RequestError(code, error.details())


def states(response) -> dict[int, str]:
    """Version -> state in a GetModelStatusResponse."""
    names = messages.VersionState
    return {v.version: names[v.state].name for v in response.model_version_status}


def inputs_of(specs: Specs, signature: str) -> Mapping[str, arrays.Spec]:
    """Specs of a signature's inputs.

    Raises:
        RequestError: there is no such signature; with the message of TF Serving.
    """
    if signature not in specs:
        known = ", ".join(sorted(specs))
        text = f'Serving signature key "{signature}" not found. known: {known}'
        raise RequestError("FAILED_PRECONDITION", text)
    return specs[signature]
