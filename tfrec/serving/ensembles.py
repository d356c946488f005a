"""The k best items of an ensemble for known users, if not all members can score histories."""

import pathlib

import numpy as np
import tensorflow as tf

from tfrec.data import inputs, pairs
from tfrec.models.base import Recommender
from tfrec.models.ensemble import Ensemble
from tfrec.schema import PAD, DatasetInfo
from tfrec.serving.answers import usable
from tfrec.serving.histories import features
from tfrec.serving.known_users import NO_PAIRS, EventTopK, ItemRowTopK, UserTopK

ROWS = 512  # histories read at once


class EnsembleTopK(UserTopK):
    """Answers for users by raw id with the weighted sum of the members' scores.

    Members that are models of histories score the stored history of a user, which is empty for an
    unknown user. Models of events and of item rows score as in an export of their own.

    Args:
        model: An ensemble.
        data_dir: As for `UserTopK`.
        k: As for `UserTopK`.
        titles_file: As for `UserTopK`.
        with_ratings: As for `signatures.make`.

    Raises:
        ValueError: see `check`.
    """

    def __init__(self, model: Ensemble, data_dir, k, titles_file, with_ratings=True):
        check(model)
        rated = pairs.read_all(data_dir, model.info, "all") if with_ratings else NO_PAIRS
        super().__init__(model, data_dir, k, titles_file, rated)
        self.parts = []
        for member, folder in zip(model.members, model.config.data_dirs, strict=True):
            if member.reads == "events":
                part = EventTopK(member, folder, k, titles_file, False)
            elif member.info.rows == "item":
                part = ItemRowTopK(member, folder, k, titles_file, with_ratings)
            else:
                part = StoredHistories(member, folder if with_ratings else None)
            self.parts.append(part)

    def scores(self, users, items):
        return usable(self.model.combined([part.scores(users, items) for part in self.parts]))


class StoredHistories:
    """Scores of a model of histories for users, from their stored histories.

    Args:
        model: A model of histories.
        data_dir: The directory of its prepared data; None: all stored histories are empty.
    """

    def __init__(self, model: Recommender, data_dir: str | pathlib.Path | None):
        self.model = model
        items, values, splits = stored(model.info, data_dir)
        self.items = tf.Variable(items, trainable=False, name="stored_items")
        self.values = tf.Variable(values, trainable=False, name="stored_values")
        self.splits = tf.Variable(splits, trainable=False, name="stored_splits")
        self.score_of = tf.function(lambda history: usable(model.score(history)), autograph=False)

    def scores(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Scores `[batch, n]` of users by position, `[batch]` (-1: unknown), and items, `[n]`."""

        def rows(flat: tf.Variable, padding) -> tf.Tensor:
            lists = tf.RaggedTensor.from_row_splits(flat, self.splits, validate=False)
            return tf.gather(lists, tf.maximum(users, 0)).to_tensor(padding)

        known = tf.where(users[:, tf.newaxis] >= 0, rows(self.items, PAD), PAD)
        history = features(known, rows(self.values, 0.0))
        return tf.gather(self.score_of(history), items, axis=1)


def stored(
    info: DatasetInfo, data_dir: str | pathlib.Path | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All ratings by user, in time order: items int32 and values float32 `[n]`, and row splits."""
    rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    if data_dir is not None:
        for batch, _ in inputs.histories(data_dir, info, "all", ROWS, fill=True):
            users, items, values = (batch[x].numpy() for x in ("user", "items", "values"))
            for user, item, value in zip(users, items, values, strict=True):
                rows[int(user)] = item[item != PAD], value[item != PAD]
    empty = np.zeros(0, np.int32), np.zeros(0, np.float32)
    found = [rows.get(user, empty) for user in range(info.n_users)]
    items, values = (np.concatenate([empty[i], *(x[i] for x in found)]) for i in (0, 1))
    return items, values, np.cumsum([0, *(len(x[0]) for x in found)])


def check(model: Ensemble) -> None:
    """Refuses an ensemble that cannot be exported, before any work.

    Raises:
        ValueError: names the member and the reason: it reads a context that a request for a user's
            list does not contain, or its data was prepared again.
    """
    for run, folder, member in zip(
        model.config.runs, model.config.data_dirs, model.members, strict=True
    ):
        name = f"{run} ({type(member).__name__})"
        if member.reads == "events" and member.context:
            raise ValueError(
                f"this ensemble can be evaluated, but not queried or exported: its member {name} "
                f"reads {', '.join(member.context)} of each event, which a request for a user's "
                "list does not contain; leave it out, or export it separately"
            )
        if DatasetInfo.load(folder).fingerprint != member.info.fingerprint:
            raise ValueError(
                f"--data_dir={folder} holds other data than the member {name} of this ensemble was "
                "trained on: prepare the former data there again"
            )
