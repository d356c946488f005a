"""REST's JSON: predict requests to tensors."""

import base64
import binascii
import json
import math
import re

import numpy as np
import tensorflow as tf

from tfrec.serving.server import tensors
from tfrec.serving.server.errors import ServingError, invalid

INTEGERS = {
    tf.int8: (-(2**31), 2**31), tf.int16: (-(2**31), 2**31), tf.int32: (-(2**31), 2**31),
    tf.uint8: (-(2**31), 2**31), tf.int64: (-(2**63), 2**63),
    tf.uint32: (0, 2**32), tf.uint64: (0, 2**64),
}  # fmt: skip
FLOATS = {tf.float32: 24, tf.float64: 53}  # binary digits
DEEPEST = 32  # dimensions, of a tensor and of NumPy's arrays
SHOWN = 200  # characters of a value in an error


def parse(body: bytes) -> dict:
    """The JSON object of a request's body.

    Raises:
        ServingError: it is none.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        found = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except UnicodeDecodeError as error:
        text = "Invalid encoding in string."
        raise invalid(f"JSON Parse error: {text} at offset: {error.start}") from None
    except RecursionError:
        raise invalid("JSON Parse error: nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(found, dict):
        raise invalid(f"JSON Value: {shown(found)} Is not object")
    return found


def shown(value) -> str:
    """A value in an error, cut short: no more of it is written than is shown."""
    text = ""
    try:
        for piece in json.JSONEncoder(ensure_ascii=False).iterencode(value):
            text += piece
            if len(text) > SHOWN:
                break
    except RecursionError:
        text += "..."
    return text[:SHOWN]


def signature_name(request: dict) -> str:
    """The signature that a request asks for, "" for the default."""
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(request)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    return name


def fill_inputs(request: dict, infos, inputs) -> bool:
    """Writes a request's tensors into `PredictRequest.inputs`.

    Args:
        request: Holds `instances` or `inputs`.
        infos: The signature's inputs: alias -> TensorInfo.
        inputs: The map to fill.

    Returns:
        Whether the request is in row form.

    Raises:
        ServingError: it does not fit the signature.
    """
    rows = "instances" in request
    if rows and "inputs" in request:
        raise invalid(
            f"JSON Value: {shown(request)} Not formatted correctly expecting only one of 'inputs' "
            "or 'instances' keys to exist "
        )
    if not rows and "inputs" not in request:
        raise invalid("Missing 'inputs' or 'instances' key")
    columns = _rows(request, infos) if rows else _columns(request["inputs"], infos)
    for alias, array in columns.items():
        tensors.fill(inputs[alias], array, as_content=True)
    return rows


def _columns(value, infos) -> dict[str, np.ndarray]:
    if not isinstance(value, dict) or is_base64(value):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        value = {next(iter(infos)): value}
    for alias in infos:
        if alias not in value:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
    return {alias: to_array(value[alias], info.dtype) for alias, info in infos.items()}


def _rows(request: dict, infos) -> dict[str, np.ndarray]:
    instances = request["instances"]
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {shown(request)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {shown(request)} No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    objects = _is_object(instances[0])
    rows = []
    for place, instance in enumerate(instances):
        if _is_object(instance) != objects:
            due, got = ("object", "list") if objects else ("value/list", "object")
            raise invalid(f"Expecting {due} but got {got} at item {place} of input list")
        rows.append(_row(instance if objects else {next(iter(infos)): instance}, infos, place))
    return {alias: _stack([row[alias] for row in rows], alias, objects) for alias in infos}


def _row(instance: dict, infos, place: int) -> dict[str, np.ndarray]:
    """One instance's tensors."""
    row = {}
    for key, value in instance.items():
        try:
            if key not in infos:
                raise invalid(f"JSON object: does not have named input: {key}")
            row[key] = to_array(value, infos[key].dtype)
        except ServingError as error:
            raise invalid(
                f"Failed to process element: {place} key: {key} of 'instances' list. Error: "
                f"INVALID_ARGUMENT: {error.message}"
            ) from None
    if set(row) != set(infos):
        raise invalid(
            f"Failed to process element: {place} of 'instances' list. JSON object: "
            f"{shown(instance)} keys must be equal to: {','.join(sorted(infos))}"
        )
    return row


