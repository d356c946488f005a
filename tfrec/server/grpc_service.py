"""PredictionService, ModelService and health over gRPC."""

import asyncio
import operator
import time
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tfrec.server import config_files
from tfrec.server.errors import ServingError
from tfrec.server.inference import LARGE, Inference
from tfrec.server.monitoring import Metrics
from tfrec.server.options import Options
from tfrec.server.thread_pool import run_inline

LONGEST_MESSAGE = 2**31 - 1
HEALTHY = ("", "ModelService", "PredictionService")  # services that health checks may name


PREDICTION = "tensorflow.serving.PredictionService"
MODEL = "tensorflow.serving.ModelService"
Answer = Callable[[Message, "grpc.aio.ServicerContext"], Awaitable[Message]]


class Services:
    """PredictionService and ModelService.

    Args:
        inference: Answers requests.
        metrics: Counts requests.
        pool: Runs functions off the event loop.
    """

    def __init__(self, inference: Inference, metrics: Metrics, pool: Callable):
        self._inference, self._metrics, self._pool = inference, metrics, pool

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers all methods."""
        counted, inference = self._counted, self._inference
        methods = {
            "Predict": (PredictRequest, counted("Predict", inference.predict)),
            "Classify": (ClassificationRequest, counted("Classify", inference.classify)),
            "Regress": (RegressionRequest, counted("Regress", inference.regress)),
            "MultiInference": (
                MultiInferenceRequest,
                counted("MultiInference", inference.multi_inference),
            ),
            "GetModelMetadata": (GetModelMetadataRequest, self._metadata),
        }
        self._add(server, PREDICTION, methods)
        methods = {
            "GetModelStatus": (GetModelStatusRequest, self._status),
            "HandleReloadConfigRequest": (ReloadConfigRequest, self._reload),
        }
        self._add(server, MODEL, methods)

    def _add(self, server: grpc.aio.Server, service: str, methods: dict) -> None:
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._method(kind, answer),
                response_serializer=operator.methodcaller("SerializeToString"),
            )
            for name, (kind, answer) in methods.items()
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])

    def _method(self, kind: type[Message], answer: Answer) -> Callable:
        """A method that answers requests of a kind, and sends errors to the client."""

        async def method(body: bytes, context) -> Message:
            found = await self._attempt(kind, answer, body, context)
            del body  # gRPC keeps the frame in which a call is aborted
            if isinstance(found, ServingError):
                await context.abort(found.code, found.message)
            return found

        return method

    async def _attempt(self, kind: type[Message], answer: Answer, body: bytes, context):
        """Parses a request and answers it; returns errors."""
        try:
            parse = self._pool if len(body) > LARGE else run_inline
            return await answer(await parse(kind.FromString, body), context)
        except DecodeError:
            return ServingError("INTERNAL", f"Failed to parse {kind.__name__}")
        except ServingError as error:
            return error.without_frames()

    def _counted(self, api: str, call: Callable[..., Awaitable]) -> Answer:
        """Runs a call until the client's deadline, and counts it."""

        async def answer(request: Message, context) -> Message:
            start = time.perf_counter()
            left = context.time_remaining()
            deadline = None if left is None else time.monotonic() + left
            status = "CANCELLED"  # unless it finishes
            try:
                response = await call(request, deadline)
                status = "OK"
            except ServingError as error:
                status = error.code.name
                raise
            finally:
                name = self._inference.models.known_name(request)
                self._metrics.answered(name, api, "GRPC", status, time.perf_counter() - start)
            return response

        return answer

    async def _metadata(self, request: Message, context) -> Message:
        return self._inference.metadata(request)

    async def _status(self, request: Message, context) -> Message:
        return self._inference.status(request)

    async def _reload(self, request, context) -> Message:
        # Loading may take minutes, so it must not use the threads that run requests.
        await asyncio.to_thread(self._inference.models.reload, request.config)
        return ReloadConfigResponse()


async def start(services: Services, options: Options) -> grpc.aio.Server:
    """Starts to listen.

    Raises:
        ValueError: the port is in use, or the TLS file is not an SSLConfig.
    """
    own = dict(options.channel_arguments())
    limits = {
        "grpc.max_receive_message_length": LONGEST_MESSAGE,
        "grpc.max_send_message_length": LONGEST_MESSAGE,
        "grpc.so_reuseport": 0,  # a second server at the same port is an error
    }
    server = grpc.aio.server(options=list({**limits, **own}.items()))
    services.add_to(server)
    if options.enable_grpc_healthcheck_service:
        servicer = health.aio.HealthServicer()
        for name in HEALTHY:
            await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    listen(server, options)
    await server.start()
    return server


def listen(server: grpc.aio.Server, options: Options) -> None:
    """Opens the port and the socket; TLS is used only for the port.

    Raises:
        ValueError: one of them is in use.
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
            f"gRPC cannot listen on --port={options.port} of {options.host}: {error}"
        ) from None


def credentials(path: str) -> grpc.ServerCredentials:
    """The credentials in an SSLConfig, which holds PEM contents and not paths.

    Raises:
        ValueError: the file is invalid.
    """
    config = config_files.read(path, "SSLConfig")
    if "BEGIN" not in config.server_key or "BEGIN" not in config.server_cert:
        raise ValueError(f"{path}: server_key and server_cert must hold PEM texts, not paths")
    if config.client_verify and not config.custom_ca:
        raise ValueError(f"{path}: client_verify needs custom_ca, which signed the clients")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
