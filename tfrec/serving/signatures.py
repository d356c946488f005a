"""The function behind recommendations: raw ids in, raw ids out, all in one graph.

`tfrec.recommend` calls it, `tfrec.export` writes it into the SavedModel, TF Serving runs it:
the same function, the same numbers. Only core TensorFlow operations.
"""

import pathlib

import numpy as np
import pandas as pd
import tensorflow as tf

from tfrec import ranking
from tfrec.data import inputs, vocabulary
from tfrec.models.base import Recommender
from tfrec.schema import ITEM_FIELDS_FILE, ITEMS_FILE, PAD, USERS_FILE, DatasetInfo
from tfrec.serving.event_scores import EXAMPLES, EventScores
from tfrec.serving.tables import UNKNOWN, line_table, position_table, tables_of


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
        self.data_dir = data_dir = pathlib.Path(data_dir)
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
        return tables_of(self)

    def endpoints(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """The signatures by name."""
        return {"serving_default": self.recommend}

    def example(self, endpoint: str) -> dict[str, np.ndarray]:
        """A request to `endpoint` made of the data's own rows, and an empty one."""
        del endpoint
        rows = inputs.histories(self.data_dir, self.model.info, "all", EXAMPLES, fill=True)
        features, _ = next(iter(rows))
        items = np.array([*vocabulary.read(self.data_dir / ITEMS_FILE), UNKNOWN])
        empty = np.zeros_like(features["values"][:1])
        return {
            "items": np.concatenate([items[features["items"].numpy()], np.full(empty.shape, "")]),
            "values": np.concatenate([features["values"].numpy(), empty]),
        }

    def ask(self, endpoint: str, request) -> dict[str, tf.Tensor]:
        """Answers a request: a dict of arrays by name, as it is sent to `endpoint`."""
        sent = {name: tf.constant(array) for name, array in request.items()}
        return self.endpoints()[endpoint](**sent)

    def answer(self, scores, seen) -> dict[str, tf.Tensor]:
        """Strikes out the seen items and names the best of the rest.

        A place that no item fills has the lowest finite score: JSON has no infinity.
        """
        scores, top = ranking.top_k(scores, seen, self.k)
        places = tf.cast(top, tf.int64)
        return {
            "items": self.raw_ids.lookup(places),
            "titles": tf.strings.strip(self.titles.lookup(places)),
            "scores": tf.maximum(scores, tf.float32.min),
        }


class UserTopK(TopK):
    """The k best items for users by raw id, what they have rated struck out.

    A subclass says in `scores` what it thinks of all items for users by position, and gives
    `keep_seen` what each user has rated.
    """

    def __init__(self, model, data_dir, k, titles_file):
        super().__init__(model, data_dir, k, titles_file)
        self.user_positions = position_table(pathlib.Path(data_dir) / USERS_FILE)

    def example(self, endpoint):
        users = vocabulary.read(self.data_dir / USERS_FILE)
        return {"user": np.array([*users[:EXAMPLES], "no such user"])}

    def keep_seen(self, users: np.ndarray, items: np.ndarray) -> None:
        """Takes all ratings as pairs of positions, `[n]` each."""
        order = np.argsort(users, kind="stable")
        counts = np.bincount(users, minlength=self.model.info.n_users)
        splits = np.concatenate([[0], np.cumsum(counts)])
        self.seen = tf.Variable(items[order].astype(np.int32), trainable=False, name="seen")
        self.seen_splits = tf.Variable(splits, trainable=False, name="seen_splits")

    def scores(self, users: tf.Tensor) -> tf.Tensor:
        """Positions `[batch]`, -1 for unknown users -> `[batch, n_items]`."""
        raise NotImplementedError

    def seen_by(self, users: tf.Tensor) -> tf.Tensor:
        """What users by position have rated, int32 `[batch, longest]`, padding -1."""
        history = tf.RaggedTensor.from_row_splits(self.seen, self.seen_splits, validate=False)
        seen = tf.gather(history, tf.maximum(users, 0)).to_tensor(PAD)
        return tf.where(users[:, None] >= 0, seen, PAD)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="user")])
    def recommend(self, user) -> dict[str, tf.Tensor]:
        """Top k for users by raw id, string `[batch]`."""
        users = self.user_positions.lookup(user)
        return self.answer(self.scores(users), self.seen_by(users))


class ItemRowTopK(UserTopK):
    """For models whose rows are items (I-AutoRec); an unknown user gets no items.

    Such a model has weights for each user and can not score a history it was not trained
    on; what it needs at serving are the items' codes and the users' weights.
    """

    def __init__(self, model, data_dir, k, titles_file):
        super().__init__(model, data_dir, k, titles_file)
        codes, users, items = encode_items(model, data_dir)
        self.codes = tf.Variable(codes, trainable=False, name="codes")
        self.keep_seen(users, items)

    def scores(self, users):
        scores = self.model.score_columns(self.codes, tf.maximum(users, 0))
        return tf.where(users[:, None] >= 0, scores, -float("inf"))  # never in an answer


class EventTopK(UserTopK):
    """For models of events, which know users by id; an unknown user gets what others like.

    `score` answers for single events, with the context that the model reads.
    """

    def __init__(self, model, data_dir, k, titles_file):
        super().__init__(model, data_dir, k, titles_file)
        self.keep_seen(*stored_pairs(model.info, data_dir))
        self.scorer = EventScores(model, data_dir)

    def scores(self, users):
        return self.model.score({"user": users})

    def endpoints(self):
        return {**super().endpoints(), **self.scorer.endpoints("score")}

    def example(self, endpoint):
        asked = self.scorer if endpoint == "score" else super()
        return asked.example(endpoint)

    def ask(self, endpoint, request):
        asked = self.scorer if endpoint == "score" else super()
        return asked.ask(endpoint, request)

    def tables(self):
        return [*super().tables(), *self.scorer.tables()]


def make(model: Recommender, data_dir, k: int, titles_file: pathlib.Path):
    """What answers for this model: a `TopK`, or `EventScores` where there are no ids."""
    if model.reads == "events":
        if not model.info.has_ids:
            return EventScores(model, data_dir)
        return EventTopK(model, data_dir, k, titles_file)
    kind = ItemRowTopK if model.info.rows == "item" else TopK
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


def write_titles(data_dir: pathlib.Path, path: pathlib.Path) -> None:
    """Writes the items' titles in vocabulary order, one a line; a blank where unknown.

    A table is not read from a file with empty lines.
    """
    fields = data_dir / ITEM_FIELDS_FILE
    ids = (data_dir / ITEMS_FILE).read_text().splitlines()
    titles = [""] * len(ids)
    if fields.exists():
        frame = pd.read_csv(fields, dtype=str, keep_default_na=False)
        titles = list(frame["title"]) if "title" in frame else titles
    path.write_text("".join((" ".join(t.split()) or " ") + "\n" for t in titles))


def stored_pairs(info: DatasetInfo, data_dir) -> tuple[np.ndarray, np.ndarray]:
    """All ratings, as positions of users and of items."""
    batches = inputs.events(data_dir, info, "all", 1 << 16)
    columns = zip(*((f["user"].numpy(), f["item"].numpy()) for f, _ in batches), strict=True)
    users, items = (np.concatenate(column) for column in columns)
    return users[users >= 0], items[users >= 0]


def encode_items(model: Recommender, data_dir) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One pass over all item rows.

    Returns:
        codes float32 `[n_items, size]`, then all ratings as positions of users and items.
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
    return codes, np.concatenate(users), np.concatenate(items)
