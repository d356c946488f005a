"""REST: forms, codes and error texts of TensorFlow Serving."""

import base64
import json

import pytest
from servers import export_toy, kind, serving  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def server(kind, tmp_path_factory):  # noqa: F811
    base = tmp_path_factory.mktemp("toy")
    export_toy(base, 3)
    with serving(kind, model_name="toy", model_base_path=str(base)) as running:
        yield running


def ask(server, body, path="/v1/models/toy:predict"):
    """Status and parsed answer."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    status, answer = server.http(path, text)
    return status, json.loads(answer)


COLUMNS = {"items": [["a", "b"], ["", "c"]], "values": [[1, 2.5], [0, 4]]}


def test_column_form(server):
    status, answer = ask(server, {"inputs": COLUMNS})
    assert status == 200
    assert answer["outputs"]["scores"] == [[6.5, 10.0], [7.0, 11.0]]
    assert answer["outputs"]["titles"] == [["Größe 天使"] * 2] * 2


def test_row_form(server):
    rows = [{"items": i, "values": v} for i, v in zip(*COLUMNS.values())]
    status, answer = ask(server, {"instances": rows})
    assert status == 200
    assert answer["predictions"][1] == {
        "items": ["", "b"],
        "scores": [7.0, 11.0],
        "titles": ["Größe 天使"] * 2,
    }


def test_one_output_and_one_input_need_no_name(server):
    body = {"signature_name": "count", "instances": [1, 2**40]}
    assert ask(server, body) == (200, {"predictions": [2, 2**40 + 1]})
    body = {"signature_name": "count", "inputs": [7]}
    assert ask(server, body) == (200, {"outputs": [8]})
    assert ask(server, {"signature_name": "count", "inputs": {"n": [7]}})[1] == {"outputs": [8]}


def test_bytes_in_and_out(server):
    """`b64` for bytes in; only outputs whose names end in _bytes come as base64."""
    value = base64.b64encode("Ä".encode()).decode()
    items = [[{"b64": value}, "b"]]
    _, answer = ask(server, {"inputs": {"items": items, "values": [[1, 2]]}})
    assert answer["outputs"]["items"][0][0] == "Ä"
    _, answer = ask(server, {"signature_name": "half", "inputs": [[1, 0.5]]})
    assert answer["outputs"]["y"] == [[3.5, 3.25]]
    raw = answer["outputs"]["raw_bytes"][0][1]["b64"]
    assert base64.b64decode(raw).startswith(b"0.5")


def test_floats_are_written_as_short_as_they_are(server):
    _, answer = server.http(
        "/v1/models/toy:predict", '{"signature_name": "half", "instances": [[0.2, 1e30]]}'
    )
    assert "3.1" in answer
    assert "3.0999" not in answer
    assert json.loads(answer)["predictions"][0]["y"] == [3.1, 5e29]


HALF = "half_plus_two"


@pytest.mark.parametrize(
    ("body", "due"),
    [
        ({"instances": [1.0, 2.0, 5.0]}, {"predictions": [2.5, 3.0, 4.5]}),
        ({"instances": [[1.0], [2.0]]}, {"predictions": [[2.5], [3.0]]}),
        ({"instances": [{"x": 1.0}, {"x": 5.0}]}, {"predictions": [2.5, 4.5]}),
        ({"instances": [3]}, {"predictions": [3.5]}),
        ({"inputs": 2.0}, {"outputs": 3.0}),
        ({"inputs": {"x": [[1, 2], [3, 4]]}}, {"outputs": [[2.5, 3.0], [3.5, 4.0]]}),
    ],
    ids=str,
)
def test_the_graph_decides_about_shapes_and_not_the_signature(server, body, due):
    """The signature says [batch, 1]: neither the real server nor the C session checks it."""
    assert ask(server, {"signature_name": HALF, **body}) == (200, due)


def test_addresses(server):
    body = {"signature_name": "count", "inputs": [7]}
    for path in ("/v1/models/toy/versions/3:predict", "/V1/Models/toy:PREDICT"):
        assert ask(server, body, path) == (200, {"outputs": [8]})


def test_classify_and_regress(server):
    body = {
        "signature_name": "classify",
        "context": {"name": "peace"},
        "examples": [{"x": 0.25, "name": "war"}, {"x": [1.0]}],
    }
    status, answer = ask(server, body, "/v1/models/toy:classify")
    assert status == 200
    assert answer["results"] == [[["war", 0.25], ["other", 0.75]], [["peace", 1.0], ["other", 0.0]]]
    body = {"signature_name": "regress", "examples": [{"x": 0.5}, {"name": {"b64": "YQ"}}]}
    assert ask(server, body, "/v1/models/toy:regress") == (200, {"results": [4.0, 3.0]})


def test_status_and_metadata(server):
    assert json.loads(server.http("/v1/models/toy")[1]) == {
        "model_version_status": [
            {
                "version": "3",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    status, text = server.http("/v1/models/toy/metadata")
    found = json.loads(text)
    assert status == 200
    assert found["model_spec"] == {"name": "toy", "signature_name": "", "version": "3"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["items"]["dtype"] == "DT_STRING"


@pytest.mark.parametrize(
    ("path", "body", "status", "expected"),
    [
        ("m:predict", {"inputs": [1]}, 404, "Servable not found for request: Latest(m)"),
        (
            "toy/versions/9:predict",
            {"inputs": [1]},
            404,
            "Servable not found for request: Specific(toy, 9)",
        ),
        ("toy/labels/x:predict", {"inputs": [1]}, 400, "Unrecognized servable version label: x"),
        ("toy:delete", {}, 400, "Malformed request: POST /v1/models/toy:delete"),
        (
            "toy:predict",
            {"signature_name": "zz", "inputs": [1]},
            400,
            'Serving signature name: "zz" not found in signature def',
        ),
        ("toy:predict", {"x": 1}, 400, "Missing 'inputs' or 'instances' key"),
        (
            "toy:predict",
            {"inputs": {"items": [["a"]]}},
            400,
            "Missing named input: values in 'inputs' object.",
        ),
        (
            "toy:predict",
            {"inputs": [["a"]]},
            400,
            "'inputs' must name the inputs, which are several: items,values",
        ),
        (
            "toy:predict",
            {"instances": [["a"]]},
            400,
            "'instances' must name the inputs, which are several: items,values",
        ),
        ("toy:predict", "", 400, "JSON Parse error: The document is empty"),
        (
            "toy:predict",
            {"signature_name": "count", "inputs": [1.5]},
            400,
            "JSON Value: 1.5 Type: Number is not of expected type: int64",
        ),
        (
            "toy:predict",
            {"signature_name": "count", "inputs": [True]},
            400,
            "JSON Value: true Type: True is not of expected type: int64",
        ),
        (
            "toy:predict",
            {"signature_name": "count", "inputs": [[1, 2], [3]]},
            400,
            "Encountered list of size: 1 expected a list of size: 2",
        ),
        (
            "toy:predict",
            {"signature_name": "count", "inputs": [1, [2]]},
            400,
            "JSON Value: [2] Type: Array is not of expected type: int64",
        ),
        (
            "toy:predict",
            {"signature_name": "count", "inputs": [[1], 2]},
            400,
            "Encountered 2 expected a list of size: 1",
        ),
        (
            "toy:predict",
            {"signature_name": "half", "instances": [[1, 2], [1, 2, 3]]},
            400,
            "Failed to process element: 1 key: x of 'instances' list. Encountered list of size: 3 "
            "expected a list of size: 2",
        ),
        (
            "toy:predict",
            {"instances": [{"items": ["a"], "zeal": [1]}]},
            400,
            'Failed to process element: 0 of \'instances\' list. JSON object: {"items": ["a"], '
            '"zeal": [1]} keys must be equal to: items,values',
        ),
        (
            "toy:predict",
            {"signature_name": "count", "instances": [1, {"n": 2}]},
            400,
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            "toy:classify",
            {"signature_name": "classify", "examples": [1]},
            400,
            "Example must be JSON object but got JSON Number",
        ),
        (
            "toy:regress",
            {"signature_name": "regress", "examples": [{"x": [1.5, "a"]}]},
            400,
            "Unexpected element type in feature: x expecting type: float",
        ),
    ],
)
def test_refused(server, path, body, status, expected):
    assert ask(server, body, f"/v1/models/{path}") == (status, {"error": expected})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"inputs": [1}', "JSON Parse error: Invalid value. at offset: 13"),
        (b'{"inputs": ["\xff"]}', "JSON Parse error: Invalid encoding in string. at offset: 13"),
        ('{"instances": []}', "'instances' must be a list of at least one value"),
        ('{"instances": 1, "inputs": 1}', "expecting only one of 'inputs' or 'instances'"),
        ('{"signature_name": 1, "inputs": 1}', "'signature_name' key must be a string value."),
        ("[1]", "Is not object"),
        ('{"signature_name": "half", "inputs": [[16777216, 1]]}', "without loss of precision."),
        (f'{{"signature_name": "half", "inputs": [[{"9" * 999}, 1]]}}', "loss of precision."),
        (
            '{"signature_name": "half", "inputs": [[1e39, 1]]}',
            "to float without loss of precision.",
        ),
    ],
)
def test_refused_bodies(server, body, expected):
    status, answer = ask(server, body)
    assert status == 400
    assert expected in answer["error"]


def test_get_errors(server):
    expected = "Could not find any versions of model m"
    assert server.http("/v1/models/m") == (404, json.dumps({"error": expected}))
    expected = "Could not find version 7 of model toy"
    assert json.loads(server.http("/v1/models/toy/versions/7")[1]) == {"error": expected}
    assert server.http("/v1/models/toy", method="DELETE")[0] == 400
    assert server.http("/else")[0] == 404
    huge = "9" * 30
    expected = f"Failed to convert version: {huge} to numeric."
    assert json.loads(server.http(f"/v1/models/toy/versions/{huge}")[1]) == {"error": expected}
