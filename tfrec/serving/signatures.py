"""The function behind recommendations: raw ids in, raw ids out, all in one graph.

`tfrec.recommend` calls it, `tfrec.export` writes it into the SavedModel, TF Serving runs it:
the same function, the same numbers. Only core TensorFlow operations.
"""

import pathlib

import numpy as np
import pandas as pd
import tensorflow as tf

from tfrec import ranking
from tfrec.data import inputs
from tfrec.models.base import Recommender
from tfrec.schema import ITEM_FIELDS_FILE, ITEMS_FILE, PAD, USERS_FILE

UNKNOWN = ""  # the raw id of padding, and of a place that no item fills


class TopK(tf.Module):
    """The k best items for a history, with raw ids and titles.

    Args:
        model: A trained model.
        data_dir: Where its data was prepared: vocabularies and titles.
        k: How many items an answer holds. Fixed, because a server that batches requests
            can not batch scalars; clients slice.
        titles_file: Where the titles are written, one a line; an asset of the export.
    """

    def __init__(
        self, model: Recommender, data_dir: str | pathlib.Path, k: int, titles_file: pathlib.Path
    ):
        super().__init__(name="top_k")
        data_dir = pathlib.Path(data_dir)
        self.model, self.k = model, min(k, model.info.n_items)
        write_titles(data_dir, titles_file)
        self.positions = position_table(data_dir / ITEMS_FILE)
        self.raw_ids = line_table(data_dir / ITEMS_FILE)
        self.titles = line_table(titles_file)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.string, name="items"),
            tf.TensorSpec([None, None], tf.float32, name="values"),
        ]
    )
    def recommend(self, items, values) -> dict[str, tf.Tensor]:
        """Top k for histories.

        Args:
            items: Raw ids, string `[batch, length]`, padding "". Unknown ids are ignored,
                of an item sent twice the first rating counts.
            values: Ratings, float32 `[batch, length]`.

        Returns:
            items and titles, string `[batch, k]`, and scores, float32 `[batch, k]`.
        """
        positions = without_repeats(self.positions.lookup(items))
        known = positions != PAD
        features = {
            "user": tf.fill(tf.shape(items)[:1], PAD),
            "items": positions,
            "values": tf.where(known, values, 0.0),
        }
        return self.answer(self.model.score(features), positions)

    def tables(self) -> list[tf.lookup.StaticHashTable]:
        """The lookup tables, which an export must track."""
        return [x for x in vars(self).values() if isinstance(x, tf.lookup.StaticHashTable)]

    def answer(self, scores, seen) -> dict[str, tf.Tensor]:
        """Strikes out the seen items and names the best of the rest.

        A place that no item fills has the lowest finite score: JSON has no infinity.
        """
        scores, top = ranking.top_k(scores, seen, self.k)
        places = tf.cast(top, tf.int64)
        return {
            "items": self.raw_ids.lookup(places),
            "titles": self.titles.lookup(places),
            "scores": tf.maximum(scores, tf.float32.min),
        }


class UserTopK(TopK):
    """The k best items for known users, for models whose rows are items (I-AutoRec).

    Such a model has weights for each user and can not score a history it was not trained
    on; what it needs at serving are the items' codes and the users' weights.
    """

    def __init__(self, model, data_dir, k, titles_file):
        super().__init__(model, data_dir, k, titles_file)
        self.user_positions = position_table(pathlib.Path(data_dir) / USERS_FILE)
        codes, seen = encode_items(model, data_dir)
        self.codes = tf.Variable(codes, trainable=False, name="codes")
        self.seen = tf.Variable(seen.values, trainable=False, name="seen")
        self.seen_splits = tf.Variable(seen.row_splits, trainable=False, name="seen_splits")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="user")])
    def recommend(self, user) -> dict[str, tf.Tensor]:
        """Top k for users by raw id, string `[batch]`; an unknown user gets no items."""
        positions = self.user_positions.lookup(user)
        known = tf.maximum(positions, 0)
        history = tf.RaggedTensor.from_row_splits(self.seen, self.seen_splits, validate=False)
        seen = tf.gather(history, known).to_tensor(PAD)
        scores = self.model.score_columns(self.codes, known)
        answer = self.answer(scores, seen)
        is_known = (positions != PAD)[:, None]
        nothing = {"items": UNKNOWN, "titles": UNKNOWN, "scores": tf.float32.min}
        return {k: tf.where(is_known, v, nothing[k]) for k, v in answer.items()}


