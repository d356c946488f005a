"""The calls of PredictionService and ModelService, independent of gRPC and REST."""

import time

import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from tfrec.server import examples, predict_requests, tensors
from tfrec.server.errors import invalid
from tfrec.server.models import Models
from tfrec.server.monitoring import Metrics
from tfrec.server.options import Options
from tfrec.server.saved_model import DEFAULT_SIGNATURE, Call
from tfrec.server.versions import Servable

LARGE = 1 << 18  # bytes from which a request is parsed off the event loop


class Inference:
    """Answers requests: takes and returns messages.

    Args:
        models: The loaded models.
        options: The server's options.
        pool: Runs functions off the event loop.
        metrics: Counts requests.
    """

    def __init__(self, models: Models, options: Options, pool, metrics: Metrics):
        self.models = models
        self._options, self._pool, self._metrics = options, pool, metrics

    # -------------------------------------------------------------- predict

    async def predict(self, request, deadline: float | None = None):
        """Predict.

        Args:
            request: A `PredictRequest`.
            deadline: On the clock of `time.monotonic`, or None.

        Raises:
            ServingError: the request is wrong or failed; so do all calls here.
        """
        with self.models.lease(_spec(request)) as servable:
            if request.ByteSize() > LARGE:
                aliases, call = await self._pool(predict_requests.to_call, servable.model, request)
            else:
                aliases, call = predict_requests.to_call(servable.model, request)
            arrays = await self._run(servable, "Predict", call, deadline)
            return self._predict_response(servable, request, aliases, arrays)

    async def _run(self, servable: Servable, api: str, call: Call, deadline: float | None):
        start = time.perf_counter()
        arrays = await servable.run(call, deadline)
        self._metrics.ran(servable.name, api, time.perf_counter() - start)
        return arrays

    def _predict_response(self, servable, request, aliases, arrays):
        response = predict_pb2.PredictResponse()
        _set_spec(response.model_spec, servable, request.model_spec)
        as_content = self._options.enable_serialization_as_tensor_content
        for alias, array in zip(aliases, arrays, strict=True):
            tensors.fill(response.outputs[alias], np.asarray(array), as_content)
        return response

    # -------------------------------------------------------------- tf.Examples

    async def classify(self, request, deadline: float | None = None):
        """Classify: a label and a score for each class of each tf.Example."""
        with self.models.lease(_spec(request)) as servable:
            call, names = self._example_call(
                servable, request.model_spec, request.input, examples.CLASSIFY
            )
            arrays = await self._run(servable, "Classify", call, deadline)
            response = classification_pb2.ClassificationResponse()
            _set_spec(response.model_spec, servable, request.model_spec)
            examples.fill_classes(response.result, dict(zip(names, arrays, strict=True)))
            return response

    async def regress(self, request, deadline: float | None = None):
        """Regress: a number for each tf.Example."""
        with self.models.lease(_spec(request)) as servable:
            call, _ = self._example_call(
                servable, request.model_spec, request.input, examples.REGRESS
            )
            (array,) = await self._run(servable, "Regress", call, deadline)
            response = regression_pb2.RegressionResponse()
            _set_spec(response.model_spec, servable, request.model_spec)
            examples.fill_values(response.result, array)
            return response

    async def multi_inference(self, request, deadline: float | None = None):
        """MultiInference: several of the two above, for one input and one model."""
        if not request.tasks:
            raise invalid("Inference request must have at least one task")
        examples.check_tasks(request.tasks)
        response = inference_pb2.MultiInferenceResponse()
        with self.models.lease(request.tasks[0].model_spec) as servable:
            for task in request.tasks:
                spec, method = task.model_spec, task.method_name
                call, names = self._example_call(servable, spec, request.input, method)
                arrays = await self._run(servable, "MultiInference", call, deadline)
                result = response.results.add()
                _set_spec(result.model_spec, servable, spec)
                if method == examples.CLASSIFY:
                    found = dict(zip(names, arrays, strict=True))
                    examples.fill_classes(result.classification_result, found)
                else:
                    examples.fill_values(result.regression_result, arrays[0])
        return response

    def _example_call(self, servable: Servable, spec, given, method: str):
        check = self._options.enable_signature_method_name_check
        return examples.to_call(servable.model, spec, given, method, check)

    # -------------------------------------------------------------- about models

    def metadata(self, request):
        """GetModelMetadata: all signatures."""
        spec = _spec(request)
        if not request.metadata_field:
            raise invalid("must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        with self.models.lease(spec) as servable:
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in servable.model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response.metadata["signature_def"].Pack(signatures)
            return response

    def status(self, request):
        """GetModelStatus: the state of all versions, or of one."""
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, (state, error) in self.models.states(_spec(request)).items():
            entry = response.model_version_status.add(version=version, state=state)
            entry.status.error_code = error.number if error else 0
            entry.status.error_message = error.message if error else ""
        return response


def _spec(request):
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return request.model_spec


def _set_spec(spec, servable: Servable, requested) -> None:
    """Writes the effective ModelSpec, that of the version that answered."""
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = requested.signature_name or DEFAULT_SIGNATURE
