"""Files for the real server: their syntax by the official messages, and what they say."""

import pathlib
import re
import shutil

import pytest
import yaml
from commands_test import run
from google.protobuf import text_format
from servers import export_toy, serving
from tensorflow_serving.config import model_server_config_pb2

from tfrec.server import config_files
from tfrec.server.batching import Settings
from tfrec.server.options import Options
from tfrec.serving import production


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved models")
    export_toy(folder / "deeprec", 1)
    shutil.copytree(folder / "deeprec", folder / "ease_2")
    return folder


@pytest.fixture
def deploy(capsys, exports, tmp_path):
    """`deploy(*words)` -> what `tfrec.deploy` did, into tmp_path/out."""

    def call(*words, names=("deeprec", "ease_2")):
        flags = [f"--export_dir={exports / name}" for name in names]
        return run(capsys, "deploy", *flags, f"--out_dir={tmp_path / 'out'}", *words)

    call.out = tmp_path / "out"
    return call


def test_the_files_are_what_the_real_server_reads(deploy, exports):
    done = deploy("--batch_sizes=2,8", "--batch_timeout_micros=500", "--batch_threads=3")
    assert (done.status, done.err) == (0, "")
    assert "start: docker compose -f" in done.out
    assert {p.name for p in deploy.out.iterdir()} == {
        "models.config", "batching.config", "monitoring.config", "docker-compose.yml",
        "kubernetes.yaml",
    }  # fmt: skip
    text = (deploy.out / "models.config").read_text()
    models = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    found = {m.name: (m.base_path, m.model_platform) for m in models.model_config_list.config}
    assert found == {
        "deeprec": ("/models/deeprec", "tensorflow"),
        "ease_2": ("/models/ease_2", "tensorflow"),
    }
    batching = Settings.of(config_files.read(deploy.out / "batching.config", "BatchingParameters"))
    assert batching == Settings(8, 500, 100, 3, (2, 8), True)
    monitoring = config_files.read(deploy.out / "monitoring.config", "MonitoringConfig")
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_compose_mounts_what_the_configuration_names(deploy, exports):
    deploy("--image=tensorflow/serving:2.19.1")
    service = yaml.safe_load((deploy.out / "docker-compose.yml").read_text())["services"]["serving"]
    assert service["image"] == "tensorflow/serving:2.19.1"
    mounts = {}
    for volume in service["volumes"]:
        source, there, mode = volume.rsplit(":", 2)
        assert mode == "ro"
        mounts[there] = source
    assert mounts["/models/deeprec"] == str(exports / "deeprec")
    assert mounts["/config"] == "."
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    assert set(flags) <= set(Options.__dataclass_fields__)
    for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        folder, file = flags[name].rsplit("/", 1)
        assert folder in mounts
        assert (deploy.out / file).exists()


def test_kubernetes_holds_the_same_files(deploy):
    deploy()
    documents = list(yaml.safe_load_all((deploy.out / "kubernetes.yaml").read_text()))
    assert [d["kind"] for d in documents] == ["ConfigMap", "Deployment", "Service"]
    for name, text in documents[0]["data"].items():
        assert text == (deploy.out / name).read_text()
    pod = documents[1]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models/deeprec"
    volumes = {v["name"] for v in pod["spec"]["volumes"]}
    assert {m["name"] for m in container["volumeMounts"]} == volumes
    assert documents[2]["spec"]["selector"] == pod["metadata"]["labels"]


def test_the_local_server_takes_them(deploy, exports):
    deploy(names=["deeprec"])
    models = deploy.out / "models.config"
    models.write_text(models.read_text().replace("/models", str(exports)))
    with serving(
        model_config_file=str(models),
        enable_batching=True,
        batching_parameters_file=str(deploy.out / "batching.config"),
        monitoring_config_file=str(deploy.out / "monitoring.config"),
    ) as server:
        body = '{"signature_name": "count", "inputs": [1]}'
        assert server.http("/v1/models/deeprec:predict", body)[0] == 200
        assert server.http("/monitoring/prometheus/metrics")[0] == 200


def test_nothing_is_overwritten_without_the_flag(deploy):
    deploy()
    (deploy.out / "models.config").write_text("mine")
    (deploy.out / "kubernetes.yaml").unlink()
    done = deploy()
    assert done.status == 1
    assert "already holds models.config, batching.config, monitoring.config" in done.err
    assert "--overwrite replaces them" in done.err
    assert (deploy.out / "models.config").read_text() == "mine"
    assert not (deploy.out / "kubernetes.yaml").exists()
    assert deploy("--overwrite").status == 0
    assert "deeprec" in (deploy.out / "models.config").read_text()


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")

    def full(self, text):
        self.open("w").close()
        raise OSError("No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        production.write(str(tmp_path), {"a": "new"}, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize(
    ("words", "names", "told"),
    [
        ([], [], "--export_dir is missing"),
        ([], ["none"], "--export_dir=.*none holds no version: tfrec.export makes one"),
        ([], ["deeprec", "deeprec"], "a model 'deeprec' is there already"),
        (["--batch_sizes=4,2"], ["deeprec"], r"--batch_sizes=\[4, 2\] must be increasing"),
        (["--batch_sizes=x"], ["deeprec"], "--batch_sizes=x: whole numbers"),
    ],
)
def test_refused(deploy, words, names, told):
    done = deploy(*words, names=names)
    assert done.status == 1
    assert done.err.startswith("error: ")
    assert re.search(told, done.err)
    assert not deploy.out.exists()
