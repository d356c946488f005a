"""Replays the warmup requests of a version before it becomes available."""

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tfrec.server import examples, predict_requests
from tfrec.server.batching import Batcher
from tfrec.server.errors import ServingError, invalid
from tfrec.server.saved_model import Call, SavedModel

FILE = "assets.extra/tf_serving_warmup_requests"  # a TFRecord of PredictionLog
MOST = 1000


def replay(model: SavedModel, iterations: int, batcher: Batcher | None) -> None:
    """Replays the warmup requests; runs in a loader thread.

    Args:
        model: A loaded version.
        iterations: Number of runs of each request.
        batcher: The version's batcher, which requests go through.

    Raises:
        ServingError: a request failed; then so does the load.
    """
    path = model.path / FILE
    if not path.exists():
        return
    try:
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    except tf.errors.OpError as error:
        raise ServingError("DATA_LOSS", f"{path}: {error.message}") from None
    if len(records) > MOST:
        raise invalid(f"Number of warmup records exceeds the maximum ({MOST}) at {path}")
    for record in records:
        for call in _calls(model, record):
            for _ in range(max(1, iterations)):
                if batcher and call.arrays:
                    batcher.run_alone(call, model.run)
                else:
                    model.run(call)


def _calls(model: SavedModel, record: bytes) -> list[Call]:
    """The calls of a record."""
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        raise ServingError(
            "DATA_LOSS", "Failed to parse warmup record: it is not a PredictionLog"
        ) from None
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        return [predict_requests.to_call(model, log.predict_log.request)[1]]
    if kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        method = examples.CLASSIFY if kind == "classify_log" else examples.REGRESS
        tasks = [(request.model_spec, method)]
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        tasks = [(task.model_spec, task.method_name) for task in request.tasks]
    else:
        raise ServingError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
    return [examples.to_call(model, spec, request.input, method)[0] for spec, method in tasks]
