"""The state of an unfinished run in a file: what --resume continues from."""

import json
import pathlib
from collections.abc import Mapping

import keras
import numpy as np

from tfrec.models.base import Recommender

_MEANS, _OWN = "mean-", "own-"  # before the names of arrays that are no variables


def save(
    path: pathlib.Path,
    model: Recommender,
    progress: dict,
    own: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a state.

    Args:
        path: The file, an `.npz`.
        model: All its variables are written, and its optimizer's.
        progress: JSON types that say where the run stands.
        own: What else the model needs to go on, where it has steps of its own.

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
    """Where the run stands."""
    # np.load leaves a file that it opened and can not read open.
    with path.open("rb") as file, np.load(file) as arrays:
        return json.loads(str(arrays["progress"]))


def load(path: pathlib.Path, model: Recommender) -> dict[str, np.ndarray]:
    """Puts the variables back, all or none; returns what the model brought itself.

    Raises:
        ValueError: it is damaged, or another model's.
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
    """Weights, random states and optimizer slots, in an order that does not change."""
    return [*model.variables, *(model.optimizer.variables if model.optimizer else [])]


def _means(model: Recommender) -> list:
    """The variables behind the means that an epoch logs."""
    return [variable for metric in model.metrics for variable in metric.variables]


def _replicas(variable: keras.Variable) -> tuple:
    """The parts of a variable that each replica of this process has for itself."""
    return getattr(variable.value, "values", (variable.value,))


def _by_replica(variable: keras.Variable) -> np.ndarray:
    return np.stack([part.numpy() for part in _replicas(variable)])
