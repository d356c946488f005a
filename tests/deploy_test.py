"""Files for the real server: their syntax by the official messages, and what they say."""

import dataclasses
import pathlib
import re
import shutil

import kubernetes_validate
import numpy as np
import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner
from commands_test import run
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from servers import eventually, export_toy, serving
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.config import model_server_config_pb2

from tfrec.server import config_files
from tfrec.server.batching import Settings
from tfrec.server.options import Options
from tfrec.serving import deployment, warmup
from tfrec.serving.client import Client, RequestError


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved models")
    export_toy(folder / "deeprec", 1)
    for copy in ("deeprec/2", "deeprec/3", "ease_2/1"):
        shutil.copytree(folder / "deeprec/1", folder / copy)
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
    done = deploy("--batch_sizes=2,8", "--batch_timeout_micros=500", "--cpus=3")
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


def test_labels_serve_their_versions(deploy):
    deploy("--label=deeprec:stable=1", "--label=deeprec:canary=2", "--label=deeprec:best=1")
    text = (deploy.out / "models.config").read_text()
    parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    deeprec, ease = parsed.model_config_list.config
    assert list(deeprec.model_version_policy.specific.versions) == [1, 2]
    assert dict(deeprec.version_labels) == {"stable": 1, "canary": 2, "best": 1}
    assert ease.model_version_policy.latest.num_versions == 1
    assert not ease.version_labels


def test_compose_mounts_what_the_configuration_names(deploy, exports):
    deploy("--image=tensorflow/serving:2.19.1", "--cpus=3", "--memory_mib=2000")
    file = deploy.out / "docker-compose.yml"
    checked = ["--builtin-schema", "vendor.compose-spec", str(file)]
    assert CliRunner().invoke(check_jsonschema, checked).exit_code == 0
    service = yaml.safe_load(file.read_text())["services"]["serving"]
    assert service["image"] == "tensorflow/serving:2.19.1"
    assert (service["cpus"], service["mem_limit"]) == (3, "2000m")
    mounts = {}
    for volume in service["volumes"]:
        source, there, mode = volume.rsplit(":", 2)
        assert mode == "ro"
        mounts[there] = source
    assert mounts["/models/deeprec"] == str(exports / "deeprec")
    assert mounts["/config"] == "."
    assert set(given_flags(service["command"])) <= set(Options.__dataclass_fields__)


def given_flags(words):
    return dict(word.removeprefix("--").split("=", 1) for word in words)


@pytest.fixture
def kubernetes(deploy):
    """Kind and name -> object of kubernetes.yaml."""
    deploy("--replicas=3", "--cpus=4", "--memory_mib=2000", "--label=deeprec:stable=1")
    documents = yaml.safe_load_all((deploy.out / "kubernetes.yaml").read_text())
    return {(d["kind"], d["metadata"]["name"]): d for d in documents}


@pytest.mark.parametrize("version", ["1.27", "1.34"])
def test_kubernetes_knows_every_field(kubernetes, version):
    for document in kubernetes.values():
        assert kubernetes_validate.validate(document, version, strict=True) == version


