"""PredictionService, ModelService and health over gRPC."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tfrec.serving.server import config_files
from tfrec.serving.server.errors import ServingError
from tfrec.serving.server.inference import Inference
from tfrec.serving.server.monitoring import Metrics
from tfrec.serving.server.options import Options

LONGEST_MESSAGE = 2**31 - 1
HEALTHY = ("", "ModelService", "PredictionService")  # names that health is asked for


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Inference and metadata.

    Args:
        inference: Answers.
        metrics: Counts.
    """

    def __init__(self, inference: Inference, metrics: Metrics):
        self._inference, self._metrics = inference, metrics

    async def Predict(self, request, context):  # noqa: N802
        return await self._answer("Predict", self._inference.predict, request, context)

    async def Classify(self, request, context):  # noqa: N802
        return await self._answer("Classify", self._inference.classify, request, context)

    async def Regress(self, request, context):  # noqa: N802
        return await self._answer("Regress", self._inference.regress, request, context)

    async def MultiInference(self, request, context):  # noqa: N802
        call = self._inference.multi_inference
        return await self._answer("MultiInference", call, request, context)

    async def GetModelMetadata(self, request, context):  # noqa: N802
        return await told(context, self._inference.metadata, request)

    async def _answer(self, api: str, call: Callable[..., Awaitable], request: Message, context):
        """Runs a call until the client's own deadline, and counts it."""
        start = time.perf_counter()
        left = context.time_remaining()
        deadline = None if left is None else time.monotonic() + left
        status = "CANCELLED"  # unless it comes to an end
        try:
            response = await call(request, deadline)
            status = "OK"
        except ServingError as error:
            status = error.code.name
            await context.abort(error.code, error.message)
        finally:
            name = self._inference.models.known_name(request)
            self._metrics.answered(name, api, "GRPC", status, time.perf_counter() - start)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """States of versions, and a new configuration.

    Args:
        inference: Answers.
    """

    def __init__(self, inference: Inference):
        self._inference = inference

    async def GetModelStatus(self, request, context):  # noqa: N802
        return await told(context, self._inference.status, request)

    async def HandleReloadConfigRequest(self, request, context):  # noqa: N802
        try:
            # It may wait minutes for a load: not in the threads that run requests.
            await asyncio.to_thread(self._inference.models.reload, request.config)
        except ServingError as error:
            await context.abort(error.code, error.message)
        return model_management_pb2.ReloadConfigResponse()


async def told(context, call: Callable, request: Message) -> Message:
    """Answers, or tells the client what is wrong."""
    try:
        return call(request)
    except ServingError as error:
        await context.abort(error.code, error.message)


async def start(options: Options, inference: Inference, metrics: Metrics) -> grpc.aio.Server:
    """Listens.

    Raises:
        ValueError: the port is taken, or the TLS file is no SSLConfig.
    """
    own = dict(options.channel_arguments())
    limits = {
        "grpc.max_receive_message_length": LONGEST_MESSAGE,
        "grpc.max_send_message_length": LONGEST_MESSAGE,
        "grpc.so_reuseport": 0,  # a second server at the same port is an error
    }
    server = grpc.aio.server(options=list({**limits, **own}.items()))
    service = PredictionService(inference, metrics)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    service = ModelService(inference)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    if options.enable_grpc_healthcheck_service:
        servicer = health.aio.HealthServicer()
        for name in HEALTHY:
            await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    listen(server, options)
    await server.start()
    return server


def listen(server: grpc.aio.Server, options: Options) -> None:
    """Opens the port and the socket; TLS is for the port.

    Raises:
        ValueError: it is taken.
    """
    try:
        if options.port and options.ssl_config_file:
            address = f"{options.host}:{options.port}"
            server.add_secure_port(address, credentials(options.ssl_config_file))
        elif options.port:
            server.add_insecure_port(f"{options.host}:{options.port}")
        if options.grpc_socket_path:
            server.add_insecure_port(f"unix:{options.grpc_socket_path}")
    except RuntimeError as error:
        raise ValueError(
            f"gRPC can not listen to --port={options.port} of {options.host}: {error}"
        ) from None


def credentials(path: str) -> grpc.ServerCredentials:
    """Of an SSLConfig, which holds PEM contents and not paths.

    Raises:
        ValueError: names the file.
    """
    config = config_files.read(path, "SSLConfig")
    if "BEGIN" not in config.server_key or "BEGIN" not in config.server_cert:
        raise ValueError(f"{path}: server_key and server_cert must hold PEM texts, not paths")
    if config.client_verify and not config.custom_ca:
        raise ValueError(f"{path}: client_verify needs custom_ca, who signed the clients")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
