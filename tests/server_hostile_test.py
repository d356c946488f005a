"""Malicious requests to a separate process: it responds, survives and stays small."""

import contextlib
import gzip
import json
import pathlib
import re
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from servers import eventually, export_toy, kind, serving  # noqa: F401 (a fixture)
from tensorflow_serving.apis import predict_pb2

MEGABYTE = 1 << 20
IDLE_SECONDS = 3


@pytest.fixture(scope="module")
def server(kind, tmp_path_factory):  # noqa: F811
    base = tmp_path_factory.mktemp("toy")
    export_toy(base, 1)
    flags = {"model_name": "toy", "model_base_path": str(base), "rest_api_timeout_in_ms": 10_000}
    if kind == "local":
        flags["rest_api_idle_timeout_in_ms"] = IDLE_SECONDS * 1000
    with serving("process" if kind == "local" else kind, **flags) as running:
        running.kind = kind
        yield running


@pytest.fixture(autouse=True)
def lives(server):
    """After each test the server responds, and has freed the requests."""
    before = memory(server)
    yield
    status, text = server.http("/v1/models/toy:predict", GOOD)
    assert (status, json.loads(text)) == (200, {"outputs": [8]})
    assert server.process.poll() is None
    eventually(lambda: memory(server) < before + 300, 20)


GOOD = '{"signature_name": "count", "inputs": [7]}'


def memory(server, peak=False):
    """Resident megabytes."""
    text = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(x for x in text.splitlines() if x.startswith("VmHWM" if peak else "VmRSS"))
    return int(line.split()[1]) // 1024


def error_of(server, body, path="/v1/models/toy:predict"):
    status, text = server.http(path, body)
    return status, json.loads(text)["error"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"signature_name": "count", "inputs": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}",
        b'{"inputs": [' + b"[" * 500,
    ],
    ids=["lists", "objects", "many dimensions", "cut off"],
)
def test_deep_json(server, body):
    status, message = error_of(server, body)
    assert status == 400
    assert message.startswith(("JSON Parse error", "Encountered list", "Missing"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"signature_name": "count", "inputs": ["\xff\xfe"]}',
        b"\x80\x81\x82",
        b'{"inputs": {"items": [["\\ud800"]], "values": [[1]]}}',
        b'{"instances": [{"\\ud800": [1]}]}',
        b'{"signature_name": "\\ud800", "inputs": [1]}',
        '{"signature_name": "count", "inputs": [1]}'.encode("utf-16"),
        b"\x00" * 100,
        b'{"inputs": ' + b"9" * 100_000 + b"}",
        b'{"signature_name": "half", "inputs": [[' + b"9" * 1000 + b", 1]]}",
        b"null",
        b'"' + b"x" * 100_000 + b'"',
    ],
    ids=[
        "in a string",
        "alone",
        "half a pair",
        "in a name",
        "as signature",
        "UTF-16",
        "zeros",
        "digits",
        "fewer digits",
        "null",
        "text",
    ],
)
def test_bytes_that_are_no_json(server, body):
    status, message = error_of(server, body)
    assert status == 400
    assert message.startswith(("JSON ", "Cannot convert JSON value"))
    assert not re.search("codec|Error|encode", message.replace("JSON Parse error", "")), "Python's"
    assert len(message) <= 1024


