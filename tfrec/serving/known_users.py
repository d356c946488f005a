"""The k best items for users by raw id: models with weights for each user."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfrec import ranking
from tfrec.data import inputs, pairs, vocabulary
from tfrec.models import top_items
from tfrec.models.base import Recommender
from tfrec.models.top_items import BLOCK
from tfrec.schema import PAD, USERS_FILE, DatasetInfo
from tfrec.serving import blocks, examples
from tfrec.serving.answers import EXAMPLES, LOWEST, strings, usable
from tfrec.serving.event_scores import EventScores
from tfrec.serving.histories import features, no_lists, without_repeats
from tfrec.serving.tables import UNKNOWN, position_table
from tfrec.serving.top_k import HistoryTopK, TopK


class Users:
    """Users by raw id, and the items that each has rated.

    Args:
        data_dir: The directory of the prepared data.
        info: Of this data.
        pairs: All ratings as positions of users and of items, `[n]` each.
    """

    def __init__(self, data_dir, info: DatasetInfo, pairs: tuple[np.ndarray, np.ndarray]):
        users, items = pairs
        self.file = data_dir / USERS_FILE
        self.positions = position_table(self.file)
        order = np.argsort(users, kind="stable")
        splits = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=info.n_users))])
        self.seen = tf.Variable(items[order].astype(np.int32), trainable=False, name="seen")
        self.seen_splits = tf.Variable(splits, trainable=False, name="seen_splits")

    def seen_by(self, users: tf.Tensor) -> tf.Tensor:
        """Items that users by position have rated, int32 `[batch, longest]`, padding -1."""
        history = tf.RaggedTensor.from_row_splits(self.seen, self.seen_splits, validate=False)
        seen = tf.gather(history, tf.maximum(users, 0)).to_tensor(PAD)
        return tf.where(users[:, None] >= 0, seen, PAD)

    def rows(self, batch_size: int) -> tf.data.Dataset:
        """All users by position, as features `user` int32 `[batch]`."""
        n = self.seen_splits.shape[0] - 1
        return (
            tf.data.Dataset.range(n, output_type=tf.int32)
            .batch(batch_size)
            .map(lambda users: {"user": users})
        )

    def samples(self) -> dict[str, np.ndarray]:
        """Raw ids of the first users, and an unknown one."""
        ids = vocabulary.read(self.file)
        users = [*(ids[row % len(ids)] for row in range(EXAMPLES)), "no such user"]
        return {"user": np.array(users)}


class UserTopK(TopK):
    """The k best items for users by raw id, without those that they have rated.

    A subclass implements `scores`. Many scores are computed by blocks of items (`top_items`); if
    all rows of a request have `allow`, only those items are scored.

    Args:
        model: A trained model.
        data_dir: The directory of its prepared data.
        k: As for `TopK`.
        titles_file: As for `TopK`.
        pairs: As for `Users`.
        block: As for `top_items.best`.
    """

    kind = "user"

    def __init__(self, model, data_dir, k, titles_file, pairs, block: int | None = None):
        super().__init__(model, data_dir, k, titles_file)
        self.users, self.block = Users(self.data_dir, model.info, pairs), block
        self.add_all(strings("user"))

    def scores(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Scores `[batch, n]` of users by position, `[batch]` (-1: unknown), and items, `[n]`."""
        raise NotImplementedError

    def all_scores(self, users: tf.Tensor) -> tf.Tensor:
        """`scores` of all items."""
        return self.scores(users, tf.range(self.model.info.n_items))

    def pair_scores(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Scores `[batch, m]` of users by position, `[batch]`, and items of each, `[batch, m]`."""
        unique, index = tf.unique(tf.reshape(items, [-1]))
        index = tf.reshape(index, tf.shape(items))
        return tf.gather(self.scores(users, tf.maximum(unique, 0)), index, batch_dims=1)

    def recommend(self, user, exclude, allow) -> dict[str, tf.Tensor]:
        """Top k for users by raw id.

        Args:
            user: string `[batch]`.
            exclude: As for `HistoryTopK.recommend`.
            allow: As for `HistoryTopK.recommend`.

        Returns:
            As `HistoryTopK.recommend`.
        """
        users = self.users.positions.lookup(user)
        seen = self.excluded(self.users.seen_by(users), exclude)
        return self.with_ids(*self.top(users, seen, self.allowed(allow)))

    def top(self, users, seen, allowed=None) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best items for users by position."""
        history = self.users.seen_by(users)
        if allowed is None:
            found = self._top_of_all(users, history, seen)
        else:
            found = tf.cond(
                tf.reduce_all(ranking.is_limited(allowed)),
                lambda: self._top_of_allowed(users, history, seen, allowed),
                lambda: self._top_of_all(users, history, seen, allowed),
            )
        return self.shown(*found)

    def _top_of_allowed(self, users, history, seen, allowed) -> tuple[tf.Tensor, tf.Tensor]:
        """`top` if each row has `allow`."""
        n = self.model.info.n_items
        items = without_repeats(tf.where(allowed < n, allowed, PAD))
        scores = self.pair_scores(users, items)
        order = self.model.list_order(scores, history, items=tf.maximum(items, 0))
        return ranking.top_k_of(scores, items, seen, self.k, n, order)

    def _top_of_all(self, users, history, seen, allowed=None) -> tuple[tf.Tensor, tf.Tensor]:
        def score(items=None):
            return self.all_scores(users) if items is None else self.scores(users, items)

        def order(scores, items=None):
            return self.model.list_order(scores, history, items=items)

        n = self.model.info.n_items
        return top_items.best(score, order, n, seen, self.k, allowed, self.block)

    def rows(self, batch_size):
        return self.users.rows(batch_size)

    def top_of(self, row):
        return self.top(row["user"], self.users.seen_by(row["user"]))

    def recommend_all(self, user) -> dict[str, tf.Tensor]:
        """`recommend` without `exclude` and `allow`."""
        return self.call("recommend", user=user, **no_lists(user))

    def rate(self, user, candidates) -> dict[str, tf.Tensor]:
        """Predictions for `candidates`, string `[batch, n]`, as scores `[batch, n]`."""
        scores = self.scores(self.users.positions.lookup(user), tf.range(self.model.info.n_items))
        return self.of_candidates(scores, candidates)

    def recommend_example(self, inputs) -> dict[str, tf.Tensor]:
        """`recommend` for serialized Examples, string `[batch]`."""
        lists = examples.parse(inputs, dict.fromkeys(["user", "exclude", "allow"], tf.string))
        user = examples.single(lists.pop("user"))
        return self.call("recommend", user=user, **{n: examples.dense(x) for n, x in lists.items()})

    def rate_example(self, inputs) -> dict[str, tf.Tensor]:
        """`rate` for each Example's `user` and `candidates`; see `TopK.rated`."""
        lists = examples.parse(inputs, dict.fromkeys(["user", "candidates"], tf.string))
        return self.rated(lists["candidates"], user=examples.single(lists["user"]))

    def regress(self, inputs) -> dict[str, tf.Tensor]:
        """Predictions for `user` and `item` of Examples, in the format of TF Serving's Regress."""
        event = examples.parse_singles(inputs, dict.fromkeys(["user", "item"], tf.string))
        rated = self.call("rate", user=event["user"], candidates=event["item"][:, tf.newaxis])
        return {"outputs": rated["scores"][:, 0]}

    def samples(self):
        return self.item_samples() | self.users.samples()

    def tables(self):
        return [*super().tables(), self.users.positions]


class ItemRowTopK(UserTopK):
    """For models whose rows are items (I-AutoRec); an unknown user gets popular items.

    Such a model has weights for each user and cannot score new histories; for serving it needs
    the codes of the items and the weights of the users.
    """

    def __init__(self, model, data_dir, k, titles_file, with_ratings=True, **options):
        codes, *rated = encode_items(model, data_dir if with_ratings else None)
        super().__init__(model, data_dir, k, titles_file, rated, **options)
        self.codes = tf.Variable(codes, trainable=False, name="codes")

    def scores(self, users, items):
        codes = tf.gather(self.codes, items)
        scores = usable(self.model.score_columns(codes, tf.maximum(users, 0)))
        return tf.where(users[:, None] >= 0, scores, self.model.info.rating_mean)


class EventTopK(UserTopK):
    """For models of events, which know users by id; an unknown user gets popular items.

    The signature `score` takes single events with the context that the model reads.
    """

    def __init__(self, model, data_dir, k, titles_file, with_ratings=True, **options):
        rated = pairs.read_all(data_dir, model.info, "all") if with_ratings else NO_PAIRS
        super().__init__(model, data_dir, k, titles_file, rated, **options)
        self.scorer = EventScores(model, data_dir)
        self.signatures |= {
            name: function
            for name, function in self.scorer.signatures.items()
            if name != "serving_default"
        }

    def scores(self, users, items):
        return self.score_of({"user": users}, items)

    def all_scores(self, users):
        return self.score_of({"user": users})

    def pair_scores(self, users, items, context=None):
        """As in `UserTopK`, with context features `[batch]` by name; default unknown."""
        context, n = context or {}, tf.shape(items)[1]
        flat = [tf.repeat(x, n) for x in (users, *context.values())] + [tf.reshape(items, [-1])]

        def score(users, *more):
            *known, items = more
            event = {"user": users, "item": items, **dict(zip(context, known, strict=True))}
            return [self.score_of(self.model.empty_features(tf.size(users)) | event)]

        (scores,) = blocks.by_rows(score, flat, BLOCK, [tf.float32])
        return tf.reshape(scores, tf.shape(items))

    def rate(self, user, candidates):
        users, items = self.users.positions.lookup(user), self.positions.lookup(candidates)
        scores = self.predictions(self.pair_scores(users, items))
        return {"scores": tf.where(candidates != UNKNOWN, scores, LOWEST)}

    def samples(self):
        return super().samples() | self.scorer.samples()

    def tables(self):
        return [*super().tables(), *self.scorer.tables()]


class KnownHistoryTopK(HistoryTopK):
    """For models that score any history, and also have weights for known users (CDAE).

    `recommend_user` takes users by raw id and scores their stored histories; an unknown user gets
    popular items, like an empty history.
    """

    def __init__(self, model, data_dir, k, titles_file, with_ratings=True):
        super().__init__(model, data_dir, k, titles_file)
        rated = pairs.read_all(data_dir, model.info, "all") if with_ratings else NO_PAIRS
        self.users = Users(self.data_dir, model.info, rated)
        self.add("recommend_user", self.recommend_user, strings("user"))

    def recommend_user(self, user) -> dict[str, tf.Tensor]:
        """Top k for users by raw id, string `[batch]`; all their ratings are taken as 1."""
        return self.with_ids(*self.top_of({"user": self.users.positions.lookup(user)}))

    def rows(self, batch_size):
        return self.users.rows(batch_size)

    def top_of(self, row):
        seen = self.users.seen_by(row["user"])
        known = features(seen, tf.ones_like(seen, tf.float32)) | row
        return self.best(self.score_of(known), seen, seen)

    def samples(self):
        return super().samples() | self.users.samples()

    def tables(self):
        return [*super().tables(), self.users.positions]


NO_PAIRS = np.zeros(0, np.int32), np.zeros(0, np.int32)


def encode_items(model: Recommender, data_dir) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encodes all item rows in one pass; without `data_dir`, rows without ratings.

    Returns:
        codes, float32 `[n_items, size]`, and all ratings as positions of users and items, `[n]`
        each.
    """
    if data_dir is None:
        return model.encode_all([]), *NO_PAIRS
    users, items = [], []

    def batches() -> Iterator:
        for batch, targets in inputs.histories(data_dir, model.info, "all", 512, fill=True):
            row, column = np.nonzero(batch["items"].numpy() >= 0)
            users.append(batch["items"].numpy()[row, column])
            items.append(batch["user"].numpy()[row])
            yield batch, targets

    return model.encode_all(batches()), np.concatenate(users), np.concatenate(items)
