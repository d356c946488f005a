"""Checks of a SavedModel, without running it, for what TF Serving cannot serve."""

import pathlib
from collections.abc import Iterable, Iterator

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

PREDICT = "tensorflow/serving/predict"
INIT = "__saved_model_init_op"  # a signature that TensorFlow adds

# Operations of the TensorFlow wheel that need Python, XLA or other devices to run.
NOT_SERVED = ("PyFunc", "EagerPyFunc", "Xla", "Tpu", "TPU", "Collective", "Nccl", "Horovod")


def check(path: str | pathlib.Path, endpoints: Iterable[str]) -> None:
    """Checks the tag, signatures and operations of a SavedModel.

    Args:
        path: Its directory.
        endpoints: Names of all signatures that it must have.

    Raises:
        ValueError: TF Serving could not serve it; gives the reasons.
    """
    proto = SavedModel.FromString((pathlib.Path(path) / "saved_model.pb").read_bytes())
    faults = list(_faults(proto, set(endpoints)))
    if faults:
        raise ValueError(f"TF Serving cannot serve the SavedModel: {'; '.join(faults)}")


def _faults(proto: SavedModel, endpoints: set[str]) -> Iterator[str]:
    tags = [list(graph.meta_info_def.tags) for graph in proto.meta_graphs]
    if tags != [["serve"]]:
        yield f"its tags are {tags}, not one graph with the tag serve"
        return
    (graph,) = proto.meta_graphs
    found = set(graph.signature_def) - {INIT}
    if found != endpoints:
        yield f"it has the signatures {sorted(found)}, not {sorted(endpoints)}"
    for name in sorted(found):
        signature = graph.signature_def[name]
        if signature.method_name != PREDICT:
            yield f"signature {name} has the method {signature.method_name!r}, not {PREDICT!r}"
        for alias, info in signature.inputs.items():
            sizes = [d.size for d in info.tensor_shape.dim]
            if not sizes or sizes[0] != -1:
                yield (
                    f"input {alias} of {name} has the shape {sizes}: its first dimension must be "
                    "the batch, of any size"
                )
    yield from _unserved(graph.graph_def)


def _unserved(graph: tf.compat.v1.GraphDef) -> Iterator[str]:
    """Functions compiled by XLA, and operations outside TensorFlow's core."""
    functions = graph.library.function
    ours = {function.signature.name for function in functions}
    for function in functions:
        if function.attr["_XlaMustCompile"].b:
            yield (
                f"{function.signature.name} is to be compiled by XLA (jit_compile), which TF "
                "Serving does not enable"
            )
    nodes = [graph.node, *(function.node_def for function in functions)]
    for op in sorted({node.op for some in nodes for node in some} - ours):
        if not hasattr(tf.raw_ops, op) or op.startswith(NOT_SERVED):
            yield f"{op} is not available in TF Serving: use only operations of TensorFlow's core"
