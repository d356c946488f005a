"""The REST API: /v1/models/..., metrics, and the demo page."""

import asyncio
import contextlib
import json
import logging
import re
import time

import numpy as np
from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from tfrec.server import (
    config_files,
    examples_json,
    json_answers,
    json_tensors,
    monitoring,
    request_body,
    tensors,
)
from tfrec.server.demo import Demo
from tfrec.server.errors import ServingError, invalid
from tfrec.server.inference import Inference
from tfrec.server.options import Options
from tfrec.server.thread_pool import run_inline

LOG = logging.getLogger(__name__)
MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
INFERENCE = re.compile(MODEL + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
ABOUT = re.compile(MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)
SMALL_BODY = 1 << 20  # bytes; few longer ones are read and parsed at a time
LARGE_BODIES = 2
PRINT = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}


class RestService:
    """Answers HTTP requests.

    Args:
        options: The server's options.
        inference: Answers requests.
        metrics: Counts requests.
        pool: Runs functions off the event loop.
    """

    def __init__(self, options: Options, inference: Inference, metrics, pool):
        self._options, self._inference = options, inference
        self._metrics, self._pool = metrics, pool
        self._demo = Demo(inference.models) if options.demo else None
        self._large = asyncio.Semaphore(LARGE_BODIES)
        self._metrics_path = None
        if options.monitoring_config_file:
            config = config_files.read(options.monitoring_config_file, "MonitoringConfig")
            if config.prometheus_config.enable:
                self._metrics_path = config.prometheus_config.path or monitoring.PATH

    def app(self) -> web.Application:
        """The application: one handler for all paths, which are case-insensitive."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.Response:
        """Answers any request; errors are JSON too."""
        if self._metrics_path and request.path == self._metrics_path:
            return web.Response(text=self._metrics.text(), headers={"Content-Type": "text/plain"})
        if self._demo and request.method == "GET" and (page := self._demo.answer(request)):
            return page
        if not request.path.lower().startswith("/v1/"):
            return self._json({"error": "Not found"}, 404)
        try:
            limit = self._options.rest_api_timeout_in_ms / 1e3
            async with asyncio.timeout(limit):
                return self._json(await self._answer(request, time.monotonic() + limit))
        except ServingError as error:
            found = error.without_frames()
            return self._json({"error": found.message}, found.http_status)
        except TimeoutError:
            return self._json({"error": "Deadline Exceeded"}, 504)
        except web.HTTPRequestEntityTooLarge:
            megabytes = self._options.rest_api_max_body_mb
            text = f"the body is longer than {megabytes} MB (--rest_api_max_body_mb)"
            return self._json({"error": text}, 413)
        except Exception:  # a bug: it is logged, and the server goes on
            LOG.exception("%s %s", request.method, request.path)
            return self._json({"error": "Internal error"}, 500)

    def _json(self, content: dict | str, status: int = 200) -> web.Response:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        return web.Response(text=text, status=status, content_type="application/json")

    async def _answer(self, request: web.Request, deadline: float) -> dict | str:
        """The JSON response to the request of a path."""
        path = INFERENCE.fullmatch(request.path)
        if request.method == "POST" and path:
            return await self._infer(request, path, deadline)
        about = ABOUT.fullmatch(request.path)
        if request.method == "GET" and about:
            return self._metadata(about) if about["metadata"] else self._status(about)
        raise invalid(f"Malformed request: {request.method} {request.path}")

    # -------------------------------------------------------------- inference

    async def _infer(self, request: web.Request, path: re.Match, deadline: float) -> dict | str:
        method = path["method"].lower()
        start = time.perf_counter()
        message = {
            "predict": predict_pb2.PredictRequest,
            "classify": classification_pb2.ClassificationRequest,
            "regress": regression_pb2.RegressionRequest,
        }[method]()
        status = "CANCELLED"  # unless it finishes
        try:
            fill_spec(message.model_spec, path)
            answer = await self._with_body(request, message, getattr(self, f"_{method}"), deadline)
            status = "OK"
            return answer
        except ServingError as error:
            status = error.code.name
            raise
        finally:
            name = self._inference.models.known_name(message)
            seconds = time.perf_counter() - start
            self._metrics.answered(name, method.capitalize(), "REST", status, seconds)

    async def _with_body(self, request: web.Request, message, method, deadline: float):
        """Reads the body and calls the method; limits the number of long bodies in memory."""
        async with contextlib.AsyncExitStack() as stack:
            body = await self._body(request, stack)
            if len(body) <= SMALL_BODY:
                return await method(message, json_tensors.parse(body), deadline, run_inline)
            parsed = await self._pool(json_tensors.parse, body)
            return await method(message, parsed, deadline, self._pool)

    async def _body(self, request: web.Request, stack: contextlib.AsyncExitStack) -> bytes:
        """The decompressed body; a long one waits here until few others are in memory."""
        limit = self._options.rest_api_max_body_mb << 20
        if (request.content_length or 0) > limit:
            raise web.HTTPRequestEntityTooLarge(limit, request.content_length)
        body = bytearray()
        async for piece in request_body.pieces(request):
            if len(body) <= SMALL_BODY < len(body) + len(piece):
                await stack.enter_async_context(self._large)
            body += piece
            if len(body) > limit:
                raise web.HTTPRequestEntityTooLarge(limit, len(body))
        return bytes(body)

    async def _predict(self, message, body: dict, deadline: float, do) -> str:
        message.model_spec.signature_name = json_tensors.signature_name(body)
        rows = await do(self._fill, message, body)
        response = await self._inference.predict(message, deadline)
        return await do(_predict_json, response, rows)

    def _fill(self, message, body: dict) -> bool:
        with self._inference.models.lease(message.model_spec) as servable:
            name = message.model_spec.signature_name or "serving_default"
            signature = servable.model.signatures.get(name)
            if signature is None:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            infos = {alias: signature.inputs[alias] for alias in sorted(signature.inputs)}
            if not infos:
                raise invalid(f"Failed to get input map for signature: {name}")
            return json_tensors.fill_inputs(body, infos, message.inputs)

    async def _classify(self, message, body: dict, deadline: float, do) -> dict:
        message.model_spec.signature_name = json_tensors.signature_name(body)
        await do(examples_json.fill, body, message.input)
        response = await self._inference.classify(message, deadline)
        rows = response.result.classifications
        return {"results": [[[c.label, _number(c.score)] for c in r.classes] for r in rows]}

    async def _regress(self, message, body: dict, deadline: float, do) -> dict:
        message.model_spec.signature_name = json_tensors.signature_name(body)
        await do(examples_json.fill, body, message.input)
        response = await self._inference.regress(message, deadline)
        return {"results": [_number(r.value) for r in response.result.regressions]}

    # -------------------------------------------------------------- about models

    def _status(self, about: re.Match) -> dict:
        request = get_model_status_pb2.GetModelStatusRequest()
        fill_spec(request.model_spec, about)
        return json_format.MessageToDict(self._inference.status(request), **PRINT)

    def _metadata(self, about: re.Match) -> dict:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        fill_spec(request.model_spec, about)
        response = self._inference.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return {
            "model_spec": json_format.MessageToDict(response.model_spec, **PRINT),
            "metadata": {"signature_def": json_format.MessageToDict(signatures, **PRINT)},
        }


def fill_spec(spec, path: re.Match) -> None:
    """Writes the model, version or label of a path into a ModelSpec."""
    spec.name = path["name"]
    if path["version"]:
        if int(path["version"]) >= 1 << 63:
            raise invalid(f"Failed to convert version: {path['version']} to numeric.")
        spec.version.value = int(path["version"])
    if path["label"]:
        spec.version_label = path["label"]


def _predict_json(response, rows: bool) -> str:
    outputs = {name: tensors.to_array(proto) for name, proto in response.outputs.items()}
    return json.dumps(json_answers.answer(outputs, rows), ensure_ascii=False)


def _number(value: float) -> float:
    """A float32 with its shortest decimals."""
    return float(str(np.float32(value)))


async def start(service: RestService, options: Options) -> web.AppRunner:
    """Starts to listen.

    Raises:
        ValueError: the port is in use.
    """
    runner = web.AppRunner(
        service.app(),
        access_log=None,
        handle_signals=False,
        auto_decompress=False,
        # From the connection, or the last response, to the end of a request's header.
        keepalive_timeout=options.rest_api_idle_timeout_in_ms / 1e3,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.rest_api_port).start()
    except OSError as error:
        await runner.cleanup()
        raise ValueError(
            f"REST cannot listen on --rest_api_port={options.rest_api_port}: {error.strerror}"
        ) from None
    return runner