def _stack(arrays: list[np.ndarray], alias: str, objects: bool) -> np.ndarray:
    """Rows of one shape as one array."""
    first = arrays[0]
    for place, array in enumerate(arrays):
        if array.shape != first.shape:
            why = f"Expecting shape {_shape(first)} but got: {_shape(array)}"
            if array.size != first.size:
                why = f"Expecting tensor size: {first.size} but got: {array.size}"
            key = f" key: {alias}" if objects else ""
            raise invalid(
                f"Failed to process element: {place}{key} of 'instances' list. Error: "
                f"INVALID_ARGUMENT: {why}"
            )
    return np.stack(arrays)


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def to_array(value, dtype: int) -> np.ndarray:
    """A JSON value of lists in lists as an array.

    Args:
        value: As parsed.
        dtype: A `DataType`.

    Raises:
        ServingError: ragged lists, or a value of another type.
    """
    kind = tf.dtypes.as_dtype(dtype)
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if len(shape) > DEEPEST:
            raise invalid(f"Encountered list at unexpected level: {DEEPEST} expected < {DEEPEST}")
        first = first[0] if first else None
    leaves: list = []
    _collect(value, 0, shape, kind, leaves)
    if kind == tf.string:
        array = np.empty(len(leaves), object)
        array[:] = leaves
    else:
        array = np.array(leaves, kind.as_numpy_dtype)
    return array.reshape(shape)


def _collect(value, level: int, shape: list[int], kind, leaves: list) -> None:
    """Appends the leaves below `value`, each checked."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        leaves.append(leaf(value, kind))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for one in value:
        _collect(one, level + 1, shape, kind, leaves)


def leaf(value, kind: tf.DType):
    """One value, checked."""
    if kind == tf.string:
        return _bytes(value)
    fits = isinstance(value, bool) == (kind == tf.bool)
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        fits = fits and isinstance(value, int) and low <= value < high
    elif kind in FLOATS:
        fits = fits and isinstance(value, int | float)
        if fits and not _is_lossless(value, kind):
            raise invalid(
                f"Cannot convert JSON value: {shown(value)} to {_c_name(kind)} without loss of "
                "precision."
            )
    elif kind != tf.bool:
        raise ServingError(
            "UNIMPLEMENTED", f"Conversion of JSON Value: {shown(value)} to type: {kind.name}"
        )
    if not fits:
        raise _type_error(value, kind)
    return value


def _is_lossless(value: float, kind: tf.DType) -> bool:
    """Whether a number can be of that dtype: all integers of its digits, all finite floats."""
    if isinstance(value, int):
        return abs(value) < 1 << FLOATS[kind]
    return not math.isfinite(value) or abs(value) <= float(kind.max)


def _c_name(kind: tf.DType) -> str:
    """A dtype as the real server calls it."""
    return {tf.float32: "float", tf.float64: "double"}.get(kind, kind.name)


def _bytes(value) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            text = "The surrogate pair in string is invalid."
            raise invalid(f"JSON Parse error: {text}") from None
    if not isinstance(value, dict):
        raise _type_error(value, tf.string)
    if not is_base64(value):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    return decoded(value["b64"])


def decoded(text: str) -> bytes:
    """The bytes of base64; padding may be left out."""
    plain = re.sub(r"[\s=]", "", text)
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _type_error(value, kind: tf.DType) -> ServingError:
    return invalid(
        f"JSON Value: {shown(value)} Type: {type_name(value)} is not of expected type: "
        f"{_c_name(kind)}"
    )


def type_name(value) -> str:
    """What JSON calls a value's type."""
    names = {bool: str(value), type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def is_base64(value) -> bool:
    """Whether it is `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value) -> bool:
    return isinstance(value, dict) and not is_base64(value)
