"""Warm-up records: requests that TF Serving replays when it loads a version.

The first run of a signature takes hundreds of milliseconds, later ones less than one. The
records are `PredictionLog` messages of tensorflow-serving-api, an optional package; of all
its messages only four nested fields are needed here, so they are put together by hand.
"""

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

FILE = "assets.extra/tf_serving_warmup_requests"

# Field numbers of the messages, as their .proto files have them.
PREDICT_LOG = 6  # of PredictionLog
REQUEST = 1  # of PredictLog
MODEL_SPEC, INPUTS = 1, 2  # of PredictRequest
MODEL_NAME, SIGNATURE_NAME = 1, 3  # of ModelSpec
KEY, VALUE = 1, 2  # of a map's entries
_LENGTH_DELIMITED = 2


def write(
    path: pathlib.Path, model_name: str, requests: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    """Writes one record a signature: its request, arrays by input name."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for endpoint, request in requests.items():
            writer.write(record(model_name, endpoint, request))


def record(model_name: str, endpoint: str, request: Mapping[str, np.ndarray]) -> bytes:
    """A serialized PredictionLog."""
    spec = _field(MODEL_NAME, model_name.encode()) + _field(SIGNATURE_NAME, endpoint.encode())
    inputs = b"".join(
        _field(INPUTS, _field(KEY, name.encode()) + _field(VALUE, _tensor(array)))
        for name, array in request.items()
    )
    return _field(PREDICT_LOG, _field(REQUEST, _field(MODEL_SPEC, spec) + inputs))


def read(path: pathlib.Path) -> dict[str, dict[str, tf.Tensor]]:
    """The requests by signature."""
    found = {}
    for raw in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        predict = dict(_fields(dict(_fields(raw))[PREDICT_LOG]))[REQUEST]
        spec = next(content for number, content in _fields(predict) if number == MODEL_SPEC)
        entries = [dict(_fields(entry)) for number, entry in _fields(predict) if number == INPUTS]
        protos = {e[KEY].decode(): tf.make_ndarray(_proto(e[VALUE])) for e in entries}
        endpoint = dict(_fields(spec))[SIGNATURE_NAME].decode()
        found[endpoint] = {name: tf.constant(array) for name, array in protos.items()}
    return found


def _tensor(array: np.ndarray) -> bytes:
    # NumPy's strings of fixed length would be sent with a type that TensorFlow does not know.
    array = array.astype(object) if array.dtype.kind in "US" else array
    return tf.make_tensor_proto(array).SerializeToString(deterministic=True)


def _proto(content: bytes):
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    return TensorProto.FromString(content)


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes or of a message, on the wire."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The inverse of `_field`, one after the other."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        size, at = _read_varint(message, at)
        yield tag >> 3, message[at : at + size]
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    n, shift = 0, 0
    while True:
        n |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return n, at
