"""Products of a sparse and a dense matrix.

They are several times faster than `tf.sparse.sparse_dense_matmul`, and always add in one order.
"""

import tensorflow as tf


def csr(indices: tf.Tensor, values: tf.Tensor, shape: list) -> tf.Tensor:
    """A sparse matrix as TensorFlow's CSR variant, for `product` and `transposed`.

    Args:
        indices: int64 `[n, 2]`, rows in ascending order.
        values: float32 `[n]`.
        shape: Numbers of rows and columns.
    """
    shape = tf.convert_to_tensor(shape, tf.int64)
    return tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=indices, values=values, dense_shape=shape
    )


def transposed(a: tf.Tensor) -> tf.Tensor:
    """A', as a CSR matrix."""
    return tf.raw_ops.SparseMatrixTranspose(input=a, type=tf.float32)


def product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """A B of a CSR matrix `[m, n]` and a dense one, float32 `[n, k]`: `[m, k]`."""
    return tf.raw_ops.SparseMatrixMatMul(a=a, b=b)
