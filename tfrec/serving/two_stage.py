"""Retrieval, filtering and ranking in one graph (`tfrec.export --retrieve=RUN,... --rank=RUN`).

Retrievers return their best candidates among the items that pass the request's filters; a model of
fields scores the candidates with the event's context, and its k best are the answer.
"""

import pathlib
from collections.abc import Sequence

import tensorflow as tf

from tfrec import ranking
from tfrec.models.base import Recommender
from tfrec.schema import ITEMS_FILE, PAD, USERS_FILE
from tfrec.serving import blocks, signatures
from tfrec.serving.answers import EXAMPLES, specs_of, strings
from tfrec.serving.category_filters import filters_of
from tfrec.serving.examples import MISSING
from tfrec.serving.histories import features, without_repeats
from tfrec.serving.known_users import EventTopK, UserTopK
from tfrec.serving.tables import UNKNOWN
from tfrec.serving.top_k import HistoryTopK, TopK

NUMBERS = 1 << 24  # entries that filters read at once, over all rows
NOTE = """
## Two stages

{retrievers} retrieve {candidates:,} candidates each, {ranker} ranks them. Items that the user has
rated, `items` and `exclude` are left out before, and so are those that do not pass the row's
filters: `allow` lists items, `allow_FIELD` categories of which an item must have at least one,
`block_FIELD` categories of which it must have none. A row of `""` sets no filter; a category that
is not in the training data allows no item. The event's own fields can be unknown: `""`, NaN, or 0
for `time`.
"""


def make(
    ranker: Recommender,
    data_dir: str | pathlib.Path,
    k: int,
    titles_file: pathlib.Path,
    retrievers: Sequence[tuple[Recommender, str | pathlib.Path]],
    candidates: int = 200,
) -> "TwoStage":
    """The signatures of retrieval and ranking.

    Args:
        ranker: A trained model of events.
        data_dir: The directory of its prepared data.
        k: Number of items of an answer.
        titles_file: As for `TopK`.
        retrievers: Trained models that retrieve candidates, each with its data directory.
        candidates: Number of candidates of each retriever.

    Raises:
        ValueError: the ranker is not a model of events, a retriever's data has other users or
            items, or there are fewer than k candidates.
    """
    name = type(ranker).__name__
    if ranker.reads != "events" or not ranker.info.has_ids:
        raise ValueError(
            f"--rank: {name} scores no single events of users and items; give a run of a model of "
            "fields, such as deepfm, dcn, fm or bayesianfm"
        )
    if candidates < k:
        raise ValueError(f"--candidates={candidates} are fewer than --k={k} items: give more")
    for model, other in retrievers:
        check_same(pathlib.Path(data_dir), pathlib.Path(other), type(model).__name__)
    tops = [signatures.make(model, other, candidates, titles_file) for model, other in retrievers]
    return TwoStage(EventTopK(ranker, data_dir, k, titles_file), tops, titles_file)


def check_same(data_dir: pathlib.Path, other: pathlib.Path, name: str) -> None:
    """Checks that both data directories have the same users and items.

    Raises:
        ValueError: they differ; names the file.
    """
    for file in (USERS_FILE, ITEMS_FILE):
        if (data_dir / file).read_bytes() != (other / file).read_bytes():
            raise ValueError(
                f"--retrieve: {name} was trained on {other}, the ranker on {data_dir}, and their "
                f"{file} differ; train both on one --data_dir"
            )


