"""Signatures run in this process: of a model in memory, or of a SavedModel on disk."""

import json
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfrec import damage
from tfrec.serving import arrays, export_metadata
from tfrec.serving.answers import Answers, specs_of
from tfrec.serving.predictor import DEFAULT, Predictor


class InMemory(Predictor):
    """The signatures of a trained model.

    Args:
        answers: As returned by `signatures.make`.
        batch_size: Number of rows scored at once.
    """

    def __init__(self, answers: Answers, batch_size: int = 256):
        self.answers, self.batch_size = answers, batch_size
        self.rating = answers.model.usual_value
        self._specs = {
            name: _specs(specs_of(function)) for name, function in answers.endpoints().items()
        }

    def signatures(self):
        return self._specs

    def predict(self, inputs, signature=DEFAULT, *, timeout=None):
        del timeout
        return {name: x.numpy() for name, x in self.answers.ask(signature, inputs).items()}


class OnDisk(Predictor):
    """An exported SavedModel.

    Args:
        path: The directory of a version, or the base path, for the highest version.
        batch_size: Number of rows scored at once.

    Raises:
        FileNotFoundError: there is no SavedModel.
        ValueError: it is damaged, or was not exported by tfrec.
    """

    def __init__(self, path: str | pathlib.Path, batch_size: int = 256):
        self.path, self.batch_size = _version(pathlib.Path(path)), batch_size
        with damage.refused(self.path, "export the run again with `python -m tfrec.export`"):
            described = json.loads((self.path / export_metadata.SIGNATURES).read_text())
            self.rating = described["usual"]
            self._loaded = tf.saved_model.load(str(self.path))
        self._specs = {
            name: _specs(function.structured_input_signature[1])
            for name, function in self._loaded.signatures.items()
        }

    def signatures(self):
        return self._specs

    def predict(self, inputs, signature=DEFAULT, *, timeout=None):
        del timeout
        specs = self._loaded.signatures[signature].structured_input_signature[1]
        tensors = {name: tf.constant(x, specs[name].dtype) for name, x in inputs.items()}
        answer = self._loaded.signatures[signature](**tensors)
        return {name: output.numpy() for name, output in answer.items()}


def _version(path: pathlib.Path) -> pathlib.Path:
    """The directory of the SavedModel."""
    if (path / "saved_model.pb").exists():
        return path
    numbers = [int(p.name) for p in path.glob("*") if p.name.isdigit()]
    if not numbers:
        raise FileNotFoundError(
            f"{path} has no SavedModel and no version of one: create one with `python -m "
            "tfrec.export`"
        )
    return path / str(max(numbers))


def _specs(specs: Mapping[str, tf.TensorSpec]) -> dict[str, arrays.Spec]:
    return {
        name: arrays.Spec(
            np.dtype(object) if spec.dtype == tf.string else np.dtype(spec.dtype.as_numpy_dtype),
            tuple(spec.shape.as_list()),
        )
        for name, spec in specs.items()
    }
