"""The checkpoint of an unfinished run, which --resume continues from."""

import json
import pathlib
from collections.abc import Mapping

import keras
import numpy as np

from tfrec.models.base import Recommender

_MEANS, _OWN = "mean-", "own-"  # prefixes of arrays that are not variables


def save(
    path: pathlib.Path,
    model: Recommender,
    progress: dict,
    own: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a state.

    Args:
        path: The file, an `.npz`.
        model: Its variables and those of its optimizer are saved.
        progress: The progress of the run, as JSON types.
        own: Further arrays of a `Resumable` model.

    Raises:
        FloatingPointError: a weight is not finite.
    """
    arrays = {f"{i:04d}": v.numpy() for i, v in enumerate(_variables(model))}
    for array in arrays.values():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise FloatingPointError("a weight is not finite")
    arrays |= {f"{_MEANS}{i}": _by_replica(v) for i, v in enumerate(_means(model))}
    arrays |= {_OWN + name: array for name, array in (own or {}).items()}
    with path.open("wb") as file:
        np.savez(file, progress=np.array(json.dumps(progress)), **arrays)


def progress(path: pathlib.Path) -> dict:
    """The saved progress."""
    # np.load does not close a file that it opened but cannot read.
    with path.open("rb") as file, np.load(file) as arrays:
        return json.loads(str(arrays["progress"]))


def load(path: pathlib.Path, model: Recommender) -> dict[str, np.ndarray]:
    """Restores the variables, all or none; returns the further arrays of the model.

    Raises:
        ValueError: the file is damaged, or of another model.
    """
    with path.open("rb") as file, np.load(file) as saved:
        arrays = {name: saved[name] for name in saved.files}
    own = {n.removeprefix(_OWN): arrays.pop(n) for n in list(arrays) if n.startswith(_OWN)}
    means = [arrays.pop(n) for n in list(arrays) if n.startswith(_MEANS)]
    del arrays["progress"]
    variables = _variables(model)
    if [v.shape for v in variables] != [value.shape for value in arrays.values()]:
        raise ValueError(f"{len(arrays)} variables for {len(variables)}, or of other shapes")
    for variable, value in zip(variables, arrays.values(), strict=True):
        variable.assign(value)
    for variable, values in zip(_means(model), means, strict=True):
        for replica, value in zip(_replicas(variable), values, strict=True):
            replica.assign(value)
    return own


def _variables(model: Recommender) -> list:
    """Weights, random states and optimizer slots, in a fixed order."""
    return [*model.variables, *(model.optimizer.variables if model.optimizer else [])]


def _means(model: Recommender) -> list:
    """The variables of the metrics whose means an epoch logs."""
    return [variable for metric in model.metrics for variable in metric.variables]


def _replicas(variable: keras.Variable) -> tuple:
    """The copies of a variable on the replicas of this process."""
    return getattr(variable.value, "values", (variable.value,))


def _by_replica(variable: keras.Variable) -> np.ndarray:
    return np.stack([part.numpy() for part in _replicas(variable)])
