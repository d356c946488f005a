"""Checks of SavedModels that TF Serving could not serve."""

import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfrec.serving import checks

SPEC = {"x": tf.TensorSpec([None], tf.float32, name="x")}


def saved(path, function, spec=SPEC, name="serving_default"):
    """Writes `function` as the only signature."""
    made = tf.function(lambda request: function(**request), input_signature=[spec])
    tf.saved_model.save(tf.Module(), str(path), signatures={name: made.get_concrete_function()})
    return path


def fault(path, endpoints=("serving_default",)):
    with pytest.raises(ValueError, match="TF Serving cannot serve the SavedModel") as error:
        checks.check(path, endpoints)
    return str(error.value)


def test_a_plain_function_passes(tmp_path):
    assert checks.check(saved(tmp_path, lambda x: {"y": x + 1}), ["serving_default"]) is None


def test_a_signature_is_missing_or_too_many(tmp_path):
    path = saved(tmp_path, lambda x: {"y": x + 1}, name="score")
    assert "it has the signatures ['score'], not ['recommend']" in fault(path, ["recommend"])


def test_what_xla_compiles(tmp_path):
    inner = tf.function(lambda x: x * 2, jit_compile=True)
    assert "is to be compiled by XLA (jit_compile)" in fault(
        saved(tmp_path, lambda x: {"y": inner(x)})
    )


def test_python_inside(tmp_path):
    path = saved(tmp_path, lambda x: {"y": tf.py_function(lambda x: x, [x], tf.float32)})
    assert "EagerPyFunc is not available in TF Serving" in fault(path)


def test_an_operation_of_another_library(tmp_path):
    path = saved(tmp_path, lambda x: {"y": tf.math.erf(x)}) / "saved_model.pb"
    proto = SavedModel.FromString(path.read_bytes())
    for function in proto.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = "ScannSearch" if node.op == "Erf" else node.op
    path.write_bytes(proto.SerializeToString())
    assert "ScannSearch is not available in TF Serving" in fault(tmp_path)


def test_an_input_without_a_batch(tmp_path):
    scalar = {"x": tf.TensorSpec([], tf.float32, name="x")}
    path = saved(tmp_path, lambda x: {"y": x}, scalar)
    assert "input x of serving_default has the shape []" in fault(path)


def test_another_tag(tmp_path):
    path = saved(tmp_path, lambda x: {"y": x + 1}) / "saved_model.pb"
    proto = SavedModel.FromString(path.read_bytes())
    proto.meta_graphs[0].meta_info_def.tags[:] = ["train"]
    path.write_bytes(proto.SerializeToString())
    assert "its tags are [['train']]" in fault(tmp_path)
