"""Converts REST's JSON requests of Predict to tensors."""

import base64
import binascii
import itertools
import json
import math
import re

import numpy as np
import tensorflow as tf

from tfrec.server import tensors
from tfrec.server.errors import ServingError, invalid

INTEGERS = {
    kind: (kind.min, kind.max)
    for kind in (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint32, tf.uint64)
}
DIGITS = {tf.float32: 24, tf.float64: 53}  # bits of precision: smaller integers are exact
TYPES = {  # Python types of JSON values
    **{kind: {int} for kind in INTEGERS},
    **{kind: {int, float} for kind in DIGITS},
    tf.bool: {bool},
    tf.string: {str, dict},
}
DEEPEST = 32  # dimensions of a tensor or NumPy array
SHOWN = 200  # characters of a value in an error
# Larger bodies are refused unparsed: Python's parser would block all other requests.
MOST_VALUES = 1 << 21
MOST_LISTS = 1 << 18  # objects are counted too
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # a surrogate pair, or half of one


class ElementError(Exception):
    """A value in a list does not fit.

    Args:
        element: Its index in the outermost list.
        text: What is wrong.
    """

    def __init__(self, element: int, text: str):
        super().__init__(text)
        self.element = element


def parse(body: bytes) -> dict:
    """The JSON object of a request's body.

    Raises:
        ServingError: it is not a JSON object.
    """
    if not body:
        raise _parse_error("The document is empty")
    if body.count(b",") >= MOST_VALUES:
        raise _parse_error(f"more than {MOST_VALUES} values")
    if body.count(b"[") + body.count(b"{") > MOST_LISTS:
        raise _parse_error(f"more than {MOST_LISTS} lists and objects")
    try:
        found = json.loads(body.decode())
        if SURROGATE.search(body):
            json.dumps(found, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise _parse_error(f"Invalid value. at offset: {error.pos}") from None
    except UnicodeDecodeError as error:
        raise _parse_error(f"Invalid encoding in string. at offset: {error.start}") from None
    except UnicodeEncodeError:
        raise _parse_error("The surrogate pair in string is invalid.") from None
    except RecursionError:
        raise _parse_error("nested too deeply") from None
    except ValueError:  # thousands of digits
        raise _parse_error("Number too big to be stored in double.") from None
    if not isinstance(found, dict):
        raise invalid(f"JSON Value: {shown(found)} Is not object")
    return found


def _parse_error(text: str) -> ServingError:
    return invalid(f"JSON Parse error: {text}")


def shown(value) -> str:
    """A value in an error, truncated; serializes no more of it than is shown."""
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
    """The name of the requested signature; "" for the default."""
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    return name


def fill_inputs(request: dict, infos, inputs) -> bool:
    """Writes a request's tensors into `PredictRequest.inputs`.

    Args:
        request: A request with `instances` or `inputs`.
        infos: The signature's inputs: alias -> TensorInfo.
        inputs: The map to fill.

    Returns:
        Whether the request is in row form.

    Raises:
        ServingError: it does not fit the signature.
    """
    rows = "instances" in request
    if rows == ("inputs" in request):
        if rows:
            raise invalid("expecting only one of 'inputs' or 'instances' keys to exist")
        raise invalid("Missing 'inputs' or 'instances' key")
    columns = _rows(request["instances"], infos) if rows else _columns(request["inputs"], infos)
    for alias, info in infos.items():
        try:
            array = to_array(columns[alias], info.dtype)
        except ElementError as error:
            where = f"Failed to process element: {error.element} key: {alias} of 'instances' list. "
            raise invalid(f"{where if rows else ''}{error}") from None
        tensors.fill(inputs[alias], array, as_content=True)
    return rows


def _columns(value, infos) -> dict:
    """Values by input, from a request in column form."""
    if not _is_object(value):
        _check_plain("inputs", infos)
        return {next(iter(infos)): value}
    for alias in infos:
        if alias not in value:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
    return value


def _rows(instances, infos) -> dict[str, list]:
    """Values by input, from a request in row form."""
    if not isinstance(instances, list) or not instances:
        raise invalid("'instances' must be a list of at least one value")
    objects = _is_object(instances[0])
    for element, instance in enumerate(instances):
        if _is_object(instance) != objects:
            due, got = ("object", "value/list") if objects else ("value/list", "object")
            raise invalid(f"Expecting {due} but got {got} at item {element} of input list")
        if objects and set(instance) != set(infos):
            raise invalid(
                f"Failed to process element: {element} of 'instances' list. JSON object: "
                f"{shown(instance)} keys must be equal to: {','.join(infos)}"
            )
    if not objects:
        _check_plain("instances", infos)
        return {next(iter(infos)): instances}
    return {alias: [instance[alias] for instance in instances] for alias in infos}


def _check_plain(key: str, infos) -> None:
    if len(infos) > 1:
        raise invalid(f"'{key}' must name the inputs, which are several: {','.join(infos)}")


def to_array(value, dtype: int) -> np.ndarray:
    """An array of a JSON value of nested lists.

    Args:
        value: The parsed JSON.
        dtype: A `DataType`.

    Raises:
        ElementError: ragged lists, or a value of another type.
        ServingError: too many dimensions, or a dtype that JSON cannot represent.
    """
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        if len(shape) == DEEPEST:
            raise invalid(f"Encountered list at unexpected level: {DEEPEST} expected < {DEEPEST}")
        size = len(level[0])
        for index, one in enumerate(level):
            if not isinstance(one, list) or len(one) != size:
                got = f"list of size: {len(one)}" if isinstance(one, list) else shown(one)
                raise ElementError(
                    _element(index, shape), f"Encountered {got} expected a list of size: {size}"
                )
        shape.append(size)
        level = list(itertools.chain.from_iterable(level))
    return _leaves(level, tf.dtypes.as_dtype(dtype), shape).reshape(shape)


def _element(index: int, shape: list[int]) -> int:
    """The index in the outermost list of a value at some level, given the shape above it."""
    return index // max(1, int(np.prod(shape[1:]))) if shape else 0


def _leaves(leaves: list, kind: tf.DType, shape: list[int]) -> np.ndarray:
    """The values, checked, as a flat array."""
    if kind not in TYPES:
        text = f"Conversion of JSON Value: {shown(leaves[:1])} to type: {kind.name}"
        raise ServingError("UNIMPLEMENTED", text)
    if not set(map(type, leaves)) <= TYPES[kind]:
        index = next(i for i, value in enumerate(leaves) if type(value) not in TYPES[kind])
        raise ElementError(_element(index, shape), _type_error(leaves[index], kind))
    if kind == tf.string:
        array = np.empty(len(leaves), object)
        array[:] = [_bytes(value) for value in leaves]
        return array
    if kind != tf.bool and leaves:
        index = _too_large(leaves, kind)
        if index is not None:
            raise ElementError(_element(index, shape), _size_error(leaves[index], kind))
    return np.array(leaves, kind.as_numpy_dtype)


def _too_large(leaves: list, kind: tf.DType) -> int | None:
    """The index of the first number out of the dtype's range; NaN and infinities are allowed."""
    if kind in INTEGERS:
        if INTEGERS[kind][0] <= min(leaves) and max(leaves) <= INTEGERS[kind][1]:
            return None
        return next(
            i for i, x in enumerate(leaves) if not INTEGERS[kind][0] <= x <= INTEGERS[kind][1]
        )
    whole = 1 << DIGITS[kind]
    for index, value in enumerate(leaves):
        if type(value) is int:
            if abs(value) >= whole:
                return index
        elif math.isfinite(value) and abs(value) > float(kind.max):
            return index
    return None


def _size_error(value, kind: tf.DType) -> str:
    if kind in INTEGERS:
        return _type_error(value, kind)
    return (
        f"Cannot convert JSON value: {shown(value)} to {_c_name(kind)} without loss of precision."
    )


def _type_error(value, kind: tf.DType) -> str:
    return (
        f"JSON Value: {shown(value)} Type: {type_name(value)} is not of expected type: "
        f"{_c_name(kind)}"
    )


def _c_name(kind: tf.DType) -> str:
    """A dtype's name in the real server's errors."""
    return {tf.float32: "float", tf.float64: "double"}.get(kind, kind.name)


def _bytes(value: str | dict) -> bytes:
    if isinstance(value, str):
        return value.encode()
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


def type_name(value) -> str:
    """The JSON name of a value's type."""
    names = {bool: str(value), type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def is_base64(value) -> bool:
    """Whether it is `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value) -> bool:
    return isinstance(value, dict) and not is_base64(value)
