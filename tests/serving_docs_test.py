"""docs/serving.md: its files parse, its flags exist, its client lines are the client's."""

import inspect
import pathlib
import re
import runpy

import grpc
import pytest
from google.protobuf import text_format
from server_options_test import keys, ssl_config  # noqa: F401 (a fixture)
from servers import export_toy, serving
from tensorflow_serving.config import model_server_config_pb2

from tfrec.server import config_files
from tfrec.server.batching import Settings
from tfrec.server.configuration import check
from tfrec.serving.client import AsyncClient, Client

TEXT = (pathlib.Path(__file__).parents[1] / "docs/serving.md").read_text()


def flags(command):
    return set(runpy.run_module(f"tfrec.{command}")["FLAGS"])


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.M | re.S)
    return [text for name, text in found if name == language]


def test_the_configuration_files(tmp_path):
    models, batching, ssl = blocks("")
    check(text_format.Parse(models, model_server_config_pb2.ModelServerConfig()))
    for name, text in (("BatchingParameters", batching), ("SSLConfig", ssl)):
        file = tmp_path / name
        file.write_text(text)
        found = config_files.read(file, name)
        if name == "BatchingParameters":
            assert Settings.of(found).allowed_batch_sizes == (1, 4, 16, 64)
        else:
            assert found.client_verify
    monitoring = tmp_path / "monitoring"
    monitoring.write_text(re.search(r"`(prometheus_config .*?)`", TEXT)[1])
    assert config_files.read(monitoring, "MonitoringConfig").prometheus_config.enable


@pytest.mark.parametrize("command", ["serve", "request", "deploy"])
def test_flags_of_commands(command):
    lines = " ".join(blocks("bash")).replace("\\\n", " ").splitlines()
    used = {
        f for line in lines if f"tfrec.{command} " in line for f in re.findall(r"--(\w+)", line)
    }
    assert used
    assert used <= flags(command)


def test_flags_in_the_text():
    known = {"help", *flags("serve"), *flags("request"), *flags("deploy")}
    assert set(re.findall(r"--(\w+)", re.sub(r"-----\w+", "", TEXT))) <= known


def test_the_clients_names():
    options = set(inspect.signature(Client).parameters)
    found = {*re.findall(r"`(\w+)=`", TEXT), "timeout", "attempts", "batch_size"}
    assert {"version", "label", "tls", "client_key", "metadata", "keepalive"} <= found
    assert found <= options
    for name in ("recommend", "recommend_users", "rate", "predict"):
        assert f"`{name}`" in TEXT
        assert hasattr(Client, name)
        assert hasattr(AsyncClient, name)


def test_the_clients_lines_run(keys, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Against a toy of that name; the last with certificates of both sides."""
    export_toy(tmp_path / "deeprec", 1)
    (tmp_path / "models.config").write_text(
        f"model_config_list {{config {{name: 'deeprec' base_path: '{tmp_path / 'deeprec'}' "
        "model_platform: 'tensorflow' version_labels {key: 'stable' value: 1}}}"
    )
    monkeypatch.chdir(tmp_path)
    for name, text in zip(("ca.pem", "client.key", "client.pem"), keys):
        pathlib.Path(name).write_text(text)
    flags = {
        "model_config_file": str(tmp_path / "models.config"),
        "allow_version_labels_for_unavailable_models": True,
    }
    authority, key, certificate = (text.encode() for text in keys)
    known = grpc.ssl_channel_credentials(authority, key, certificate)
    secured = ssl_config(tmp_path / "ssl.config", keys, verify=True)
    *plain, secure = blocks("python")
    with serving(**flags) as server:
        for text in plain:
            assert "localhost:8500" in text
            exec(text.replace("localhost:8500", server.target), {})
    with serving("local", known, **flags, ssl_config_file=secured) as server:
        assert "tfrec-serving-replicas:8500" in secure
        spaces = {}
        exec(secure.replace("tfrec-serving-replicas:8500", server.target), spaces)
        spaces["client"].close()
    assert capsys.readouterr().out.splitlines() == [
        "b Größe 天使 17.0",  # twice 5 + 3, and the version
        "b b",
        "{1: 'AVAILABLE'}",
    ]
