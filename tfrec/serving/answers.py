"""Base of all exports: signatures by name, which take and return raw ids.

`tfrec.recommend` calls these functions, `tfrec.export` writes them into the SavedModel and TF
Serving runs them, so all give the same numbers. They use core TensorFlow operations only.

TF Serving requires every input of a signature in every request, so inputs cannot be optional:
`serving_default` has few inputs and `recommend` has all.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfrec.models.base import Recommender
from tfrec.serving import examples
from tfrec.serving.tables import tables_of

EXAMPLES = 8  # rows of a sample request
LOWEST = tf.float32.min  # the score of empty positions, since JSON has no infinity
INPUTS = {"inputs": tf.TensorSpec([None], tf.string, name="inputs")}  # serialized Examples

Signature = tf.types.experimental.PolymorphicFunction


def strings(name: str, *length: int | None) -> dict[str, tf.TensorSpec]:
    """Spec of a string input `name`: `[batch]`, or `[batch, length]` with a length (None: any)."""
    return {name: tf.TensorSpec([None, *length], tf.string, name=name)}


def specs_of(function: Signature) -> dict[str, tf.TensorSpec]:
    """Specs of a signature's inputs."""
    return function.input_signature[0]


class Answers:
    """Signatures by name. A subclass fills `signatures` and implements `samples`.

    Attributes:
        kind: What a request contains: "history", "user", "events" or "two-stage".
        facts: Additional entries of the export's `signatures.json`.
        notes: Additional text of the export's README.
    """

    kind = ""
    facts: Mapping[str, dict] = {}
    notes = ""

    def __init__(self, model: Recommender, data_dir: str | pathlib.Path):
        self.model, self.data_dir = model, pathlib.Path(data_dir)
        self.signatures: dict[str, Signature] = {}
        # Traced once for all signatures; they call each other for the same reason.
        self.score_of = tf.function(self._score, autograph=False)

    def _score(self, features, *items) -> tf.Tensor:
        return usable(self.model.score(features, *items))

    def add(self, name: str, function: Callable, specs: dict[str, tf.TensorSpec]) -> None:
        """Adds a signature that calls `function(**tensors)`; the keys of `specs` are its inputs."""
        self.signatures[name] = tf.function(
            lambda request: function(**as_declared(request, specs)),
            input_signature=[specs],
            autograph=False,
        )

    def call(self, name: str, **request: tf.Tensor) -> dict[str, tf.Tensor]:
        """Another signature's answer, inside a graph."""
        return self.signatures[name](request)

    def endpoints(self) -> dict[str, Signature]:
        """The signatures by name."""
        return dict(self.signatures)

    def ask(self, endpoint: str, request) -> dict[str, tf.Tensor]:
        """Calls the signature `endpoint` with arrays by input name."""
        function = self.signatures[endpoint]
        specs = specs_of(function)
        return function({n: tf.constant(a, specs[n].dtype) for n, a in request.items()})

    def example(self, endpoint: str) -> dict[str, np.ndarray]:
        """A sample request to `endpoint`: random rows, and one of unknown ids."""
        return {
            name: examples.serialize(self.sampled) if name == "inputs" else self.sampled[name]
            for name in specs_of(self.signatures[endpoint])
        }

    @functools.cached_property
    def sampled(self) -> dict[str, np.ndarray]:
        """`samples()`, computed once."""
        return self.samples()

    def samples(self) -> dict[str, np.ndarray]:
        """Sample values of the inputs of all signatures by name, all with the same number of rows.

        They must not be histories or events of the data, since the export contains the first rows.
        """
        raise NotImplementedError

    def tables(self) -> list[tf.lookup.StaticHashTable]:
        """The lookup tables, which an export must track."""
        return tables_of(self)

    def predictions(self, scores: tf.Tensor) -> tf.Tensor:
        """Scores as the task's predictions: clipped ratings, or probabilities of clicks."""
        return self.model.task_object.predictions(scores, self.model.info)


def as_declared(
    request: dict[str, tf.Tensor], specs: dict[str, tf.TensorSpec]
) -> dict[str, tf.Tensor]:
    """A request's inputs, with ranks, lengths and numbers of rows checked in the graph.

    TF Serving checks dtypes only. An operation that was traced for another rank may abort the
    process; these checks fail the request with INVALID_ARGUMENT.
    """
    checked = {name: tf.ensure_shape(tensor, specs[name].shape) for name, tensor in request.items()}
    rows = [tf.shape(tensor)[0] for tensor in checked.values()]
    most, least = tf.reduce_max(rows), tf.reduce_min(rows)
    due = 2 * most - least  # if the numbers of rows differ, no input has this number
    return {name: of_rows(tensor, due) for name, tensor in checked.items()}


def of_rows(tensor: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """The tensor; an error if it does not have n rows."""
    shape = tf.concat([[n], tf.shape(tensor)[1:], [1]], axis=0)
    # With an extra dimension, since a reshape from one dimension to one would be optimised away.
    return tf.squeeze(tf.reshape(tensor[..., tf.newaxis], shape), -1)


def usable(scores: tf.Tensor) -> tf.Tensor:
    """Scores as float32, with -inf for NaN and infinity, which would fail the whole batch.

    They result from ratings that are too large. Weights that contain any are not exported.
    """
    scores = tf.cast(scores, tf.float32)
    return tf.where(scores < float("inf"), scores, -float("inf"))
