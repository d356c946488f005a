"""Predict's requests: names are checked against the signature, with the real server's errors.

Dtypes and shapes are not checked here: the session refuses wrong dtypes, the graph wrong shapes.
"""

from tfrec.server import tensors
from tfrec.server.errors import ServingError, invalid
from tfrec.server.saved_model import DEFAULT_SIGNATURE, Call, SavedModel


def to_call(model: SavedModel, request) -> tuple[list[str], Call]:
    """The outputs' aliases, and the call to run.

    Raises:
        ServingError: the request does not fit the signature.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = model.signatures.get(name)
    if signature is None:
        raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    check_inputs(request.inputs, signature)
    feeds, arrays = [], []
    for alias in sorted(signature.inputs):
        proto = (request.inputs if alias in request.inputs else signature.defaults)[alias]
        try:
            array = tensors.to_array(proto)
        except (ValueError, TypeError):
            raise invalid(f"tensor parsing error: {alias}") from None
        feeds.append(signature.inputs[alias].name)
        arrays.append(array)
    aliases = wanted_outputs(request.output_filter, signature)
    fetches = tuple(signature.outputs[alias].name for alias in aliases)
    return aliases, Call(tuple(feeds), tuple(arrays), fetches)


def check_inputs(inputs, signature) -> None:
    """Refuses missing, extra and unknown inputs."""
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


def wanted_outputs(output_filter, signature) -> list[str]:
    """Aliases of the requested outputs; all if none are given."""
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
    return sorted(seen or signature.outputs)  # sorted, for as few different runs as possible


def _set(names) -> str:
    return "{" + ",".join(sorted(names)) + "}"
