"""REST's Classify and Regress: converts JSON objects to tf.Examples."""

import numpy as np

from tfrec.server.errors import invalid
from tfrec.server.json_tensors import decoded, is_base64, type_name

LARGEST = float(np.finfo(np.float32).max)


def fill(request: dict, given) -> None:
    """Writes `examples` and `context` of a request into an `Input`.

    Raises:
        ServingError: the request is malformed.
    """
    if "examples" not in request:
        raise invalid("key 'examples' is expected and was not found")
    examples = request["examples"]
    if not isinstance(examples, list) or not examples:
        raise invalid("'examples' must be a list of at least one object")
    target = given.example_list
    if "context" in request:
        target = given.example_list_with_context
        fill_example(request["context"], target.context)
    for example in examples:
        fill_example(example, target.examples.add())


def fill_example(value, example) -> None:
    """Writes a JSON object's features into a tf.Example."""
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for one in content if isinstance(content, list) else [content]:
            _add(one, name, feature)


def _add(value, name: str, feature) -> None:
    """Appends one value to the list of its type."""
    kind, plain = _kind_of(value, name)
    known = feature.WhichOneof("kind")
    if known not in (None, kind):
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: "
            f"{known.removesuffix('_list')}"
        )
    getattr(feature, kind).value.append(plain)


def _kind_of(value, name: str):
    if isinstance(value, str):
        return "bytes_list", value.encode(errors="replace")
    if is_base64(value):
        return "bytes_list", decoded(value["b64"])
    if isinstance(value, bool | int):
        if not -(1 << 63) <= value < 1 << 63:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64_list", int(value)
    if isinstance(value, float):
        if np.isfinite(value) and abs(value) > LARGEST:
            raise invalid(f"Cannot convert JSON value: {value} to float without loss of precision.")
        return "float_list", value
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
