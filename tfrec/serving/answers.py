"""What all exports share: signatures by name, over functions of raw ids.

`tfrec.recommend` calls these functions, `tfrec.export` writes them into the SavedModel, TF
Serving runs them: the same functions, the same numbers. Only core TensorFlow operations.

A server wants every input of a signature in every request; so there is a lean
`serving_default` and a full `recommend`, and no input that may be missing.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfrec.models.base import Recommender
from tfrec.serving import examples
from tfrec.serving.tables import tables_of

EXAMPLES = 8  # rows in a request that is replayed
LOWEST = tf.float32.min  # the score of nothing: JSON has no infinity
INPUTS = {"inputs": tf.TensorSpec([None], tf.string, name="inputs")}  # serialized Examples

Signature = tf.types.experimental.PolymorphicFunction


def strings(name: str, *length: int | None) -> dict[str, tf.TensorSpec]:
    """The input `name`, raw ids: `[batch]`, or `[batch, length]` with a length (None: any)."""
    return {name: tf.TensorSpec([None, *length], tf.string, name=name)}


def specs_of(function: Signature) -> dict[str, tf.TensorSpec]:
    """A signature's inputs."""
    return function.input_signature[0]


class Answers:
    """Signatures by name. A subclass fills `signatures` and gives `samples`.

    Attributes:
        kind: What a request names: "history", "user" or "events".
        facts: What programs may want to know besides, in the export's `signatures.json`.
        notes: The same for the export's README.
    """

    kind = ""
    facts: Mapping[str, dict] = {}
    notes = ""

    def __init__(self, model: Recommender, data_dir: str | pathlib.Path):
        self.model, self.data_dir = model, pathlib.Path(data_dir)
        self.signatures: dict[str, Signature] = {}
        # One graph for all signatures, which call each other for the same reason.
        self.score_of = tf.function(self._score)

    def _score(self, features, *items) -> tf.Tensor:
        return usable(self.model.score(features, *items))

    def add(self, name: str, function: Callable, specs: dict[str, tf.TensorSpec]) -> None:
        """A signature that is `function(**tensors)`; keys of `specs` name its inputs."""
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
        """Answers a request: a dict of arrays by name, as it is sent to `endpoint`."""
        function = self.signatures[endpoint]
        specs = specs_of(function)
        return function({n: tf.constant(a, specs[n].dtype) for n, a in request.items()})

    def example(self, endpoint: str) -> dict[str, np.ndarray]:
        """A request to `endpoint`: rows by chance, and one of nobody and nothing."""
        return {
            name: examples.serialize(self.sampled) if name == "inputs" else self.sampled[name]
            for name in specs_of(self.signatures[endpoint])
        }

    @functools.cached_property
    def sampled(self) -> dict[str, np.ndarray]:
        """The samples, made once."""
        return self.samples()

    def samples(self) -> dict[str, np.ndarray]:
        """What the inputs of all signatures may hold, by name; the same number of rows each.

        No history or event of the data's: the first rows are stored with the export.
        """
        raise NotImplementedError

    def tables(self) -> list[tf.lookup.StaticHashTable]:
        """The lookup tables, which an export must track."""
        return tables_of(self)

    def predictions(self, scores: tf.Tensor) -> tf.Tensor:
        """Scores as the task's predictions: ratings in their range, for clicks the probability."""
        return self.model.task_object.predictions(scores, self.model.info)


def as_declared(
    request: dict[str, tf.Tensor], specs: dict[str, tf.TensorSpec]
) -> dict[str, tf.Tensor]:
    """A request's inputs, their ranks, lengths and numbers of rows checked when they come.

    TF Serving checks dtypes only. An operation that was traced for another rank may end the
    process; these end the request, with INVALID_ARGUMENT.
    """
    sure = {name: tf.ensure_shape(tensor, specs[name].shape) for name, tensor in request.items()}
    rows = [tf.shape(tensor)[0] for tensor in sure.values()]
    most, least = tf.reduce_max(rows), tf.reduce_min(rows)
    due = 2 * most - least  # where numbers of rows differ no input has that many
    return {name: of_rows(tensor, due) for name, tensor in sure.items()}


def of_rows(tensor: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """The tensor, which must have n rows."""
    shape = tf.concat([[n], tf.shape(tensor)[1:], [1]], axis=0)
    # By a dimension of one, since a reshape from one dimension to one would be optimised away.
    return tf.squeeze(tf.reshape(tensor[..., tf.newaxis], shape), -1)


def usable(scores: tf.Tensor) -> tf.Tensor:
    """Scores as float32; NaN and infinity, which would fail a whole batch, are minus infinity.

    They come of ratings too large to compute with. Weights that hold any are not exported.
    """
    scores = tf.cast(scores, tf.float32)
    return tf.where(scores < float("inf"), scores, -float("inf"))
