"""REST's JSON responses of Predict."""

import base64

import numpy as np

from tfrec.server.errors import invalid


def answer(outputs: dict[str, np.ndarray], rows: bool) -> dict:
    """The JSON of a response, in row or column form like its request.

    Raises:
        ServingError: outputs that are not rows.
    """
    values = {name: to_lists(name, array) for name, array in sorted(outputs.items())}
    if not rows:
        return {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    sizes = set()
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        sizes.add(len(array))
        if len(sizes) > 1:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)}")
    if len(values) == 1:
        return {"predictions": next(iter(values.values()))}
    lines = zip(*values.values(), strict=True)
    return {"predictions": [dict(zip(values, line, strict=True)) for line in lines]}


def to_lists(name: str, array: np.ndarray):
    """An array as JSON, with bytes as base64 if the output's name says so."""
    if array.dtype == object:
        write = _base64 if name.endswith("_bytes") else _text
        return _nested([write(x) for x in array.ravel()], array.shape)
    if array.dtype == np.float32:
        # The shortest decimals of the float32, not those of its float64.
        array = array.astype("U").astype(np.float64)
    return array.tolist()


def _base64(value: bytes) -> dict:
    return {"b64": base64.b64encode(value).decode()}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _nested(leaves: list, shape: tuple[int, ...]):
    """A flat list as nested lists."""
    array = np.empty(len(leaves), object)
    array[:] = leaves
    return array.reshape(shape).tolist()
