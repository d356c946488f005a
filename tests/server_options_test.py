"""Flags and the files they name: TLS, sockets, metrics, health, and what is refused."""

import json
import re
import runpy
import shutil
import subprocess
import sys

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from servers import export_toy, kind, serving  # noqa: F401 (a fixture)
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfrec.server import run
from tfrec.server.options import Options
from tfrec.serving.client import Client


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    export_toy(folder, 1)
    return {"model_name": "toy", "model_base_path": str(folder)}


def count(stub, n=1, model="toy"):
    request = text_format.Parse(
        f"model_spec {{name: '{model}' signature_name: 'count'}}", predict_pb2.PredictRequest()
    )
    request.inputs["n"].CopyFrom(tf.make_tensor_proto(np.array([n])))
    return stub.Predict(request, timeout=20).outputs["next"]


# ------------------------------------------------------------------ metrics


@pytest.fixture(scope="module")
def monitored(kind, base, tmp_path_factory):  # noqa: F811
    file = tmp_path_factory.mktemp("monitoring") / "monitoring.config"
    file.write_text("prometheus_config { enable: true }")
    with serving(kind, **base, monitoring_config_file=str(file)) as running:
        yield running


def metrics(server):
    """Sample -> value, and the page."""
    status, text = server.http("/monitoring/prometheus/metrics")
    assert status == 200
    return {k: float(v) for k, v in re.findall(r"^(:\S+?\{.*\}) (\S+)$", text, re.M)}, text


def test_metrics_have_the_real_names(monitored):
    def found():
        samples, _ = metrics(monitored)
        sent = ':tensorflow:serving:request_count{model_name="toy",status="OK"}'
        took = (
            ':tensorflow:serving:request_latency_count{API="Predict",entrypoint="%s",'
            'model_name="toy"}'
        )
        return [samples.get(name, 0) for name in (sent, took % "GRPC", took % "REST")]

    before = found()
    count(monitored.stub)
    count(monitored.stub)
    body = '{"signature_name": "count", "inputs": [1]}'
    assert monitored.http("/v1/models/toy:predict", body)[0] == 200
    assert [b - a for a, b in zip(before, found())] == [3, 2, 1]
    text = metrics(monitored)[1]
    assert "# TYPE :tensorflow:serving:request_count counter" in text
    assert "# TYPE :tensorflow:serving:request_latency histogram" in text


def test_latency_is_in_microseconds(monitored):
    count(monitored.stub)
    samples, _ = metrics(monitored)
    labels = '{API="Predict",entrypoint="GRPC",model_name="toy"}'
    mean = (
        samples[f":tensorflow:serving:request_latency_sum{labels}"]
        / samples[f":tensorflow:serving:request_latency_count{labels}"]
    )
    assert 50 < mean < 10_000_000


def test_names_made_up_by_clients_do_not_fill_the_metrics(base, tmp_path):
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus_config { enable: true path: '/mine' }")
    with serving(**base, monitoring_config_file=str(file)) as server:
        for number in range(3):
            with pytest.raises(grpc.RpcError):
                count(server.stub, model=f"m{number}")
        text = server.http("/mine")[1]
        assert "m0" not in text
        assert re.search(r'request_count\{model_name="\(unknown\)",status="NOT_FOUND"\} 3', text)


