"""TensorProto to array and back."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

# Where a tensor's values lie; the rest go through TensorFlow's own functions.
FIELDS = {
    tf.float32: "float_val", tf.float64: "double_val", tf.string: "string_val",
    tf.int64: "int64_val", tf.int32: "int_val", tf.int16: "int_val", tf.int8: "int_val",
    tf.uint8: "int_val", tf.uint16: "int_val", tf.uint32: "uint32_val", tf.uint64: "uint64_val",
    tf.bool: "bool_val",
}  # fmt: skip
LARGEST_FILL = 1 << 28  # bytes that one repeated value may fill


def to_array(proto: TensorProto) -> np.ndarray:
    """The array of a message; strings as bytes objects.

    Raises:
        ValueError: shape and values do not fit, or the dtype is none.
    """
    shape = [d.size for d in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    dtype = tf.dtypes.as_dtype(proto.dtype)
    if dtype not in FIELDS:
        return tf.make_ndarray(proto)
    n = math.prod(shape)
    if proto.tensor_content and dtype != tf.string:
        return np.frombuffer(proto.tensor_content, dtype.as_numpy_dtype).reshape(shape)
    values = getattr(proto, FIELDS[dtype])
    array = np.fromiter(values, dtype.as_numpy_dtype, len(values))
    if len(values) != n:
        array = _filled(array, n)
    return array.reshape(shape)


def _filled(array: np.ndarray, n: int) -> np.ndarray:
    """Fewer values than places: the last one fills the rest, as in TensorFlow."""
    if len(array) > n or not len(array) or n * array.itemsize > LARGEST_FILL:
        raise ValueError(f"{len(array)} values for {n} places")
    return np.concatenate([array, np.repeat(array[-1:], n - len(array))])


def fill(proto: TensorProto, array: np.ndarray, as_content: bool) -> None:
    """Writes an array into an empty message, in place."""
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
        getattr(proto, FIELDS[dtype]).extend(array.ravel().tolist())
