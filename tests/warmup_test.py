"""Warm-up records, read back by the official messages."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec.serving import warmup

REQUESTS = {
    "serving_default": {
        "items": np.array([["i1", "Amélie"], ["", ""]]),
        "values": np.array([[5, 0.5], [0, 0]], np.float32),
    },
    "recommend_example": {"inputs": np.array([b"\x00\xff\x00", b"x" * 300], object)},
    "score": {"time": np.array([1_000_000_000_000, 0])},
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("warmup") / "requests"
    warmup.write(path, "films", REQUESTS)
    return path


def texts(array):
    return [x if isinstance(x, bytes) else str(x).encode() for x in np.ravel(array)]


def expect_sent(name, endpoint, array):
    sent = REQUESTS[endpoint][name]
    assert array.shape == sent.shape
    if array.dtype == object:
        assert list(array.ravel()) == texts(sent)
    else:
        assert array.dtype == sent.dtype
        np.testing.assert_array_equal(array, sent)


def test_official_messages_hold_what_was_written(file):
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", exc_type=ImportError)
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    assert len(records) == len(REQUESTS)
    for record, (endpoint, request) in zip(records, REQUESTS.items()):
        log = logs.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        sent = log.predict_log.request
        assert sent.model_spec.name == "films"
        assert sent.model_spec.signature_name == endpoint
        assert set(sent.inputs) == set(request)
        for name, proto in sent.inputs.items():
            expect_sent(name, endpoint, tf.make_ndarray(proto))
        assert log.SerializeToString(deterministic=True) is not None
        assert not log.predict_log.HasField("response")


def test_our_own_reader_reads_the_same(file):
    found = warmup.read(file)
    assert list(found) == list(REQUESTS)
    for endpoint, request in found.items():
        assert set(request) == set(REQUESTS[endpoint])
        for name, tensor in request.items():
            expect_sent(name, endpoint, tensor.numpy())