def test_invalid_utf8_in_a_tensor_is_data(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    request.inputs["items"].CopyFrom(tf.make_tensor_proto([[b"\xff\xfe\x00"]]))
    request.inputs["values"].CopyFrom(tf.make_tensor_proto([[1.0]]))
    response = server.stub.Predict(request)
    assert tf.make_ndarray(response.outputs["items"])[0, 0] == b"\xff\xfe\x00"


def test_errors_that_quote_bytes_that_are_no_text(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "regress"
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([b"\xff\xfe"]))
    with pytest.raises(grpc.RpcError) as error:
        server.stub.Predict(request)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.value.details().startswith("Could not parse example input, value: ")
    body = b'{"signature_name": "regress", "inputs": [{"b64": "//4="}]}'
    status, message = error_of(server, body)
    assert status == 400
    assert message.startswith("Could not parse example input, value: ")


def test_a_body_of_100_megabytes(server):
    body = b'{"signature_name": "count", "inputs": [' + b"7," * (50 * MEGABYTE - 30) + b"7]}"
    try:
        status, message = error_of(server, body)
    except (ConnectionError, OSError):  # closed in the client's face: allowed, and answered below
        status, message = 413, "longer than"
    assert status in (400, 413)
    if server.kind == "local":
        assert "longer than" in message
        assert memory(server, peak=True) < 2000


def test_a_long_body_that_is_allowed(server):
    """4 MB: parsed off the event loop."""
    body = b'{"signature_name": "count", "inputs": [' + b"7.5," * MEGABYTE + b"7]}"
    status, message = error_of(server, body)
    assert (status, message[:50]) == (400, "JSON Value: 7.5 Type: Number is not of expected ty")


def test_a_message_of_100_megabytes(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "count"
    proto = request.inputs["n"]
    proto.dtype = tf.float32.as_datatype_enum
    proto.tensor_shape.dim.add(size=25 * MEGABYTE)
    proto.tensor_content = bytes(100 * MEGABYTE)
    with pytest.raises(grpc.RpcError) as error:
        server.stub.Predict(request, timeout=60)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.value.details() == "Expects arg[0] to be int64 but float is provided"


def test_a_small_message_that_claims_33_million_strings(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    for name, value in (("items", "a"), ("values", 1.0)):
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value, shape=[1, 33_000_000]))
    assert len(request.SerializeToString()) < 100
    before, start = memory(server, peak=True), time.monotonic()
    try:
        server.stub.Predict(request, timeout=60)
    except grpc.RpcError as error:
        message = (error.code(), error.details())
    if server.kind == "local":
        assert message == (grpc.StatusCode.INVALID_ARGUMENT, "tensor parsing error: items")
        assert time.monotonic() - start < 5
        assert memory(server, peak=True) < before + 200


def test_a_value_may_be_repeated_a_million_times(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "half_plus_two"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(2.0, shape=[1 << 20, 1]))
    found = tf.make_ndarray(server.stub.Predict(request, timeout=60).outputs["y"])
    assert found.shape == (1 << 20, 1)
    assert (found == 3).all()


@pytest.mark.parametrize("shape", [[2**40], [2**31, 2**31, 4], [1] * 300])
def test_a_small_message_that_claims_to_be_large(server, shape):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "count"
    proto = request.inputs["n"]
    proto.dtype = tf.int64.as_datatype_enum
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    proto.int64_val.append(1)
    with pytest.raises(grpc.RpcError) as error:
        server.stub.Predict(request, timeout=60)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_bytes_that_are_no_message(server):
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    no_text = b"\x0a\x04\x0a\x02\xff\xfe"  # a model's name that is no UTF-8
    for body in (b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", no_text):
        with pytest.raises(grpc.RpcError) as error:
            call(body, timeout=20)
        assert error.value.code() is grpc.StatusCode.INTERNAL
        assert "Error" not in error.value.details()
    with pytest.raises(grpc.RpcError) as error:
        server.channel.unary_unary("/tensorflow.serving.PredictionService/Else")(b"", timeout=20)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_clients_that_go_before_the_answer(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "slow"
    request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.array([50], np.int32)))
    asked = [server.stub.Predict.future(request) for _ in range(20)]
    time.sleep(0.05)
    for one in asked:
        one.cancel()
    body = json.dumps({"signature_name": "slow", "inputs": [50]}).encode()
    for _ in range(10):
        with connection(server) as gone:
            gone.sendall(head(len(body)) + body)


def connection(server):
    host, port = server.rest.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def head(length):
    return (
        f"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_slow_clients_are_disconnected_and_do_not_block_others(server):
    """Bodies that never end: others are answered meanwhile, and these after the time limit."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connection(server)) for _ in range(20)]
        for number, one in enumerate(slow):
            # Some promise more than is read at once.
            one.sendall(head(1000 if number % 2 else 30 * MEGABYTE) + b'{"inputs"')
        start = time.monotonic()
        assert server.http("/v1/models/toy:predict", GOOD)[0] == 200
        assert time.monotonic() - start < 9
        if server.kind == "local":
            for one in slow[:4]:
                assert b" 504 " in one.recv(100)  # its socket waits 20 s


def test_headers_that_never_end_are_given_up(server):
    """A byte now and then does not help."""
    if server.kind != "local":
        pytest.skip("the local server's own flag")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connection(server)) for _ in range(5)]
        slow[0].sendall(head(len(GOOD)) + GOOD.encode())
        assert b" 200 " in slow[0].recv(1000)  # the next one's header counts, too
        end = time.monotonic() + IDLE_SECONDS - 1
        for byte in b"POST /v1/models/toy:predict HTTP/1.1":
            for one in slow:
                one.sendall(bytes([byte]))
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        assert server.http("/v1/models/toy:predict", GOOD)[0] == 200
        for one in slow:
            assert one.recv(1000) == b""  # within the 20 s of its socket


def gzipped(body, **more):
    head = f"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    more = {"Content-Encoding": "gzip", "Connection": "close", **more}
    return (head + "".join(f"{k}: {v}\r\n" for k, v in more.items()) + "\r\n").encode() + body


def bomb(megabytes):
    """A gzip stream of blanks without an end; its blocks are all the same."""
    packer = zlib.compressobj(9, wbits=31)
    start = packer.compress(b" ") + packer.flush(zlib.Z_FULL_FLUSH)
    blanks = b" " * MEGABYTE
    first, block = (packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    assert len(block) < 2000
    return start + first + block * megabytes


def test_a_small_body_that_inflates_to_8_gigabytes(server):
    """Other requests are answered while it is refused and its rest is read."""
    with connection(server) as one, ThreadPoolExecutor(1) as pool:
        refused = pool.submit(exchange, one, gzipped(bomb(8192)))
        slowest = 0
        while not refused.done():
            start = time.monotonic()
            assert server.http("/v1/models/toy:predict", GOOD)[0] == 200
            slowest = max(slowest, time.monotonic() - start)
        assert slowest < 2
        if server.kind == "local":
            assert b" 413 " in refused.result()
            assert memory(server, peak=True) < 2000


@pytest.mark.parametrize("piece", [b"[1],", b'"",'], ids=str)
def test_a_small_body_that_inflates_to_millions_of_values(server, piece):
    many = gzip.compress(b'{"inputs": [' + piece * (8 * MEGABYTE) + b"1]}", 1)
    with connection(server) as one, ThreadPoolExecutor(1) as pool:
        start = time.monotonic()
        asked = pool.submit(exchange, one, gzipped(many))
        while not asked.done():
            assert server.http("/v1/models/toy:predict", GOOD)[0] == 200
        if server.kind == "local":
            assert b"JSON Parse error: more than" in asked.result()
            assert time.monotonic() - start < 5


def test_a_message_of_millions_of_strings(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "regress"
    proto = request.inputs["inputs"]
    proto.dtype = tf.string.as_datatype_enum
    proto.tensor_shape.dim.add(size=4 * MEGABYTE)
    proto.string_val.extend([b""] * (4 * MEGABYTE))
    if server.kind == "local":
        with pytest.raises(grpc.RpcError) as error:
            server.stub.Predict(request, timeout=60)
        assert error.value.details() == "tensor parsing error: inputs"


def exchange(one, request):
    """The answer to a request that may be refused before it is sent."""
    with contextlib.suppress(ConnectionError):
        one.sendall(request)
    return b"".join(iter(lambda: one.recv(1000), b""))


def test_gzip_that_is_allowed_and_gzip_that_is_none(server):
    whole = gzip.compress(GOOD.encode())
    for body, encoding, due in [
        (whole, "gzip", b'{"outputs": [8]}'),
        (whole[:-9], "gzip", b"truncated"),
        (whole + b"x", "gzip", b"goes on after its end"),
        (b"x" * 100, "gzip", b"the body is not gzip"),
        (b"x" * 100, "br", b"br is not supported"),
    ]:
        with connection(server) as one:
            answer = exchange(one, gzipped(body, **{"Content-Encoding": encoding}))
        assert (b" 200 " if body is whole else b" 400 ") in answer
        assert server.kind != "local" or due in answer


def test_a_chunked_body_without_a_length(server):
    body = GOOD.encode()
    head = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connection(server) as one:
        one.sendall(head)
        for start in range(0, len(body), 7):
            piece = body[start : start + 7]
            one.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        one.sendall(b"0\r\n\r\n")
        assert b'{"outputs": [8]}' in one.recv(1000).replace(b"\n", b"").replace(b"    ", b" ")


def test_a_thousand_idle_connections(server):
    with contextlib.ExitStack() as stack:
        for number in range(1000):
            one = stack.enter_context(connection(server))
            if number % 3 == 0:
                one.sendall(b"POST /v1/models")
        assert server.http("/v1/models/toy:predict", GOOD)[0] == 200
        idle = [stack.enter_context(grpc.insecure_channel(server.target)) for _ in range(20)]
        for one in idle:
            grpc.channel_ready_future(one).result(20)
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "toy", "count"
        request.inputs["n"].CopyFrom(tf.make_tensor_proto(np.array([7])))
        assert server.stub.Predict(request, timeout=20).outputs["next"].int64_val == [8]


def test_garbage_instead_of_http(server):
    for garbage in (b"\x16\x03\x01\x02\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 1000):
        with connection(server) as one:
            one.sendall(garbage)
            one.settimeout(1)
            with contextlib.suppress(OSError):
                one.recv(1000)
    with connection(server) as one, contextlib.suppress(ConnectionError):
        one.sendall(b"GET /v1/models/toy HTTP/1.1\r\nX: " + b"x" * (10 * MEGABYTE))
