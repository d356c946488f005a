"""The k best items for users by raw id: models that have weights of each user."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfrec import ranking
from tfrec.data import inputs, pairs, vocabulary
from tfrec.models.base import Recommender
from tfrec.schema import PAD, USERS_FILE, DatasetInfo
from tfrec.serving import blocks, examples
from tfrec.serving.answers import EXAMPLES, LOWEST, strings, usable
from tfrec.serving.event_scores import EventScores
from tfrec.serving.histories import features, no_lists, without_repeats
from tfrec.serving.tables import UNKNOWN, position_table
from tfrec.serving.top_k import HistoryTopK, TopK

BLOCK = 1 << 16  # items scored at once
ROWS = 64  # in a request of as many rows; of more rows fewer items


class Users:
    """Users by raw id, and what each has rated.

    Args:
        data_dir: Where the data was prepared.
        info: Its info.
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
        """What users by position have rated, int32 `[batch, longest]`, padding -1."""
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
        """Raw ids of the first users, and one of nobody."""
        ids = vocabulary.read(self.file)
        users = [*(ids[row % len(ids)] for row in range(EXAMPLES)), "no such user"]
        return {"user": np.array(users)}


class UserTopK(TopK):
    """The k best items for users by raw id, what they have rated struck out.

    A subclass says in `scores` what it thinks of items for users by position. Where they are more
    than `ROWS` blocks hold they are made block by block, so that memory is bounded; where all rows
    of a request name items to choose from, only those are scored.

    Args:
        model: A trained model.
        data_dir: Where its data was prepared.
        k: As for `TopK`.
        titles_file: As for `TopK`.
        pairs: As for `Users`.
        block: How many items are scored at once, for a request of `ROWS` rows.
    """

    kind = "user"

    def __init__(self, model, data_dir, k, titles_file, pairs, block: int = BLOCK):
        super().__init__(model, data_dir, k, titles_file)
        self.users, self.block = Users(self.data_dir, model.info, pairs), block
        self.add_all(strings("user"))

    def scores(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Positions `[batch]` (-1: unknown) and `[n]` -> `[batch, n]`."""
        raise NotImplementedError

    def all_scores(self, users: tf.Tensor) -> tf.Tensor:
        """`scores` of all items."""
        return self.scores(users, tf.range(self.model.info.n_items))

    def pair_scores(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Positions `[batch]` and `[batch, m]`, each row its own items -> `[batch, m]`."""
        some, places = tf.unique(tf.reshape(items, [-1]))
        places = tf.reshape(places, tf.shape(items))
        return tf.gather(self.scores(users, tf.maximum(some, 0)), places, batch_dims=1)

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
        seen = self.struck_out(self.users.seen_by(users), exclude)
        return self.named(*self.top(users, seen, self.allowed(allow)))

    def top(self, users, seen, allowed=None) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best, of users by position."""
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
        """`top` where each row names items to choose from."""
        n = self.model.info.n_items
        items = without_repeats(tf.where(allowed < n, allowed, PAD))
        scores = self.pair_scores(users, items)
        order = self.model.list_order(scores, history, items=tf.maximum(items, 0))
        return ranking.top_k_of(scores, items, seen, self.k, n, order)

    def _top_of_all(self, users, history, seen, allowed=None) -> tuple[tf.Tensor, tf.Tensor]:
        n, batch = self.model.info.n_items, tf.shape(users)[0]

        def order(scores, items=None):
            return self.model.list_order(scores, history, items=items)

        def at_once():
            scores = self.all_scores(users)
            return ranking.top_k(scores, seen, self.k, allowed, order(scores))

        def by_blocks():
            return ranking.top_k_by_blocks(
                lambda items: self.scores(users, items),
                *(n, seen, self.k, tf.maximum(1, ROWS * self.block // batch), allowed),
                order=order,
            )

        if n <= self.block:
            return at_once()
        return tf.cond(batch <= ROWS * self.block // n, at_once, by_blocks)

    def rows(self, batch_size):
        return self.users.rows(batch_size)

    def top_of(self, row):
        return self.top(row["user"], self.users.seen_by(row["user"]))

    def recommend_all(self, user) -> dict[str, tf.Tensor]:
        """`recommend` without lists."""
        return self.call("recommend", user=user, **no_lists(user))

    def rate(self, user, candidates) -> dict[str, tf.Tensor]:
        """What the model thinks of `candidates`, string `[batch, n]`: scores `[batch, n]`."""
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
        """The rating of each Example's `user` and `item`, as a server's Regress wants it."""
        told = examples.parse_singles(inputs, dict.fromkeys(["user", "item"], tf.string))
        rated = self.call("rate", user=told["user"], candidates=told["item"][:, tf.newaxis])
        return {"outputs": rated["scores"][:, 0]}

    def samples(self):
        return self.item_samples() | self.users.samples()

    def tables(self):
        return [*super().tables(), self.users.positions]


class ItemRowTopK(UserTopK):
    """For models whose rows are items (I-AutoRec); an unknown user gets popular items.

    Such a model has weights for each user and can not score a history it was not trained
    on; what it needs at serving are the items' codes and the users' weights.
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

    `score` answers for single events, with the context that the model reads.
    """

    def __init__(self, model, data_dir, k, titles_file, with_ratings=True, **options):
        rated = pairs.read_all(data_dir, model.info, "all") if with_ratings else NOTHING
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
        """As of `UserTopK`, with features `[batch]` of the context by name; default unknown."""
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
    """For models that score any history, and know some users' better (CDAE).

    `recommend_user` answers for users by raw id from their stored histories; an unknown one
    gets popular items, as an empty history does.
    """

    def __init__(self, model, data_dir, k, titles_file, with_ratings=True):
        super().__init__(model, data_dir, k, titles_file)
        rated = pairs.read_all(data_dir, model.info, "all") if with_ratings else NOTHING
        self.users = Users(self.data_dir, model.info, rated)
        self.add("recommend_user", self.recommend_user, strings("user"))

    def recommend_user(self, user) -> dict[str, tf.Tensor]:
        """Top k for users by raw id, string `[batch]`; all their ratings count as 1."""
        return self.named(*self.top_of({"user": self.users.positions.lookup(user)}))

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


NOTHING = np.zeros(0, np.int32), np.zeros(0, np.int32)


def encode_items(model: Recommender, data_dir) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One pass over all item rows; without a `data_dir` as if none had a rating.

    Returns:
        codes float32 `[n_items, size]`, then all ratings as positions of users and items.
    """
    if data_dir is None:
        return model.encode_all([]), *NOTHING
    users, items = [], []

    def batches() -> Iterator:
        for batch, targets in inputs.histories(data_dir, model.info, "all", 512, fill=True):
            row, column = np.nonzero(batch["items"].numpy() >= 0)
            users.append(batch["items"].numpy()[row, column])
            items.append(batch["user"].numpy()[row])
            yield batch, targets

    return model.encode_all(batches()), np.concatenate(users), np.concatenate(items)
