"""The k best items of an ensemble for known users: of members that can not all score histories."""

import pathlib

import numpy as np
import tensorflow as tf

from tfrec.data import inputs, pairs
from tfrec.models.base import Recommender
from tfrec.models.ensemble import Ensemble
from tfrec.schema import PAD, DatasetInfo
from tfrec.serving.answers import usable
from tfrec.serving.histories import features
from tfrec.serving.known_users import NOTHING, EventTopK, ItemRowTopK, UserTopK

ROWS = 512  # read at once


class EnsembleTopK(UserTopK):
    """Scores are the weighted sum of the members' for users by raw id.

    Members of histories score what is stored of a user; of an unknown one nothing is. Members of
    events and of item rows score as they do when they are exported by themselves.

    Args:
        model: An ensemble.
        data_dir: As for `UserTopK`, as all below.
        k: As above.
        titles_file: As above.
        with_ratings: As of `signatures.make`.

    Raises:
        ValueError: as `check`.
    """

    def __init__(self, model: Ensemble, data_dir, k, titles_file, with_ratings=True):
        check(model)
        rated = pairs.together(data_dir, model.info, "all") if with_ratings else NOTHING
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
    """A model of histories, asked by user.

    Args:
        model: It scores histories.
        data_dir: Where its data was prepared; None: nothing is stored of any user.
    """

    def __init__(self, model: Recommender, data_dir: str | pathlib.Path | None):
        self.model = model
        items, values, splits = stored(model.info, data_dir)
        self.items = tf.Variable(items, trainable=False, name="stored_items")
        self.values = tf.Variable(values, trainable=False, name="stored_values")
        self.splits = tf.Variable(splits, trainable=False, name="stored_splits")
        self.score_of = tf.function(lambda history: usable(model.score(history)))

    def scores(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Positions `[batch]` (-1: unknown) and `[n]` -> `[batch, n]`."""

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
    nothing = np.zeros(0, np.int32), np.zeros(0, np.float32)
    found = [rows.get(user, nothing) for user in range(info.n_users)]
    items, values = (np.concatenate([nothing[i], *(x[i] for x in found)]) for i in (0, 1))
    return items, values, np.cumsum([0, *(len(x[0]) for x in found)])


def check(model: Ensemble) -> None:
    """Refuses an ensemble that can not be exported, before any work.

    Raises:
        ValueError: names the member and the reason: it reads of each event what a request for a
            user's list does not hold, or its data was prepared anew.
    """
    for run, folder, member in zip(
        model.config.runs, model.config.data_dirs, model.members, strict=True
    ):
        name = f"{run} ({type(member).__name__})"
        if member.reads == "events" and member.context:
            raise ValueError(
                f"this ensemble can be measured, but not asked or exported: its member {name} "
                f"reads {', '.join(member.context)} of each event, which a request for a user's "
                "list does not hold; leave it out, or export it by itself"
            )
        if DatasetInfo.load(folder).fingerprint != member.info.fingerprint:
            raise ValueError(
                f"--data_dir={folder} holds other data than the member {name} of this ensemble was "
                "trained on: prepare the former data there again"
            )
