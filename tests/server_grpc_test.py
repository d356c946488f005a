"""The official stubs against the server: answers, and every error in the real server's words."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from servers import export_toy, kind, serving  # noqa: F401 (a fixture)
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)


@pytest.fixture(scope="module")
def server(kind, tmp_path_factory):  # noqa: F811
    base = tmp_path_factory.mktemp("toy")
    export_toy(base, 3)
    with serving(kind, model_name="toy", model_base_path=str(base)) as running:
        yield running


def request(inputs=None, text="model_spec {name: 'toy'}", **values):
    """A PredictRequest; arrays by name."""
    made = text_format.Parse(text, predict_pb2.PredictRequest())
    for name, value in {**(inputs or {}), **values}.items():
        proto = value if hasattr(value, "tensor_shape") else tf.make_tensor_proto(value)
        made.inputs[name].CopyFrom(proto)
    return made


ITEMS = [["a", "b"], ["", "c"]]
VALUES = np.array([[1, 2], [0, 4]], np.float32)


def arrays(response):
    return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}


def test_predict(server):
    response = server.stub.Predict(request(items=ITEMS, values=VALUES))
    found = arrays(response)
    assert set(found) == {"items", "titles", "scores"}
    np.testing.assert_array_equal(found["scores"], [[6, 9], [7, 11]])  # 3 is the version
    assert found["scores"].dtype == np.float32
    assert found["items"].tolist() == [[b"a", b"b"], [b"", b"b"]]
    assert found["titles"][0, 0].decode() == "Größe 天使"
    spec = response.model_spec
    assert (spec.name, spec.version.value) == ("toy", 3)
    assert spec.signature_name == "serving_default"


def test_the_output_filter_chooses(server):
    text = "model_spec {name: 'toy'} output_filter: ['scores']"
    assert set(arrays(server.stub.Predict(request(text=text, items=ITEMS, values=VALUES)))) == {
        "scores"
    }


def test_tensors_in_any_encoding(server):
    """A single value is repeated for all elements, values in fields or as content."""
    compact = tf.make_tensor_proto(VALUES)
    fields = text_format.Parse(
        "dtype: DT_FLOAT tensor_shape {dim {size: 2} dim {size: 2}} float_val: [1, 2, 0, 4]",
        type(compact)(),
    )
    one = text_format.Parse(
        "dtype: DT_FLOAT tensor_shape {dim {size: 2} dim {size: 2}} float_val: 5", type(compact)()
    )
    for proto, due in ((compact, [6, 7]), (fields, [6, 7]), (one, [13, 13])):
        found = arrays(server.stub.Predict(request(items=ITEMS, values=proto)))
        assert found["scores"][:, 0].tolist() == due


def test_other_signatures(server):
    text = "model_spec {name: 'toy' signature_name: 'count' version {value: 3}}"
    response = server.stub.Predict(request(text=text, n=np.array([2**40, -1])))
    assert arrays(response)["next"].tolist() == [2**40 + 1, 0]
    assert response.model_spec.signature_name == "count"


def test_no_rows(server):
    items = tf.make_tensor_proto(np.zeros([0, 2], object), tf.string)
    empty = request(items=items, values=np.zeros([0, 2], np.float32))
    assert arrays(server.stub.Predict(empty))["scores"].shape == (0, 2)


def refused(call, message, code, expected):
    with pytest.raises(grpc.RpcError) as error:
        call(message)
    assert (error.value.code().name, error.value.details()) == (code, expected)


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("", "INVALID_ARGUMENT", "Missing ModelSpec"),
        ("model_spec {}", "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            "model_spec {name: 'm'}",
            "NOT_FOUND",
            "Servable not found for request: Latest(m)",
        ),
        (
            "model_spec {name: 'toy' version {value: 9}}",
            "NOT_FOUND",
            "Servable not found for request: Specific(toy, 9)",
        ),
        (
            "model_spec {name: 'toy' version_label: 'x'}",
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: x",
        ),
        (
            "model_spec {name: 'toy' signature_name: 'zzz'}",
            "FAILED_PRECONDITION",
            'Serving signature key "zzz" not found.',
        ),
        (
            "model_spec {name: 'toy'} output_filter: 'zz'",
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: zz Outputs expected to be in the set "
            "{items,scores,titles}.",
        ),
        (
            "model_spec {name: 'toy'} output_filter: ['scores', 'scores']",
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: scores",
        ),
    ],
)
def test_refused_requests(server, text, code, expected):
    refused(server.stub.Predict, request(text=text, items=ITEMS, values=VALUES), code, expected)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (
            {"items": ITEMS},
            "input size does not match signature: 1!=2 len({items}) != len({items,values}). Sent "
            "extra: {}. Missing but required: {values}.",
        ),
        (
            {"items": ITEMS, "values": VALUES, "zeal": VALUES},
            "input size does not match signature: 3!=2 len({items,values,zeal}) != "
            "len({items,values}). Sent extra: {zeal}. Missing but required: {}.",
        ),
        (
            {"items": ITEMS, "ratings": VALUES},
            "Signature input alias: values(feed name: serving_default_values:0) not found in "
            "request and no default value provided. Inputs expected to be in the request "
            "{items,values}, or default input alias set: ",
        ),
        (
            {"items": ITEMS, "values": VALUES.astype(np.int64)},
            "Expects arg[1] to be float but int64 is provided",
        ),
        (
            {"items": VALUES, "values": VALUES},
            "Expects arg[0] to be string but float is provided",
        ),
    ],
    ids=["missing", "extra", "misnamed", "int64", "float"],
)
def test_refused_inputs(server, inputs, expected):
    refused(server.stub.Predict, request(inputs), "INVALID_ARGUMENT", expected)


@pytest.mark.parametrize(
    "proto",
    [
        "dtype: DT_FLOAT tensor_shape {dim {size: 2} dim {size: 2}} tensor_content: 'abc'",
        "dtype: DT_FLOAT tensor_shape {dim {size: 2}} float_val: [1, 2, 3]",
        "dtype: DT_FLOAT tensor_shape {dim {size: -5} dim {size: 2}} float_val: 1",
        "dtype: DT_FLOAT tensor_shape {unknown_rank: true} float_val: 1",
        "dtype: DT_INVALID",
    ],
)
def test_an_invalid_tensor(server, proto):
    broken = text_format.Parse(proto, type(tf.make_tensor_proto(1))())
    message = request(items=ITEMS, values=broken)
    refused(server.stub.Predict, message, "INVALID_ARGUMENT", "tensor parsing error: values")


@pytest.mark.parametrize("shape", [[], [2]])
def test_a_rank_that_the_graph_refuses_is_the_clients_fault(server, shape):
    with pytest.raises(grpc.RpcError) as error:
        server.stub.Predict(request(items=ITEMS, values=np.ones(shape, np.float32)))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_clients_deadline_is_the_runs_limit(server):
    text = "model_spec {name: 'toy' signature_name: 'slow'}"
    message = request(text=text, steps=np.array([100_000], np.int32))
    with pytest.raises(grpc.RpcError) as error:
        server.stub.Predict(message, timeout=0.3)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    quick = request(text=text, steps=np.array([0], np.int32))
    assert arrays(server.stub.Predict(quick, timeout=20))["done"] == [300]


# ------------------------------------------------------------------ tf.Examples


def examples(given, *features, context=None):
    """Fills an Input with tf.Examples of name -> value."""
    target = given.example_list_with_context if context else given.example_list
    if context:
        fill(target.context, context)
    for one in features:
        fill(target.examples.add(), one)


def fill(example, features):
    for name, value in features.items():
        feature = example.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        else:
            feature.float_list.value.append(value)


def classification(signature="classify", name="toy"):
    made = classification_pb2.ClassificationRequest()
    made.model_spec.name, made.model_spec.signature_name = name, signature
    return made


def regression(signature="regress"):
    made = regression_pb2.RegressionRequest()
    made.model_spec.name, made.model_spec.signature_name = "toy", signature
    return made


def test_classify(server):
    made = classification()
    examples(made.input, {"x": 0.25, "name": "war"}, {"x": 1.0}, context={"name": "peace"})
    response = server.stub.Classify(made)
    rows = response.result.classifications
    assert [[(c.label, c.score) for c in row.classes] for row in rows] == [
        [("war", 0.25), ("other", 0.75)],
        [("peace", 1.0), ("other", 0.0)],
    ]
    assert response.model_spec.version.value == 3


def test_regress(server):
    made = regression()
    examples(made.input, {"x": 0.5}, {"x": 2.0})
    response = server.stub.Regress(made)
    assert [r.value for r in response.result.regressions] == [4, 7]


def test_refused_examples(server):
    expected = "Input is empty."
    refused(server.stub.Classify, classification(), "INVALID_ARGUMENT", expected)
    expected = "No signature was found with the name: zz"
    refused(server.stub.Regress, regression("zz"), "INVALID_ARGUMENT", expected)
    made = classification("serving_default")
    examples(made.input, {"x": 1.0})
    refused(server.stub.Classify, made, "INVALID_ARGUMENT", "Expected one input Tensor.")
    made = classification(name="m")
    expected = "Servable not found for request: Latest(m)"
    refused(server.stub.Classify, made, "NOT_FOUND", expected)
    with pytest.raises(grpc.RpcError, match="No classification inputs found in SignatureDef"):
        server.stub.Classify(classification("count"))
    with pytest.raises(grpc.RpcError, match="No regression outputs found in|one output Tensor"):
        server.stub.Regress(regression("classify"))


def multi(*tasks):
    made = inference_pb2.MultiInferenceRequest()
    examples(made.input, {"x": 0.25, "name": "war"})
    for signature, method in tasks:
        task = made.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "toy", signature
    return made


def test_multi_inference(server):
    response = server.stub.MultiInference(multi(("classify", "classify"), ("regress", "regress")))
    first, second = response.results
    assert first.classification_result.classifications[0].classes[0].label == "war"
    assert second.regression_result.regressions[0].value == 3.5
    assert second.model_spec.signature_name == "regress"


def test_refused_multi_inference(server):
    call = server.stub.MultiInference
    twice = multi(("regress", "regress"), ("regress", "regress"))
    refused(call, twice, "INVALID_ARGUMENT", "Duplicate evaluation of signature: regress")
    expected = "Unsupported signature method_name: tensorflow/serving/predict"
    refused(call, multi(("regress", "predict")), "UNIMPLEMENTED", expected)
    nameless = multi(("regress", "regress"))
    nameless.tasks[0].model_spec.name = ""
    expected = "Found ModelSpec with an empty model name."
    refused(call, nameless, "INVALID_ARGUMENT", expected)


# ------------------------------------------------------------------ about models


def metadata(*fields, name="toy"):
    made = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name is not None:
        made.model_spec.name = name
    return made


def test_metadata_holds_the_signatures(server):
    response = server.stub.GetModelMetadata(metadata("signature_def"))
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert {"serving_default", "half", "count", "classify"} <= set(found.signature_def)
    assert set(found.signature_def["serving_default"].inputs) == {"items", "values"}
    assert (response.model_spec.name, response.model_spec.version.value) == ("toy", 3)


def test_refused_metadata(server):
    call, bad = server.stub.GetModelMetadata, "INVALID_ARGUMENT"
    refused(call, metadata("signature_def", name=None), bad, "Missing ModelSpec")
    refused(call, metadata(), bad, "must specify at least one metadata_field")
    refused(call, metadata("x"), bad, "Metadata field x is not supported")
    expected = "Servable not found for request: Latest(m)"
    refused(call, metadata("signature_def", name="m"), "NOT_FOUND", expected)


def status(text):
    return text_format.Parse(text, get_model_status_pb2.GetModelStatusRequest())


def test_status(server):
    response = server.models.GetModelStatus(status("model_spec {name: 'toy'}"))
    (version,) = response.model_version_status
    assert (version.version, version.state, version.status.error_code) == (3, 30, 0)


def test_refused_status(server):
    call = server.models.GetModelStatus
    expected = "Could not find any versions of model m"
    refused(call, status("model_spec {name: 'm'}"), "NOT_FOUND", expected)
    expected = "Could not find version 7 of model toy"
    refused(call, status("model_spec {name: 'toy' version {value: 7}}"), "NOT_FOUND", expected)


def test_refused_configurations(server):
    def config(text):
        return text_format.Parse(text, model_management_pb2.ReloadConfigRequest())

    call, bad = server.models.HandleReloadConfigRequest, "INVALID_ARGUMENT"
    expected = (
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList "
        "is currently supported"
    )
    refused(call, config(""), bad, expected)
    one = "name: 'a' base_path: '/a' model_platform: 'tensorflow'"
    twice = f"config {{model_config_list {{config {{{one}}} config {{{one}}}}}}}"
    refused(call, config(twice), bad, "Illegal to list model a multiple times in config list")
    relative = "config {model_config_list {config {name: 'a' base_path: 'a'}}}"
    expected = "Expected model a to have an absolute path or URI; got base_path()=a"
    refused(call, config(relative), bad, expected)


def test_messages_are_cut_at_1024_characters(server):
    text = f"model_spec {{name: 'toy'}} output_filter: '{'z' * 3000}'"
    with pytest.raises(grpc.RpcError) as error:
        server.stub.Predict(request(text=text, items=ITEMS, values=VALUES))
    assert len(error.value.details()) == 1024
