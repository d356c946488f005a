"""Warm-up records: requests that TF Serving replays when it loads a version.

The first call of a signature takes hundreds of milliseconds, later ones less than one.
"""

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from tfrec.serving import arrays, messages

FILE = "assets.extra/tf_serving_warmup_requests"


def write(
    path: pathlib.Path, model_name: str, requests: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    """Writes one record per signature, with its request as arrays by input name."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for endpoint, request in requests.items():
            log = messages.PredictionLog()
            sent = log.predict_log.request
            sent.model_spec.name, sent.model_spec.signature_name = model_name, endpoint
            for name, array in request.items():
                arrays.fill(sent.inputs[name], array, None)
            writer.write(log.SerializeToString(deterministic=True))


def read(path: pathlib.Path) -> dict[str, dict[str, tf.Tensor]]:
    """The requests in a file, by signature."""
    return {
        sent.model_spec.signature_name: {
            name: tf.constant(arrays.to_array(proto)) for name, proto in sent.inputs.items()
        }
        for sent in predictions(path)
    }


def predictions(path: pathlib.Path) -> Iterator:
    """The PredictRequests in a file."""
    for raw in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = messages.PredictionLog.FromString(raw)
        if log.HasField("predict_log"):
            yield log.predict_log.request
