"""Scores of single events: from raw ids and context to ratings or probabilities."""

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfrec.data import fields, vocabulary
from tfrec.models.events import EventModel
from tfrec.schema import ITEMS_FILE, USERS_FILE, Field, vocabulary_file
from tfrec.serving import examples
from tfrec.serving.answers import EXAMPLES, INPUTS, Answers
from tfrec.serving.tables import position_table

LABELS = ("0", "1")
TIME, STEP = 1_600_000_000, 90_000  # seconds, of samples: each has another day and hour


class EventScores(Answers):
    """Predictions for events in one graph.

    A request contains `user` and `item`, string `[batch]`, if the data has ids, `time`, int64
    `[batch]` (seconds since 1970, 0 if unknown), if the model reads it, and the events' own
    fields: categories as string, numbers as float32 (NaN if missing). Values that are not in the
    training data count as unknown and are not an error.

    Args:
        model: A trained model of events.
        data_dir: The directory of its prepared data.
    """

    kind = "events"

    def __init__(self, model: EventModel, data_dir: str | pathlib.Path):
        super().__init__(model, data_dir)
        self.fields = {f.name: f for f in model.info.fields if f.name in model.context}
        self.ids = {}
        if model.info.has_ids:
            self.ids = {
                "user": position_table(self.data_dir / USERS_FILE),
                "item": position_table(self.data_dir / ITEMS_FILE),
            }
        self.categories = {
            f.name: position_table(self.data_dir / vocabulary_file(f.name))
            for f in self.fields.values()
            if f.kind == "category"
        }
        spec = {name: tf.TensorSpec([None], self._dtype(name), name=name) for name in self.names}
        for name in ("serving_default", "score"):
            self.add(name, self.score, spec)
        for name in model.task_object.event_signatures:
            self.add(name, getattr(self, name), INPUTS)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of a request's inputs."""
        return (*self.ids, *self.model.context)

    def _dtype(self, name: str) -> tf.DType:
        if name == "time":
            return tf.int64
        return tf.float32 if name in self.fields and self._is_number(name) else tf.string

    def _is_number(self, name: str) -> bool:
        return self.fields[name].kind == "number"

    def score(self, **request) -> dict[str, tf.Tensor]:
        """`scores`, float32 `[batch]`: ratings, or probabilities of clicks."""
        zeros = tf.zeros_like(next(iter(request.values())), tf.int32)
        features = {"user": zeros, "item": zeros} | self.features(request)
        return {"scores": self.predictions(self.score_of(features))}

    def features(self, request: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The model's features for raw inputs, `[batch]` each."""
        features = {}
        for name, raw in request.items():
            if name in self.ids:
                features[name] = self.ids[name].lookup(raw)
            elif name in self.categories:
                features[name] = self.categories[name].lookup(raw) + 1
            else:
                features[name] = raw if name == "time" else standardised(self.fields[name], raw)
        return features

    def regress(self, inputs) -> dict[str, tf.Tensor]:
        """`score` for serialized Examples, in the format of TF Serving's Regress: `[batch]`.

        Features that an Example does not have are unknown.
        """
        dtypes = {name: self._dtype(name) for name in self.names}
        event = examples.parse_singles(inputs, dtypes)
        return {"outputs": self.call("score", **event)["scores"]}

    def classify(self, inputs) -> dict[str, tf.Tensor]:
        """Probabilities of no click and of a click, in the format of TF Serving's Classify."""
        click = self.call("regress", inputs=inputs)["outputs"]
        return {
            "classes": tf.tile(tf.constant([LABELS]), [tf.size(click), 1]),
            "scores": tf.stack([1 - click, click], axis=1),
        }

    def samples(self) -> dict[str, np.ndarray]:
        """Random ids and context, not events of the data, and an event of unknown ids."""
        files = {"user": USERS_FILE, "item": ITEMS_FILE}
        rng, found = np.random.default_rng(0), {}
        for name in self.names:
            if name in self.ids or name in self.categories:
                file = self.data_dir / files.get(name, vocabulary_file(name))
                ids = vocabulary.read(file) or [""]
                drawn = [ids[n] for n in rng.integers(len(ids), size=EXAMPLES)]
                found[name] = np.array([*drawn, f"no such {name}"])
            elif name == "time":
                found[name] = np.append(TIME + STEP * np.arange(EXAMPLES), 0)
            else:
                numbers = fields.raw_number(self.fields[name], rng.normal(size=EXAMPLES))
                found[name] = np.append(numbers, np.nan).astype(np.float32)
        return found


def standardised(field: Field, raw: tf.Tensor) -> tf.Tensor:
    """A raw number, standardised as in training; 0 if it is missing, NaN or infinite."""
    known = fields.standardised(field, fields.signed_log(raw, tf.math))
    return tf.where(tf.math.is_finite(raw), known, 0.0)