def make(model: Recommender, data_dir, k: int, titles_file: pathlib.Path) -> TopK:
    """The right kind of `TopK` for the model's rows."""
    kind = UserTopK if model.info.rows == "item" else TopK
    return kind(model, data_dir, k, titles_file)


def without_repeats(positions: tf.Tensor) -> tf.Tensor:
    """int32 `[batch, length]` with all but the first of equal positions in a row padded."""
    order = tf.argsort(positions, axis=1, stable=True)
    ordered = tf.gather(positions, order, batch_dims=1)
    repeated = tf.concat(
        [tf.zeros_like(ordered[:, :1], tf.bool), ordered[:, 1:] == ordered[:, :-1]], axis=1
    )
    back = tf.argsort(order, axis=1)
    return tf.where(tf.gather(repeated, back, batch_dims=1), PAD, positions)


def position_table(path: pathlib.Path) -> tf.lookup.StaticHashTable:
    """Raw id -> position (its line in `path`), -1 for others."""
    lines = tf.lookup.TextFileInitializer(
        str(path), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    return Int32Table(lines)


def line_table(path: pathlib.Path) -> tf.lookup.StaticHashTable:
    """Position -> the line of `path`, "" for others."""
    lines = tf.lookup.TextFileInitializer(
        str(path), tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
    )  # fmt: skip
    return tf.lookup.StaticHashTable(lines, UNKNOWN)


class Int32Table(tf.lookup.StaticHashTable):
    """A table that counts lines in int64, as TensorFlow demands, and answers in int32."""

    def __init__(self, initializer):
        super().__init__(initializer, PAD)

    def lookup(self, keys, name=None):
        return tf.cast(super().lookup(keys, name), tf.int32)


def write_titles(data_dir: pathlib.Path, path: pathlib.Path) -> None:
    """Writes the items' titles in vocabulary order, one a line; empty where unknown."""
    fields = data_dir / ITEM_FIELDS_FILE
    ids = (data_dir / ITEMS_FILE).read_text().splitlines()
    titles = [""] * len(ids)
    if fields.exists():
        frame = pd.read_csv(fields, dtype=str, keep_default_na=False)
        titles = list(frame["title"]) if "title" in frame else titles
    path.write_text("".join(" ".join(t.split()) + "\n" for t in titles))


def encode_items(model: Recommender, data_dir) -> tuple[np.ndarray, tf.RaggedTensor]:
    """One pass over all item rows.

    Returns:
        codes float32 `[n_items, size]`, and each user's items, ragged int32 `[n_users, None]`.
    """
    info = model.info
    empty = model.encode(model.empty_features()).numpy()
    codes = np.repeat(empty, info.n_items, axis=0)
    users, items = [], []
    for features, _ in inputs.histories(data_dir, info, "all", 512, fill=True):
        rows = features["user"].numpy()
        codes[rows[rows >= 0]] = model.encode(features).numpy()[rows >= 0]
        batch_row, column = np.nonzero(features["items"].numpy() >= 0)
        users.append(features["items"].numpy()[batch_row, column])
        items.append(rows[batch_row])
    users, items = np.concatenate(users), np.concatenate(items).astype(np.int32)
    order = np.argsort(users, kind="stable")
    counts = np.bincount(users, minlength=info.n_users)
    return codes, tf.RaggedTensor.from_row_lengths(items[order], counts.astype(np.int64))