def test_kubernetes_objects_fit_each_other(kubernetes, deploy):
    assert list(kubernetes) == [
        ("ConfigMap", "tfrec-serving"), ("Deployment", "tfrec-serving"),
        ("Service", "tfrec-serving"), ("Service", "tfrec-serving-replicas"),
        ("PodDisruptionBudget", "tfrec-serving"),
    ]  # fmt: skip
    for name, text in kubernetes["ConfigMap", "tfrec-serving"]["data"].items():
        assert text == (deploy.out / name).read_text()
    deployment = kubernetes["Deployment", "tfrec-serving"]["spec"]
    assert deployment["replicas"] == 3
    pod = deployment["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert kubernetes["Service", "tfrec-serving"]["spec"]["selector"] == labels
    replicas = kubernetes["Service", "tfrec-serving-replicas"]["spec"]
    assert (replicas["selector"], replicas["clusterIP"]) == (labels, "None")
    budget = kubernetes["PodDisruptionBudget", "tfrec-serving"]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    (container,) = pod["spec"]["containers"]
    assert {m["name"] for m in container["volumeMounts"]} == {
        v["name"] for v in pod["spec"]["volumes"]
    }
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == ports["grpc"]
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    assert container["resources"]["requests"] == {"cpu": "4", "memory": "2000Mi"}
    assert container["resources"]["limits"] == {"memory": "2000Mi"}
    flags = given_flags(container["args"])
    assert flags["tensorflow_intra_op_parallelism"] == "4"
    assert (int(flags["port"]), int(flags["rest_api_port"])) == (ports["grpc"], ports["http"])


def test_memory_follows_the_sizes_of_what_is_served(tmp_path):
    for number, mib in enumerate((300, 500), 1):
        folder = tmp_path / "shop" / str(number)
        folder.mkdir(parents=True)
        with (folder / "saved_model.pb").open("w") as file:
            file.truncate(mib * 2**20)
    served = deployment.served_versions
    latest, both = served(tmp_path / "shop", None), served(tmp_path / "shop", {"a": 1, "b": 2})
    assert [folder.name for folder in latest] == ["2"]
    assert deployment.memory_mib([latest]) == 768 + 1536  # three times 500
    assert deployment.memory_mib([both]) == 768 + 2048  # 300 more


def test_the_local_server_takes_them(deploy, exports, kubernetes):
    """The container's flags, its ports and folders apart; labels; health as the probes ask."""
    for file in ("models.config", "batching.config"):
        text = (deploy.out / file).read_text()
        (deploy.out / file).write_text(text.replace("/models/", f"{exports}/"))
    manifest = kubernetes["Deployment", "tfrec-serving"]
    words = manifest["spec"]["template"]["spec"]["containers"][0]["args"]
    types = {field.name: type(field.default) for field in dataclasses.fields(Options)}
    flags = {}
    for name, value in given_flags(words).items():
        value = value.replace("/config/", f"{deploy.out}/")
        flags[name] = value == "true" if types[name] is bool else types[name](value)
    del flags["port"], flags["rest_api_port"]
    with serving(**flags) as server:

        def label(**given):
            config = deployment.models_config(["deeprec"], {"deeprec": given})
            request = model_management_pb2.ReloadConfigRequest()
            text_format.Parse(config.replace("/models/", f"{exports}/"), request.config)
            server.models.HandleReloadConfigRequest(request, timeout=60)

        def serves(name, version):
            with Client(server.target, "deeprec", label=name) as client:
                return client.status() == {version: "AVAILABLE"}

        health = health_pb2_grpc.HealthStub(server.channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == 1
        assert server.http("/monitoring/prometheus/metrics")[0] == 200
        with Client(server.target, "deeprec", label="stable") as client:
            assert client.predict({"n": [1]}, "count")["next"].tolist() == [2]
        with pytest.raises(RequestError, match="Unrecognized servable version label: canary"):
            serves("canary", 2)
        label(stable=1, canary=2)
        eventually(lambda: served_versions(server) == {1, 2})
        assert serves("stable", 1)
        assert serves("canary", 2)
        label(stable=2, previous=1)
        assert serves("stable", 2)
        assert serves("previous", 1)
        label(stable=2)
        eventually(lambda: served_versions(server) == {2})
        assert serves("stable", 2)


def served_versions(server):
    with Client(server.target, "deeprec") as client:
        return {version for version, state in client.status().items() if state == "AVAILABLE"}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ({"count": {"n": np.arange(9)}}, "'count' has 9 rows, so no server .* up to 8 loads"),
        ({"half": {"x": np.float32(1)}}, "'half' has inputs without rows"),
        ({"a": {"x": np.arange(2), "y": np.arange(3)}}, "'a' has .* different numbers of rows"),
        (None, "tf_serving_warmup_requests is damaged"),
    ],
    ids=["more than a batch", "scalar", "uneven", "cut"],
)
def test_exports_that_would_not_load_are_refused(deploy, exports, tmp_path, records, expected):
    base = tmp_path / "shop"
    for number in (1, 2):
        shutil.copytree(exports / "deeprec/1", base / str(number))
    (base / "2/assets.extra").mkdir()
    if records is None:
        (base / "2" / warmup.FILE).write_bytes(bytes(20))
    else:
        warmup.write(base / "2" / warmup.FILE, "shop", records)
    given = [f"--export_dir={base}", "--batch_sizes=1,8"]
    done = deploy(*given, names=[])
    assert done.status == 1
    assert re.search(expected, done.err)
    assert not deploy.out.exists()
    assert deploy(*given, "--label=shop:stable=1", names=[]).status == 0, "2 is not served"


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
        deployment.write(str(tmp_path), {"a": "new"}, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize(
    ("words", "names", "expected"),
    [
        ([], [], "--export_dir is missing"),
        ([], ["none"], "--export_dir=.*none holds no version: tfrec.export makes one"),
        ([], ["deeprec", "deeprec"], "a model 'deeprec' is there already"),
        (["--batch_sizes=4,2"], ["deeprec"], r"--batch_sizes=\[4, 2\] must be increasing"),
        (["--batch_sizes=x"], ["deeprec"], "--batch_sizes=x: whole numbers"),
        (["--image=a/serving"], ["deeprec"], "--image=a/serving may be another server tomorrow"),
        (["--image=a:5000/serving:latest"], ["deeprec"], "give the tag that you have tested"),
        (["--label=stable=1"], ["deeprec"], "--label=stable=1: MODEL:LABEL=VERSION"),
        (["--label=ease:a=1"], ["deeprec"], "--label=ease: no such model; known are deeprec"),
        (["--label=deeprec:a=7"], ["deeprec"], r"deeprec:a=7: .*deeprec has versions 1, 2, 3"),
        (["--label=deeprec:a=1"] * 2, ["deeprec"], "deeprec has a label 'a' already"),
    ],
)
def test_refused(deploy, words, names, expected):
    done = deploy(*words, names=names)
    assert done.status == 1
    assert done.err.startswith("error: ")
    assert re.search(expected, done.err)
    assert not deploy.out.exists()
