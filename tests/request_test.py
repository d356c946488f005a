"""`tfrec.request`: texts that work as they are."""

import json
import re
import shlex
import sys

import pytest
from client_test import target  # noqa: F401 (a fixture)
from commands_test import run
from google.protobuf import text_format
from tensorflow_serving.apis import predict_pb2


@pytest.fixture
def request_(capsys):
    """`request_(*words)`: what the command did."""
    return lambda *words: run(capsys, "request", *words)


def printed(out):
    """The curl line's words, and the gRPC message."""
    line = re.search(r"^curl .*$", out, re.M)[0]
    text = out.split("PredictRequest:\n")[1].split("answer over")[0]
    return shlex.split(line), text_format.Parse(text, predict_pb2.PredictRequest())


def test_the_texts(request_):
    done = request_("--model_name=films", "--items=it's:5,50:3,60", "--rating=2")
    assert (done.status, done.err) == (0, "")
    (curl, flag, body, url), message = printed(done.out)
    assert (curl, flag, url) == ("curl", "-d", "http://localhost:8501/v1/models/films:predict")
    assert json.loads(body) == {
        "inputs": {"items": [["it's", "50", "60"]], "values": [[5.0, 3.0, 2.0]]}
    }
    assert message.model_spec.name == "films"
    assert list(message.inputs["items"].string_val) == [b"it's", b"50", b"60"]
    assert list(message.inputs["values"].float_val) == [5, 3, 2]


def test_lists_ask_the_full_signature(request_):
    done = request_("--model_name=films", "--user=7", "--exclude=1,2")
    (*_, body, _), message = printed(done.out)
    assert json.loads(body) == {
        "signature_name": "recommend",
        "inputs": {"user": ["7"], "exclude": [["1", "2"]], "allow": [[""]]},
    }
    assert message.model_spec.signature_name == "recommend"


def test_it_is_sent_to_the_given_address(request_, target):  # noqa: F811
    words = ["--model_name=films", "--items=i3:5,i4:1"]
    done = request_(*words, f"--url=http://{target.rest}/", f"--target={target.target}")
    assert (done.status, done.err) == (0, "")
    (*_, url), message = printed(done.out)
    assert url == f"http://{target.rest}/v1/models/films:predict"
    rest, grpc = done.out.split("answer over REST:\n")[1].split("answer over gRPC:\n")
    assert rest.strip() == grpc.strip()
    assert len(re.findall(r"^ +\d +i\d+ +\S+  Film i\d+, The$", grpc, re.M)) == 5
    assert target.stub.Predict(message).outputs["items"].string_val[0].decode() in grpc


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--items=1"], "--model_name is missing"),
        (["--model_name=m"], "give one of --items=item:rating,... and --user=ID"),
        (["--model_name=m", "--items=1", "--user=2"], "give one of"),
        (["--model_name=m", "--items=1:much"], "'1:much' is not of the form item:rating"),
        (["--model_name=m", "--items=1,,2"], "'' is not of the form item:rating"),
        (["--model_name=m", "--items=1:5,1:4"], "item 1 is given twice"),
        (["--export_dir=none", "--items=1"], "--export_dir=none holds no version"),
    ],
)
def test_refused(request_, words, expected):
    done = request_(*words)
    assert done.status == 1
    assert done.err.startswith("error: ")
    assert expected in done.err


def test_an_error_of_the_server_is_one_line(request_, target):  # noqa: F811
    for where in (f"--url=http://{target.rest}", f"--target={target.target}"):
        done = request_("--model_name=stranger", "--items=1", where)
        assert done.status == 1
        assert "Servable not found for request: Latest(stranger)" in done.err
        assert done.err.count("\n") == 1
    done = request_("--model_name=films", "--items=1", "--url=http://localhost:1")
    assert re.match("error: .*refused", done.err)


def test_a_missing_package_is_named(request_, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    for name in ("client", "async_client", "base_client", "channel"):
        monkeypatch.delitem(sys.modules, f"tfrec.serving.{name}")
        monkeypatch.delattr(f"tfrec.serving.{name}")
    done = request_("--model_name=films", "--items=1", "--target=localhost:1")
    assert done.err == "error: the client needs grpcio: pip install 'tfrec[serving]'\n"


def test_the_server_names_its_missing_package(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "tfrec.server.run", raising=False)
    monkeypatch.delitem(sys.modules, "tfrec.server.rest_service", raising=False)
    monkeypatch.delattr("tfrec.server.run", raising=False)
    monkeypatch.delattr("tfrec.server.rest_service", raising=False)
    done = run(capsys, "serve", f"--model_base_path={tmp_path}")
    assert done.err == "error: aiohttp is missing: pip install 'tfrec[serving]'\n"
