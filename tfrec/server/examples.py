"""Classify, Regress and MultiInference: take tf.Examples, return classes or numbers."""

import numpy as np

from tfrec.server.errors import ServingError, invalid
from tfrec.server.saved_model import DEFAULT_SIGNATURE, Call, SavedModel

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def to_call(
    model: SavedModel, spec, given, method: str, check_method: bool = False
) -> tuple[Call, list[str]]:
    """The call for Classify or Regress on serialized tf.Examples, and the outputs' aliases."""
    name = spec.signature_name or DEFAULT_SIGNATURE
    signature = model.signatures.get(name)
    if signature is None:
        raise invalid(f"No signature was found with the name: {name}")
    kind = "classification" if method == CLASSIFY else "regression"
    if check_method and signature.method_name != method:
        raise invalid(
            f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise ServingError(
            "FAILED_PRECONDITION", f"No {kind} inputs found in SignatureDef: {signature}"
        )
    names = _example_outputs(signature, kind, method)
    examples = serialized_examples(given)
    if not examples:
        raise invalid("Input is empty.")
    serialized = np.array(examples, object)
    fetches = tuple(signature.outputs[alias].name for alias in names)
    return Call((signature.inputs["inputs"].name,), (serialized,), fetches), names


def check_tasks(tasks) -> None:
    """Refuses tasks that MultiInference does not support."""
    names = [task.model_spec.name for task in tasks]
    if not all(names):
        raise invalid("Found ModelSpec with an empty model name.")
    if len(set(names)) > 1:
        raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    seen = set()
    for task in tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in seen:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        if task.method_name not in (CLASSIFY, REGRESS):
            raise ServingError(
                "UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}"
            )


def serialized_examples(given) -> list[bytes]:
    """The tf.Examples of an `Input`, with the context's features added to each."""
    if given.WhichOneof("kind") == "example_list_with_context":
        found = given.example_list_with_context
        context = found.context.SerializeToString()
        # Concatenated messages are merged; an example's own feature comes last and overrides.
        return [context + example.SerializeToString() for example in found.examples]
    return [example.SerializeToString() for example in given.example_list.examples]


def _example_outputs(signature, kind: str, method: str) -> list[str]:
    """Aliases of the outputs that Classify or Regress reads."""
    if method == CLASSIFY:
        names = [alias for alias in ("classes", "scores") if alias in signature.outputs]
        if not names:
            raise ServingError(
                "FAILED_PRECONDITION",
                "Expected classification signature outputs to contain at least one of "
                f'"classes" or "scores". Signature was: {signature}',
            )
        return names
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if "outputs" not in signature.outputs:
        raise ServingError(
            "FAILED_PRECONDITION", f"No {kind} outputs found in SignatureDef: {signature}"
        )
    return ["outputs"]


def fill_classes(result, arrays: dict[str, np.ndarray]) -> None:
    """Writes `classes` and `scores`, `[batch, n]` each, into a ClassificationResult."""
    for name, array in arrays.items():
        if array.ndim != 2:
            raise invalid(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
            )
        if (array.dtype == object) != (name == "classes"):
            due = "DT_STRING" if name == "classes" else "DT_FLOAT"
            raise invalid(f"Expected {name} Tensor of {due}. Got: {array.dtype}")
    first, *others = arrays.values()
    if any(array.shape != first.shape for array in others):
        sizes = " vs. ".join(str(array.shape[1]) for array in arrays.values())
        text = f"Tensors class and score should match in dim_size(1). Got {sizes}"
        raise ServingError("INTERNAL", text)
    labels = arrays.get("classes")
    scores = arrays.get("scores")
    for row in range(len(first)):
        classes = result.classifications.add().classes
        for index in range(first.shape[1]):
            one = classes.add()
            if labels is not None:
                one.label = labels[row, index].decode(errors="replace")
            if scores is not None:
                one.score = scores[row, index]


def fill_values(result, array: np.ndarray) -> None:
    """Writes `[batch]` or `[batch, 1]` into a RegressionResult."""
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        raise invalid(
            f"Expected Tensor shape: [batch_size] or [batch_size 1] but got {_shape(array)}"
        )
    for value in array.ravel().tolist():
        result.regressions.add(value=value)


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"