class TwoStage(TopK):
    """The k best items by a ranker among the candidates of retrievers.

    Args:
        ranker: The signatures of the ranking model.
        retrievers: The signatures of the retrieval models; their k is the number of candidates.
        titles_file: As for `TopK`.
    """

    kind = "two-stage"

    def __init__(self, ranker: EventTopK, retrievers: Sequence[TopK], titles_file: pathlib.Path):
        super().__init__(ranker.model, ranker.data_dir, ranker.k, titles_file)
        self.ranker, self.retrievers = ranker, tuple(retrievers)
        self.histories = [top for top in retrievers if isinstance(top, HistoryTopK)]
        self.filters = filters_of(ranker.data_dir, ranker.model.info)
        user_inputs = strings("user")
        if self.histories:
            values = tf.TensorSpec([None, None], tf.float32, name="values")
            user_inputs |= strings("items", None) | {"values": values}
        event = specs_of(ranker.signatures["score"])
        self.context = {n: spec for n, spec in event.items() if n in ranker.model.context}
        self.lists = strings("exclude", None) | strings("allow", None)
        for field in self.filters:
            self.lists |= strings(field.allow, None) | strings(field.block, None)
        self.add("serving_default", self.recommend_all, user_inputs)
        self.add("recommend", self.recommend, user_inputs | self.lists | self.context)
        names = " and ".join(type(top.model).__name__ for top in retrievers)
        stages = {"retrievers": names, "candidates": retrievers[0].k}
        self.facts = {"two_stage": stages | {"ranker": type(ranker.model).__name__}}
        self.notes = NOTE.format(**self.facts["two_stage"])

    def recommend_all(self, user, **history) -> dict[str, tf.Tensor]:
        """`recommend` without filters, for an unknown event."""
        n = tf.shape(user)[0]
        no_lists = {name: tf.fill([n, 0], UNKNOWN) for name in self.lists}
        unknown = {
            name: tf.fill([n], tf.constant(MISSING[spec.dtype], spec.dtype))
            for name, spec in self.context.items()
        }
        return self.call("recommend", user=user, **history, **no_lists, **unknown)

    def recommend(self, user, exclude, allow, **more) -> dict[str, tf.Tensor]:
        """Top k for users by raw id.

        Args:
            user: string `[batch]`.
            exclude: As for `HistoryTopK.recommend`.
            allow: As for `HistoryTopK.recommend`.
            **more: `items` and `values` as for `HistoryTopK.recommend`, of any length, if a
                retriever reads histories; `allow_FIELD` and `block_FIELD`, string `[batch, n]`,
                padding ""; the event's own fields, `[batch]`.

        Returns:
            As `HistoryTopK.recommend`.
        """
        users = self.ranker.users.positions.lookup(user)
        history = self._history(users, more)
        known = tf.concat([self.ranker.users.seen_by(users), history["items"]], axis=1)
        known = without_repeats(known)
        seen = self.excluded(known, exclude)
        allowed = self._allowed(allow, more)
        event = {name: more[name] for name in self.context}
        return self.with_ids(*self.ranked(users, history, known, seen, allowed, event))

    def _history(self, users, more) -> dict[str, tf.Tensor]:
        """Features of retrievers that read histories; empty if there are no such retrievers."""
        if not self.histories:
            return features(tf.fill([tf.size(users), 0], PAD), tf.zeros([tf.size(users), 0]))
        positions = without_repeats(self.positions.lookup(more["items"]))
        return features(positions, self.histories[0].ratings(more["values"], positions))

    def _allowed(self, allow: tf.Tensor, more) -> tf.Tensor:
        """Positions of the items that pass a row's filters, as returned by `TopK.allowed`.

        Without filters by category, those of `allow`; else of all items that pass all filters.
        """
        listed = self.allowed(allow)
        rules = [more[name] for field in self.filters for name in (field.allow, field.block)]
        if not rules:
            return listed
        set_any = tf.reduce_any(tf.stack([tf.reduce_any(rule != UNKNOWN) for rule in rules]))
        return tf.cond(set_any, lambda: self._passing(listed, rules), lambda: listed)

    def _passing(self, listed: tf.Tensor, rules: list[tf.Tensor]) -> tf.Tensor:
        n = self.model.info.n_items
        longest = max(field.length for field in self.filters)

        def of_rows(listed, *rules):
            items = tf.range(n)[tf.newaxis]
            every = tf.broadcast_to(items, [tf.shape(listed)[0], n])
            passes = ~ranking.is_limited(listed) | ranking.contains(listed, every)
            for index, field in enumerate(self.filters):
                passes &= field.passes(rules[2 * index], rules[2 * index + 1])
            return [tf.where(passes, items, n)]

        size = max(1, NUMBERS // (n * longest))
        return blocks.by_rows(of_rows, [listed, *rules], size, [tf.int32])[0]

    def ranked(self, users, history, known, seen, allowed, event) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best candidates.

        Args:
            users: int32 `[batch]`, -1 for unknown users.
            history: Features of the histories.
            known: int32 `[batch, any]`, items of the user in the data and in the request.
            seen: int32 `[batch, any]`, positions of items to leave out.
            allowed: int32 `[batch, any]`, as returned by `TopK.allowed`.
            event: The event's own fields by name, `[batch]`, raw.
        """
        found = []
        for top in self.retrievers:
            query = users if isinstance(top, UserTopK) else history
            found.append(top.top(query, seen, allowed)[1])
        candidates = without_repeats(tf.concat(found, axis=1))
        scores = self.ranker.pair_scores(users, candidates, self.ranker.scorer.features(event))
        order = self.model.list_order(scores, known, items=tf.maximum(candidates, 0))
        n = self.model.info.n_items
        return self.shown(*ranking.top_k_of(scores, candidates, seen, self.k, n, order))

    def samples(self):
        found = self.item_samples() | self.ranker.users.samples() | self.ranker.scorer.samples()
        found |= {"user": self.ranker.users.samples()["user"]}
        for top in self.histories:
            history = top.samples()
            found |= {name: history[name] for name in ("items", "values")}
        for field in self.filters:
            found |= field.samples(EXAMPLES + 1)
        return found

    def tables(self):
        parts = [self.ranker, *self.retrievers]
        tables = [table for part in parts for table in part.tables()]
        return [*super().tables(), *tables, *(field.codes for field in self.filters)]
