"""docs/serving.md: its files parse, its flags exist, its client lines are the client's."""

import ast
import inspect
import pathlib
import re
import runpy

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tfrec.server import config_files
from tfrec.server.batching import Settings
from tfrec.server.configuration import check
from tfrec.serving.client import Client
from tfrec.serving.connection import Connection

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
    (example,) = blocks("python")
    called = {n.attr for n in ast.walk(ast.parse(example)) if isinstance(n, ast.Attribute)}
    assert "recommend" in called
    for name in ("recommend", "recommend_users", "rate", "predict"):
        assert f"`{name}`" in TEXT
        assert hasattr(Client, name)
    options = {*inspect.signature(Client).parameters, *inspect.signature(Connection).parameters}
    assert {"version", "label", "tls", "timeout", "attempts", "batch_size"} <= options