# ------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """PEM texts: the authority's certificate, and key and certificate signed by it."""
    if not shutil.which("openssl"):
        pytest.skip("makes its keys with openssl")
    folder = tmp_path_factory.mktemp("keys")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    for command in (
        f"req -x509 {new} -keyout ca.key -out ca.pem -subj /CN=authority",
        f"req {new} -keyout key.pem -out request.pem -subj /CN=localhost",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -out cert.pem -days 2 -extfile names",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return [(folder / name).read_text() for name in ("ca.pem", "key.pem", "cert.pem")]


def ssl_config(file, keys, verify=False):
    authority, key, signed = (json.dumps(text) for text in keys)
    text = f"server_key: {key}\nserver_cert: {signed}\n"
    file.write_text(text + (f"custom_ca: {authority}\nclient_verify: true\n" if verify else ""))
    return str(file)


def test_tls(kind, base, keys, tmp_path):  # noqa: F811
    authority = keys[0].encode()
    file = ssl_config(tmp_path / "ssl.config", keys)
    with serving(
        kind, grpc.ssl_channel_credentials(authority), **base, ssl_config_file=file
    ) as server:
        assert tf.make_ndarray(count(server.stub)) == [2]
        with Client(server.target, "toy", tls=authority) as client:
            assert client.predict({"n": [1]}, "count")["next"].tolist() == [2]
        with grpc.insecure_channel(server.target) as plain, pytest.raises(grpc.RpcError):
            count(prediction_service_pb2_grpc.PredictionServiceStub(plain))


def test_tls_of_both_sides(base, keys, tmp_path):
    authority, key, signed = (text.encode() for text in keys)
    file = ssl_config(tmp_path / "ssl.config", keys, verify=True)
    known = grpc.ssl_channel_credentials(authority, key, signed)
    with serving("local", known, **base, ssl_config_file=file) as server:
        assert tf.make_ndarray(count(server.stub)) == [2]
        stranger = grpc.ssl_channel_credentials(authority)
        with grpc.secure_channel(server.target, stranger) as c, pytest.raises(grpc.RpcError):
            count(prediction_service_pb2_grpc.PredictionServiceStub(c))


def test_an_ssl_config_with_paths_is_refused(base, tmp_path):
    file = tmp_path / "ssl.config"
    file.write_text("server_key: '/etc/key.pem' server_cert: '/etc/cert.pem'")
    expected = "ssl.config: server_key and server_cert must hold PEM texts"
    with pytest.raises(ValueError, match=expected), serving(**base, ssl_config_file=str(file)):
        pass


# ------------------------------------------------------------------ the rest


def test_a_socket_and_health(kind, base, tmp_path):  # noqa: F811
    path = tmp_path / "socket"
    flags = {"grpc_socket_path": str(path), "enable_grpc_healthcheck_service": True}
    with serving(kind, **base, **flags) as server, grpc.insecure_channel(f"unix:{path}") as channel:
        assert tf.make_ndarray(
            count(prediction_service_pb2_grpc.PredictionServiceStub(channel), 5)
        ) == [6]
        health = health_pb2_grpc.HealthStub(server.channel)
        for name in ("ModelService", "PredictionService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == 1
        with pytest.raises(grpc.RpcError) as error:
            health.Check(health_pb2.HealthCheckRequest(service="else"))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_answers_in_tensor_content(kind, base):  # noqa: F811
    with serving(kind, **base, enable_serialization_as_tensor_content=True) as server:
        proto = count(server.stub, 41)
        assert proto.tensor_content == np.array([42]).tobytes()
        assert not proto.int64_val


def test_the_configuration_file_comes_before_name_and_path(base, tmp_path):
    file = tmp_path / "models.config"
    file.write_text(
        f"model_config_list {{config {{name: 'listed' base_path: '{base['model_base_path']}' "
        "model_platform: 'tensorflow'}}"
    )
    flags = {"model_name": "toy", "model_base_path": str(tmp_path / "none")}
    with serving(**flags, model_config_file=str(file)) as server:
        assert tf.make_ndarray(count(server.stub, model="listed")) == [2]
        with pytest.raises(grpc.RpcError, match="Servable not found"):
            count(server.stub, model="toy")


def test_flags_that_have_no_effect_are_noted(monkeypatch):
    started = []
    monkeypatch.setattr(run, "run", started.append)
    command = "serve --model_base_path=a --model_config_file=b --noenable_profiler --port=1"
    monkeypatch.setattr(sys, "argv", command.split())
    runpy.run_module("tfrec.serve", run_name="__main__")
    (options,) = started
    assert (options.port, options.model_config_file) == (1, "b")
    assert options.notes() == [
        "--enable_profiler has no effect in this server",
        "--model_config_file is given: --model_base_path is ignored",
    ]


def test_method_names_are_checked_where_the_flag_is_set(base):
    body = '{"signature_name": "regress", "examples": [{"x": 1.5}]}'
    with serving(**base, enable_signature_method_name_check=True) as server:
        status, text = server.http("/v1/models/toy:regress", body)
        assert status == 400
        assert (
            "Expected regression signature method_name to be tensorflow/serving/regress. Was: "
            "tensorflow/serving/predict"
        ) in text


def test_limits_of_grpc(base):
    limit = "grpc.max_receive_message_length=1000"
    with serving(**base, grpc_channel_arguments=limit) as server:
        with pytest.raises(grpc.RpcError) as error:
            count(server.stub, np.zeros(1000))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, "give --model_base_path=DIR or --model_config_file=FILE"),
        ({"model_base_path": "a", "port": 0}, "no port to listen on"),
        ({"model_base_path": "a", "rest_api_port": 8500}, "--rest_api_port=8500 is also --port"),
        ({"model_base_path": "a", "demo": True}, "--demo needs a port: --rest_api_port=8501"),
        ({"model_base_path": "a", "monitoring_config_file": "x"}, "needs a port"),
        ({"model_base_path": "a", "batching_parameters_file": "x"}, "needs --enable_batching"),
        ({"model_base_path": "a", "grpc_channel_arguments": "=1"}, "--grpc_channel_arguments"),
    ],
    ids=str,
)
def test_inconsistent_flags_are_refused(flags, expected):
    with pytest.raises(ValueError, match=expected):
        Options(**flags).check()


def test_errors_at_the_start(base, tmp_path):
    expected = "--model_base_path=.*none does not exist"
    with pytest.raises(ValueError, match=expected), serving(model_base_path=str(tmp_path / "none")):
        pass
    with serving(**base) as first:
        port, rest = (int(where.split(":")[1]) for where in (first.target, first.rest))
        expected = f"REST cannot listen on --rest_api_port={rest}"
        with pytest.raises(ValueError, match=expected), serving(**base, rest_api_port=rest):
            pass
        expected = f"gRPC cannot listen on --port={port}"
        with pytest.raises(ValueError, match=expected), serving(**base, port=port):
            pass
        assert tf.make_ndarray(count(first.stub)) == [2]
