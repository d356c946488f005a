"""Merges calls of one signature: concatenates and pads their rows, and splits the results."""

import numpy as np

from tfrec.server.errors import ServingError, invalid
from tfrec.server.saved_model import Call


def rows(call: Call) -> int:
    """The inputs' common first dimension."""
    sizes = {array.shape[:1] for array in call.arrays}
    if () in sizes:
        raise invalid("Batching Run() input tensors must have at least one dimension")
    if len(sizes) != 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()[0]


def merge(calls: list[Call], settings) -> Call:
    """One call with the rows of all, filled up to an allowed size by repeating a row."""
    merged = []
    total = sum(rows(call) for call in calls)
    for index, name in enumerate(calls[0].feeds):
        arrays = [call.arrays[index] for call in calls]
        if len({array.shape[1:] for array in arrays}) > 1:
            arrays = _same_shapes(arrays, name, settings.pad_variable_length_inputs)
        missing = settings.rounded(total) - total
        if missing:
            arrays.append(np.repeat(arrays[-1][:1], missing, axis=0))
        merged.append(np.concatenate(arrays) if len(arrays) > 1 else arrays[0])
    return Call(calls[0].feeds, tuple(merged), calls[0].fetches)


def _same_shapes(arrays: list[np.ndarray], name: str, pad: bool) -> list[np.ndarray]:
    """Pads with each array's first value, as the real server does."""
    if not pad:
        raise ServingError(
            "FAILED_PRECONDITION",
            f"Tensors with name '{name}' from different tasks have different shapes and padding "
            "is turned off.Set pad_variable_length_inputs to true, or ensure that all tensors "
            "with the same namehave equal dimensions starting with the first dim.",
        )
    shape = [max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True)]
    padded = []
    for array in arrays:
        wide = np.full((len(array), *shape), array.flat[0] if array.size else 0, array.dtype)
        wide[tuple(slice(size) for size in array.shape)] = array
        padded.append(wide)
    return padded


def split(arrays: list[np.ndarray], sizes: list[int]) -> list[list[np.ndarray]]:
    """Each request's rows of the outputs."""
    total = sum(sizes)
    for array in arrays:
        if not array.ndim:
            raise ServingError("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
        if len(array) < total:
            raise ServingError(
                "FAILED_PRECONDITION",
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors",
            )
    ends = np.cumsum(sizes)
    return [[a[end - size : end] for a in arrays] for end, size in zip(ends, sizes, strict=True)]


def join(answers: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Concatenates the results of the pieces of a call."""
    if len(answers) == 1:
        return answers[0]
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]
