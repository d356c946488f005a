"""Versions: swapped without a failed request, rolled back, labelled, configured anew."""

import contextlib
import itertools
import shutil
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from servers import eventually, export_toy, kind, serving  # noqa: F401 (a fixture)
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
    prediction_log_pb2,
)

NAMES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


def predict(server, text="name: 'toy'"):
    """The version that answered, and its own number in the scores."""
    request = text_format.Parse(f"model_spec {{{text}}}", predict_pb2.PredictRequest())
    request.inputs["items"].CopyFrom(tf.make_tensor_proto([["a"]]))
    request.inputs["values"].CopyFrom(tf.make_tensor_proto([[0.0]]))
    response = server.stub.Predict(request, timeout=30)
    score = tf.make_ndarray(response.outputs["scores"])[0, 0]
    assert score == response.model_spec.version.value
    return int(score)


def states(server, name="toy"):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    try:
        found = server.models.GetModelStatus(request).model_version_status
    except grpc.RpcError:
        return {}
    return {s.version: NAMES[s.state] for s in found}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Versions 1, 2 and 3 of a model, to be copied."""
    base = tmp_path_factory.mktemp("exported")
    for version in (1, 2, 3):
        export_toy(base, version)
    return base


def publish(exported, base, version, name=None):
    """As `tfrec.export` does: aside, then renamed."""
    base.mkdir(exist_ok=True)
    aside = shutil.copytree(exported / str(version), base / f"writing-{version}")
    aside.rename(base / (name or str(version)))


@contextlib.contextmanager
def load(server, clients=4):
    """Requests without a pause, by several clients; yields the versions that answered."""
    seen, failed, done = [[] for _ in range(clients)], [], threading.Event()

    def work(mine):
        while not done.is_set():
            try:
                mine.append(predict(server))
            except (grpc.RpcError, AssertionError) as error:
                failed.append(error)

    threads = [threading.Thread(target=work, args=[mine]) for mine in seen]
    for thread in threads:
        thread.start()
    try:
        yield seen, failed
    finally:
        done.set()
        for thread in threads:
            thread.join()


def swap_under_load(server, exported, base, requests):
    """Up to 2 and back to 1, over and over, until so many requests were answered."""
    rounds = 0
    with load(server) as (seen, failed):
        while not failed and (rounds < 2 or sum(map(len, seen)) < requests):
            publish(exported, base, 2)
            eventually(lambda: states(server) == {1: "END", 2: "AVAILABLE"})
            shutil.rmtree(base / "2")
            eventually(lambda: states(server) == {1: "AVAILABLE", 2: "END"})
            rounds += 1
    assert not failed
    n = sum(map(len, seen))
    assert n >= requests
    for mine in seen:
        changes = [version for version, _ in itertools.groupby(mine)]
        assert set(changes) == {1, 2}, "each client saw both"
        assert len(changes) <= 2 * rounds + 1, "no client saw an old version after a new one"
    return n, rounds


def test_hot_swap_and_rollback_under_load(kind, exported, tmp_path):  # noqa: F811
    publish(exported, tmp_path / "toy", 1)
    with serving(kind, model_name="toy", model_base_path=str(tmp_path / "toy")) as server:
        swap_under_load(server, exported, tmp_path / "toy", 300)


@pytest.mark.slow
def test_ten_thousand_requests_while_versions_change(exported, tmp_path):
    publish(exported, tmp_path / "toy", 1)
    flags = {"model_name": "toy", "model_base_path": str(tmp_path / "toy")}
    with serving("process", **flags, enable_batching="true") as server:
        n, rounds = swap_under_load(server, exported, tmp_path / "toy", 10_000)
    print(f"{n:,} requests, {2 * rounds} swaps, none failed")


def test_a_run_under_way_ends_before_its_version_goes(exported, tmp_path):
    base = tmp_path / "toy"
    publish(exported, base, 1)
    with serving(model_name="toy", model_base_path=str(base)) as server:
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "toy", "slow"
        request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.array([1500], np.int32)))
        under_way = server.stub.Predict.future(request)
        publish(exported, base, 2)
        eventually(lambda: states(server).get(2) == "AVAILABLE")
        assert predict(server) == 2
        assert under_way.result(60).model_spec.version.value == 1
        eventually(lambda: states(server)[1] == "END")


def test_what_is_being_written_is_not_looked_at(exported, tmp_path):
    base = tmp_path / "toy"
    publish(exported, base, 1)
    publish(exported, base, 3, name="3.part")
    (base / "README.md").write_text("no version")
    (base / "4").write_text("a file")
    with serving(model_name="toy", model_base_path=str(base)) as server:
        assert predict(server) == 1
        assert states(server) == {1: "AVAILABLE"}


def test_a_version_that_does_not_load_is_retried_and_the_old_one_answers(exported, tmp_path):
    base = tmp_path / "toy"
    publish(exported, base, 1)
    flags = {"max_num_load_retries": 2, "load_retry_interval_micros": 100_000}
    with serving(model_name="toy", model_base_path=str(base), **flags) as server:
        (base / "2").mkdir()
        (base / "2/saved_model.pb").write_bytes(b"broken")
        eventually(lambda: states(server).get(2) == "END")
        assert predict(server) == 1
        status = server.http("/v1/models/toy/versions/2")
        assert '"state": "END"' in status[1]
        assert '"error_code": "OK"' not in status[1]
        publish(exported, base, 3)
        eventually(lambda: states(server).get(3) == "AVAILABLE")
        assert predict(server) == 3


def config(*models):
    listed = " ".join(f"config {{{m}}}" for m in models)
    return text_format.Parse(
        f"config {{model_config_list {{{listed}}}}}", model_management_pb2.ReloadConfigRequest()
    )


def model(base, more="", name="toy"):
    return f"name: '{name}' base_path: '{base}' model_platform: 'tensorflow' {more}"


def test_policies_labels_and_reload(kind, exported, tmp_path):  # noqa: F811
    for version in (1, 2, 3):
        publish(exported, tmp_path / "toy", version)
    base = tmp_path / "toy"
    file = tmp_path / "models.config"
    both = "model_version_policy {specific {versions: [1, 2]}}"
    file.write_text(f"model_config_list {{config {{{model(base, both)}}}}}")
    with serving(kind, model_config_file=str(file)) as server:
        assert {v: s for v, s in states(server).items() if s != "END"} == {
            1: "AVAILABLE",
            2: "AVAILABLE",
        }
        assert predict(server) == 2
        reload = server.models.HandleReloadConfigRequest
        labels = "version_labels {key: 'stable' value: 1} version_labels {key: 'new' value: 2}"
        reload(config(model(base, f"{both} {labels}")))
        assert predict(server, "name: 'toy' version_label: 'stable'") == 1
        assert predict(server, "name: 'toy' version_label: 'new'") == 2
        path = "/v1/models/toy/labels/stable:predict"
        body = '{"inputs": {"items": [["a"]], "values": [[0.0]]}}'
        assert '"scores": [[1.0' in server.http(path, body)[1].replace("\n", "").replace("  ", "")
        with pytest.raises(grpc.RpcError) as error:
            reload(config(model(base, f"{both} version_labels {{key: 'x' value: 3}}")))
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error.value.details() == (
            "Request to assign label to version 3 of model toy, which is not currently available "
            "for inference"
        )
        every = "model_version_policy {all {}}"
        reload(config(model(base, every), model(base, name="other")))
        assert eventually(lambda: predict(server) == 3)
        assert predict(server, "name: 'other'") == 3
        assert predict(server, "name: 'toy' version {value: 1}") == 1
        reload(config(model(base, name="other")))
        with pytest.raises(grpc.RpcError, match=r"Servable not found for request: Latest\(toy\)"):
            predict(server)


def test_the_configuration_file_is_read_again(exported, tmp_path):
    publish(exported, tmp_path / "toy", 1)
    file = tmp_path / "models.config"
    file.write_text(f"model_config_list {{config {{{model(tmp_path / 'toy')}}}}}")
    with serving(model_config_file=str(file), model_config_file_poll_wait_seconds=1) as server:
        file.write_text("not { a config")
        text = f"model_config_list {{config {{{model(tmp_path / 'toy', name='second')}}}}}"
        eventually(lambda: predict(server) == 1)
        file.write_text(text)
        eventually(lambda: states(server, "second") == {1: "AVAILABLE"})
        assert predict(server, "name: 'second'") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model_config_list {config {name: 'a'", "Invalid protobuf file: '.*models.config': 1:34"),
        ("model_config_list {config {names: 'a'}}", "models.config': .*names"),
        (
            "model_config_list {config {%s version_labels {key: 'x' value: 1}}}",
            "Request to assign label to version 1 of model toy, which is not currently available",
        ),
        (
            "model_config_list {config {%s logging_config {}}}",
            "No request-logger-creator provided.",
        ),
        (
            "model_config_list {config {name: 'a' base_path: '/a'}}",
            "Illegal setting neither model_type",
        ),
    ],
)
def test_a_configuration_that_is_none_ends_the_start(exported, tmp_path, text, told):
    file = tmp_path / "models.config"
    file.write_text(text.replace("%s", model(exported)))
    with pytest.raises(ValueError, match=told), serving(model_config_file=str(file)):
        pass


def test_labels_at_the_start_need_the_flag(exported, tmp_path):
    file = tmp_path / "models.config"
    label = "version_labels {key: 'stable' value: 3} version_labels {key: 'next' value: 4}"
    file.write_text(f"model_config_list {{config {{{model(exported, label)}}}}}")
    flags = {"allow_version_labels_for_unavailable_models": True}
    with serving(model_config_file=str(file), **flags) as server:
        assert predict(server, "name: 'toy' version_label: 'stable'") == 3
        with pytest.raises(grpc.RpcError, match=r"request: Specific\(toy, 4\)"):
            predict(server, "name: 'toy' version_label: 'next'")


def warm_up(folder, *requests):
    path = folder / "assets.extra/tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for text in requests:
            log = text_format.Parse(text, prediction_log_pb2.PredictionLog())
            writer.write(log.SerializeToString())


COUNT = """predict_log {request {model_spec {name: 'toy' signature_name: 'count'} inputs {key: 'n'
    value {dtype: DT_INT64 tensor_shape {dim {size: 1}} int64_val: 1}}}}"""
REGRESS = """regress_log {request {model_spec {name: 'toy' signature_name: 'regress'}
    input {example_list {examples {}}}}}"""


def test_warm_up_is_replayed_and_one_failing_record_fails_the_load(exported, tmp_path):
    base = tmp_path / "toy"
    publish(exported, base, 1)
    warm_up(base / "1", COUNT, REGRESS)
    with serving(model_name="toy", model_base_path=str(base), max_num_load_retries=0) as server:
        assert predict(server) == 1
        publish(exported, base, 2, name="later")
        warm_up(base / "later", COUNT, COUNT.replace("'count'", "'zz'"))
        (base / "later").rename(base / "2")
        eventually(lambda: states(server).get(2) == "END")
        assert "Serving signature key" in server.http("/v1/models/toy/versions/2")[1]
        assert predict(server) == 1
