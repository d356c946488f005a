"""Predict's requests: checked against the signature, in the real server's words."""

import numpy as np
import tensorflow as tf

from tfrec.serving.server import tensors
from tfrec.serving.server.engine import DEFAULT_SIGNATURE, Call, SavedModel
from tfrec.serving.server.errors import ServingError, invalid


def to_call(model: SavedModel, request) -> tuple[list[str], Call]:
    """The outputs' aliases, and what is run.

    Raises:
        ServingError: the request does not fit the signature.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = model.signatures.get(name)
    if signature is None:
        raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    check_inputs(request.inputs, signature)
    feeds, arrays = [], []
    for place, alias in enumerate(sorted(signature.inputs)):
        info = signature.inputs[alias]
        proto = (request.inputs if alias in request.inputs else signature.defaults)[alias]
        try:
            array = tensors.to_array(proto)
        except (ValueError, TypeError):
            raise invalid(f"tensor parsing error: {alias}") from None
        check_tensor(place, alias, info, proto.dtype, array)
        feeds.append(info.name)
        arrays.append(array)
    aliases = wanted_outputs(request.output_filter, signature)
    fetches = tuple(signature.outputs[alias].name for alias in aliases)
    return aliases, Call(tuple(feeds), tuple(arrays), fetches)


def check_inputs(inputs, signature) -> None:
    """Refuses missing, extra and misnamed inputs."""
    sent, due = set(inputs), set(signature.inputs)
    defaults = set(signature.defaults)
    if len(sent) > len(due) or (len(sent) < len(due) and not defaults):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(due)} len({_set(sent)}) != "
            f"len({_set(due)}). Sent extra: {_set(sent - due)}. Missing but required: "
            f"{_set(due - sent)}."
        )
    for alias in sorted(due - sent - defaults):
        raise invalid(
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found "
            "in request and no default value provided. Inputs expected to be in the request "
            f"{_set(due)}, or default input alias set: {','.join(sorted(defaults))}"
        )


def check_tensor(place: int, alias: str, info, dtype: int, array: np.ndarray) -> None:
    """Refuses a wrong dtype, in the words of TensorFlow's executor, and a wrong shape.

    The session would convert numbers silently, which the real server does not.
    """
    if dtype != info.dtype:
        due, sent = (tf.dtypes.as_dtype(d).name for d in (info.dtype, dtype))
        names = {"float32": "float", "float64": "double", "float16": "half"}
        raise invalid(
            f"Expects arg[{place}] to be {names.get(due, due)} but {names.get(sent, sent)} is "
            "provided"
        )
    sizes = [d.size for d in info.tensor_shape.dim]
    fits = len(sizes) == array.ndim and all(
        due in (-1, size) for due, size in zip(sizes, array.shape, strict=True)
    )
    if not fits and not info.tensor_shape.unknown_rank:
        due = tf.TensorShape(info.tensor_shape)
        raise invalid(f"{alias} must have shape {due}, not {tf.TensorShape(array.shape)}")


def wanted_outputs(output_filter, signature) -> list[str]:
    """Aliases of the outputs that a request asks for: all where it names none."""
    seen = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {_set(signature.outputs)}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return sorted(seen or signature.outputs)  # sorted: as few kinds of runs as can be


def _set(names) -> str:
    return "{" + ",".join(sorted(names)) + "}"
