"""Versions: swapped without a failed request, rolled back, labelled, reconfigured."""

import asyncio
import contextlib
import itertools
import shutil
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from servers import (
    answers,
    eventually,
    export_toy,
    free_port,
    kind,  # noqa: F401 (a fixture)
    serving,
)
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from tfrec.server import run
from tfrec.server.options import Options
from tfrec.server.saved_model import SavedModel

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
    """Like `tfrec.export`: written under another name, then renamed."""
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


def test_versions_being_written_are_ignored(exported, tmp_path):
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
    ("text", "expected"),
    [
        (
            "model_config_list {config {name: 'a'",
            "Invalid protobuf file: '.*models.config': Error parsing text-format "
            "tensorflow.serving.ModelServerConfig: 1:34",
        ),
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
def test_a_configuration_that_is_none_ends_the_start(exported, tmp_path, text, expected):
    file = tmp_path / "models.config"
    file.write_text(text.replace("%s", model(exported)))
    with pytest.raises(ValueError, match=expected), serving(model_config_file=str(file)):
        pass


def labelled(base, more="", **labels):
    listed = [f"version_labels {{key: '{key}' value: {v}}}" for key, v in labels.items()]
    return model(base, " ".join([more, *listed]))


UNAVAILABLE = (
    "Request to assign label to version {} of model toy, which is not currently available for "
    "inference"
)


def test_labels_with_the_flag(exported, tmp_path):
    """A new label may name an absent version; one that names another version may not move to it."""
    file = tmp_path / "models.config"
    file.write_text(f"model_config_list {{config {{{labelled(exported, stable=3, next=4)}}}}}")
    flags = {"allow_version_labels_for_unavailable_models": True}
    with serving(model_config_file=str(file), **flags) as server:
        reload = server.models.HandleReloadConfigRequest
        stable = "name: 'toy' version_label: 'stable'"
        assert predict(server, stable) == 3
        with pytest.raises(grpc.RpcError, match=r"request: Specific\(toy, 4\)"):
            predict(server, "name: 'toy' version_label: 'next'")
        all_of_them = "model_version_policy {all {}}"
        with pytest.raises(grpc.RpcError) as error:
            reload(config(labelled(exported, all_of_them, stable=2)))
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error.value.details() == UNAVAILABLE.format(2)
        assert predict(server, stable) == 3
        assert states(server) == {3: "AVAILABLE"}, "nothing of what is refused is done"
        reload(config(labelled(exported, all_of_them, stable=3, old=1)))
        eventually(lambda: set(states(server).values()) == {"AVAILABLE"})
        reload(config(labelled(exported, all_of_them, stable=2, old=1)))
        assert predict(server, stable) == 2
        assert predict(server, "name: 'toy' version_label: 'old'") == 1


def test_a_policy_and_its_label_take_two_reloads_without_the_flag(exported, tmp_path):
    """Labels come first; a reload waits for new models, and not for versions of known ones."""
    file = tmp_path / "models.config"
    only = "model_version_policy {specific {versions: %s}}"
    file.write_text(f"model_config_list {{config {{{model(exported, only % 1)}}}}}")
    with serving(model_config_file=str(file)) as server:
        reload = server.models.HandleReloadConfigRequest
        with pytest.raises(grpc.RpcError) as error:
            reload(config(labelled(exported, only % [1, 2], new=2)))
        assert error.value.details() == UNAVAILABLE.format(2)
        assert states(server) == {1: "AVAILABLE"}
        absent = only % [1, 9]
        reload(config(model(exported, absent)))  # version 9 is not waited for
        reload(config(model(exported, only % [1, 2]), model(exported, name="second")))
        assert predict(server, "name: 'second'") == 3, "new models are"
        eventually(lambda: states(server) == {1: "AVAILABLE", 2: "AVAILABLE"})
        reload(config(labelled(exported, only % [1, 2], new=2)))
        assert predict(server, "name: 'toy' version_label: 'new'") == 2
        with pytest.raises(grpc.RpcError, match="Unrecognized servable version label: new"):
            reload(config(model(exported)))
            predict(server, "name: 'toy' version_label: 'new'")


def test_a_new_model_that_does_not_load_is_reported(exported, tmp_path):
    broken = tmp_path / "broken/1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"broken")
    flags = {"model_name": "toy", "model_base_path": str(exported), "max_num_load_retries": 0}
    with serving(**flags) as server:
        with pytest.raises(grpc.RpcError) as error:
            server.models.HandleReloadConfigRequest(
                config(model(exported), model(broken.parent, name="broken"))
            )
        assert error.value.code() is grpc.StatusCode.UNKNOWN
        expected = "1 model(s) did not become available: {{{name: broken version: 1} due to error: "
        assert error.value.details().startswith(expected)
        assert predict(server) == 3
    expected = r"1 model\(s\) did not become available: {{{name: default version: 1} due to error: "
    flags = {"model_base_path": str(broken.parent), "max_num_load_retries": 1}
    with pytest.raises(ValueError, match=expected), serving(**flags, load_retry_interval_micros=1):
        pass


def test_no_port_opens_before_all_models_have_loaded(exported, tmp_path, monkeypatch):
    """A model without a version is waited for; the wait ends with the server, too."""
    lines = []
    monkeypatch.setattr(run, "log", lines.append)
    later = tmp_path / "later"
    later.mkdir()
    models = [model(exported), model(later, name="later")]
    listed = " ".join(f"config {{{m}}}" for m in models)
    file = tmp_path / "models.config"
    file.write_text(f"model_config_list {{{listed}}}")
    flags = {"port": free_port(), "rest_api_port": free_port(), "model_config_file": str(file)}

    def opened():
        return [answers(flags[name]) for name in ("port", "rest_api_port")]

    async def until(check):
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(check):
                await asyncio.sleep(0.05)

    async def main(publishes):
        stop = asyncio.Event()
        serving = asyncio.ensure_future(run.serve(Options(**flags), stop))
        await until(lambda: any("toy version 3 answers" in line for line in lines))
        assert f"No versions of servable later found under base path {later}" in lines
        assert opened() == [False, False]
        if publishes:
            await asyncio.to_thread(publish, exported, later, 1)
            await until(lambda: opened() == [True, True])
        stop.set()
        await serving
        assert opened() == [False, False]

    asyncio.run(main(publishes=False))
    lines.clear()
    asyncio.run(main(publishes=True))


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


def test_warm_up_is_replayed_and_one_failing_record_fails_the_load(exported, tmp_path, monkeypatch):
    closed = []
    close = SavedModel.close
    monkeypatch.setattr(SavedModel, "close", lambda self: (closed.append(self.path), close(self)))
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
        assert closed == [base / "2"], "its session is closed"
        assert predict(server) == 1


def test_warm_up_goes_through_the_batching_session(exported, tmp_path, monkeypatch):
    """A record of one row is filled up to the allowed size; one longer than a batch fails."""
    sizes = []
    original = SavedModel.run

    def noted(self, call, milliseconds=None):
        sizes.append(len(call.arrays[0]))
        return original(self, call, milliseconds)

    monkeypatch.setattr(SavedModel, "run", noted)
    file = tmp_path / "batching.config"
    file.write_text("max_batch_size {value: 4} allowed_batch_sizes: [2, 4]")
    base = tmp_path / "toy"
    publish(exported, base, 1)
    warm_up(base / "1", COUNT, REGRESS)
    flags = {"model_name": "toy", "model_base_path": str(base), "max_num_load_retries": 0}
    with serving(**flags, enable_batching=True, batching_parameters_file=str(file)) as server:
        assert sizes == [2, 2]
        publish(exported, base, 2, name="later")
        warm_up(base / "later", COUNT.replace("size: 1", "size: 5"))
        (base / "later").rename(base / "2")
        eventually(lambda: states(server).get(2) == "END")
        expected = "Task size 5 is larger than maximum input batch size 4"
        assert expected in server.http("/v1/models/toy/versions/2")[1]
        assert predict(server) == 1
