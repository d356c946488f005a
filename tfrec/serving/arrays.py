"""Conversion between NumPy arrays and TensorProto, without TensorFlow."""

import math
from typing import NamedTuple

import numpy as np

from tfrec.serving.messages import DataType

DTYPES = {
    "DT_FLOAT": np.float32, "DT_DOUBLE": np.float64, "DT_INT64": np.int64, "DT_INT32": np.int32,
    "DT_INT16": np.int16, "DT_INT8": np.int8, "DT_UINT8": np.uint8, "DT_UINT16": np.uint16,
    "DT_UINT32": np.uint32, "DT_UINT64": np.uint64, "DT_BOOL": np.bool_, "DT_STRING": np.object_,
}  # fmt: skip
FIELDS = {
    np.float32: "float_val", np.float64: "double_val", np.int64: "int64_val",
    np.bool_: "bool_val", np.object_: "string_val", np.uint32: "uint32_val",
    np.uint64: "uint64_val",
}  # fmt: skip
BY_NUMBER = {DataType[name].number: dtype for name, dtype in DTYPES.items()}
BY_DTYPE = {np.dtype(dtype): DataType[name].number for name, dtype in DTYPES.items()}


class Spec(NamedTuple):
    """Dtype (object for strings) and shape of an input, with None for free dimensions."""

    dtype: np.dtype
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, info) -> "Spec":
        """The spec of a `TensorInfo`."""
        shape = tuple(d.size if d.size >= 0 else None for d in info.tensor_shape.dim)
        return cls(np.dtype(BY_NUMBER.get(info.dtype, np.object_)), shape)


def fill(proto, value, spec: Spec | None, readable: bool = False) -> None:
    """Writes an array or nested list into an empty TensorProto.

    Args:
        proto: The message.
        value: The array; strings as str or bytes.
        spec: Determines the dtype; None: the array's own.
        readable: Write numbers as repeated fields, readable as text, instead of as bytes, which is
            faster.
    """
    array = np.asarray(value, spec.dtype if spec else None)
    if array.dtype.kind in "US":
        array = array.astype(object)
    proto.dtype = BY_DTYPE[array.dtype]
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        strings = array.ravel().tolist()
        proto.string_val.extend(s if isinstance(s, bytes) else s.encode() for s in strings)
    elif readable:
        getattr(proto, FIELDS.get(array.dtype.type, "int_val")).extend(array.ravel().tolist())
    else:
        proto.tensor_content = array.tobytes()


def to_array(proto) -> np.ndarray:
    """The array of a TensorProto."""
    shape = [d.size for d in proto.tensor_shape.dim]
    dtype = BY_NUMBER[proto.dtype]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, FIELDS.get(dtype, "int_val"))
    array = np.fromiter(values, dtype, len(values))
    if len(array) == 1 < math.prod(shape):  # one value for all entries
        return np.broadcast_to(array, shape)
    return array.reshape(shape)


def pad(rows: list, spec: Spec) -> np.ndarray:
    """Pads the rows of one input to an array.

    The first column of lists is padding: a server that batches requests of different lengths pads
    with a tensor's first value.

    Args:
        rows: Lists of strings or numbers, or single values.
        spec: Of the input.

    Returns:
        `[batch, length]`, or `[batch]` for single values.
    """
    if not rows or not isinstance(rows[0], list):
        return np.array(rows, spec.dtype)
    length = 1 + max(map(len, rows))
    padded = np.full((len(rows), length), "" if spec.dtype == object else 0, spec.dtype)
    for line, row in zip(padded, rows, strict=True):
        line[1 : 1 + len(row)] = row
    return padded
