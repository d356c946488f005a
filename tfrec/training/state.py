"""The state of an unfinished run in a file: what --resume continues from."""

import json
import pathlib

import numpy as np

from tfrec.models.base import Recommender


def save(path: pathlib.Path, model: Recommender, progress: dict) -> None:
    """Writes all variables of model and optimizer, and JSON types that say where the run stands."""
    arrays = {f"{i:04d}": v.numpy() for i, v in enumerate(_variables(model))}
    with path.open("wb") as file:
        np.savez(file, progress=np.array(json.dumps(progress)), **arrays)


def load(path: pathlib.Path, model: Recommender) -> dict:
    """Puts the variables back, all or none; returns where the run stands.

    Raises:
        ValueError: it is damaged, or another model's.
    """
    # np.load leaves a file that it opened and can not read open.
    with path.open("rb") as file, np.load(file) as arrays:
        variables = _variables(model)
        if len(arrays.files) != len(variables) + 1:
            raise ValueError(f"{len(arrays.files) - 1} variables for {len(variables)}")
        loaded = [arrays[f"{i:04d}"] for i in range(len(variables))]
        progress = json.loads(str(arrays["progress"]))
        for variable, value in zip(variables, loaded, strict=True):
            variable.assign(value)
        return progress


def _variables(model: Recommender) -> list:
    """Weights, random states and optimizer slots, in an order that does not change."""
    return [*model.variables, *(model.optimizer.variables if model.optimizer else [])]
