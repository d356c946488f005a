"""Converts TensorProtos to arrays and back."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

# Field and type of a tensor's values by dtype; others use TensorFlow's functions.
FIELDS = {
    tf.float32: ("float_val", np.float32), tf.float64: ("double_val", np.float64),
    tf.string: ("string_val", object), tf.bool: ("bool_val", np.bool_),
    tf.int64: ("int64_val", np.int64), tf.uint64: ("uint64_val", np.uint64),
    tf.int32: ("int_val", np.int32), tf.uint32: ("uint32_val", np.uint32),
    tf.int16: ("int_val", np.int32), tf.uint16: ("int_val", np.int32),
    tf.int8: ("int_val", np.int32), tf.uint8: ("int_val", np.int32),
}  # fmt: skip
# Limits of one repeated value: a message of 100 bytes must not allocate gigabytes.
LARGEST_FILL = 1 << 24  # bytes
STRING_BYTES = 64  # size that a string counts for, with its overhead
MOST_STRINGS = 1 << 21  # in one tensor: copying them blocks all other requests


def to_array(proto: TensorProto) -> np.ndarray:
    """The array of a message; strings as bytes objects.

    Raises:
        ValueError: shape and values do not fit, or the dtype is invalid.
    """
    shape = [d.size for d in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    dtype = tf.dtypes.as_dtype(proto.dtype)
    if proto.tensor_content and dtype in FIELDS and dtype != tf.string:
        return np.frombuffer(proto.tensor_content, dtype.as_numpy_dtype).reshape(shape)
    n = math.prod(shape)
    if dtype not in FIELDS:
        _check_fill(0 if proto.tensor_content else n, STRING_BYTES)
        return tf.make_ndarray(proto)
    name, stored = FIELDS[dtype]
    values = getattr(proto, name)
    if dtype == tf.string and len(values) > MOST_STRINGS:
        raise ValueError(f"{len(values)} strings")
    array = np.fromiter(values, stored, len(values)).astype(dtype.as_numpy_dtype, copy=False)
    if len(values) != n:
        array = _filled(array, n)
    return array.reshape(shape)


def _filled(array: np.ndarray, n: int) -> np.ndarray:
    """Repeats the last value if there are fewer values than elements, as in TensorFlow."""
    if len(array) > n or not len(array):
        raise ValueError(f"{len(array)} values for {n} elements")
    _check_fill(n, STRING_BYTES if array.dtype == object else array.itemsize)
    return np.concatenate([array, np.repeat(array[-1:], n - len(array))])


def _check_fill(n: int, size: int) -> None:
    if n * size > LARGEST_FILL:
        raise ValueError(f"one value for {n} elements")


def fill(proto: TensorProto, array: np.ndarray, as_content: bool) -> None:
    """Writes an array into an empty message."""
    dtype = tf.dtypes.as_dtype(array.dtype) if array.dtype != object else tf.string
    if dtype not in FIELDS:
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = dtype.as_datatype_enum
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if as_content and dtype != tf.string:
        proto.tensor_content = array.tobytes()
    else:
        getattr(proto, FIELDS[dtype][0]).extend(array.ravel().tolist())
