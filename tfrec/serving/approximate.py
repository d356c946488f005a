"""The k best items by an index of inverted lists in the graph (`tfrec.export --index=ivf`).

A query reads the `n_probe` lists with the highest list scores and scores their items exactly: the
scores of an answer are the model's, only its choice of items is approximate. Seen and excluded
items are left out as without an index. A row with `allow` is scored exactly, and so is a row for
which the lists that were read hold fewer than k items.
"""

import math
import pathlib
import sys
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfrec import ranking
from tfrec.models.base import Recommender
from tfrec.models.capabilities import Factors
from tfrec.models.registry import MODELS
from tfrec.serving import inverted_lists
from tfrec.serving.index import Index
from tfrec.serving.known_users import EventTopK
from tfrec.serving.top_k import HistoryTopK, TopK

VECTORS = 1 << 16  # items whose vectors are computed at once
BATCH, BATCHES = 32, 32  # of queries: every other batch chooses n_probe, the others measure it
DEVIATIONS = 2.0  # standard errors by which the mean recall must exceed the required one
MOST = 0.5  # of all lists: an index that reads more is slower than exact scoring
NOTE = """
## Index

The best items are found by an approximate index: {n_lists:,} inverted lists of {length} items, of
which a query reads {n_probe:,} ({share:.2%} of the items) and scores their items exactly. Measured
at export, on {queries:,} held-out queries: **recall@{k} {recall:.4f}** against exact answers
(required: {asked}). A row with `allow`, and a row for which the lists that were read hold fewer
than {k} items, are scored exactly.
"""


def make(
    model: Recommender,
    data_dir: str | pathlib.Path,
    k: int,
    titles_file: pathlib.Path,
    recall: float = 0.95,
    length: int = inverted_lists.LENGTH,
) -> TopK:
    """The signatures of a model whose score is a dot product, with an approximate index.

    Args:
        model: A trained `Factors`.
        data_dir: The directory of its prepared data; its users or histories are the queries by
            which recall is measured.
        k: Number of items of an answer.
        titles_file: As for `TopK`.
        recall: The mean share of the exact k best items that queries must find.
        length: Number of items of an inverted list.

    Raises:
        ValueError: the model's score is not a dot product, or so many lists would have to be read
            that exact scoring is faster.
    """
    if not 0 < recall <= 1:
        raise ValueError(f"recall={recall} (--recall): give a share in (0, 1]")
    if not isinstance(model, Factors):
        able = [name for name, cls in MODELS.items() if issubclass(cls, Factors)]
        raise ValueError(
            f"--index=ivf: {type(model).__name__} has no vectors of items whose dot product "
            "with the query's is the score; use --index=exact, or one of the models that have: "
            + ", ".join(able)
        )
    kind = IndexedUsers if model.reads == "events" else IndexedHistories
    top = kind(model, data_dir, k, titles_file)
    top.index = _index(model, top.k, length)
    batches = list(_queries(top))
    top.index.n_probe = choose(top.index, batches[::2], recall)
    top.facts = {"index": _measured(top, batches[1::2], recall)}
    share = top.index.n_probe / top.index.n_lists
    top.notes = NOTE.format(share=share, **top.facts["index"])
    return top


class IndexedUsers(EventTopK):
    """The k best items of known users by an index."""

    index: Index

    def query(self, row) -> tuple[tf.Tensor, tf.Tensor]:
        """Query vectors of a batch of `rows`, and the items that each has seen."""
        history = self.users.seen_by(row["user"])
        return ordered(self.model, self.model.query_vectors(row), history), history

    def top(self, users, seen, allowed=None):
        own = self.model.query_vectors({"user": users})
        queries = ordered(self.model, own, self.users.seen_by(users))
        return self.shown(*best(self.index, queries, own, seen, allowed))


class IndexedHistories(HistoryTopK):
    """The k best items of histories by an index."""

    index: Index

    def query(self, row) -> tuple[tf.Tensor, tf.Tensor]:
        """Query vectors of a batch of `rows`, and the items that each has seen."""
        own = self.model.query_vectors(row)
        return ordered(self.model, own, row["items"], row["values"]), row["items"]

    def top(self, history, seen, allowed=None):
        own = self.model.query_vectors(history)
        queries = ordered(self.model, own, history["items"], history["values"])
        return self.shown(*best(self.index, queries, own, seen, allowed))


def ordered(model: Recommender, own: tf.Tensor, history, values=None) -> tf.Tensor:
    """The model's query vectors, followed by those of its `list_order`."""
    added, cold = model.list_order.queries(history, values)
    return tf.concat([tf.where(cold, 0.0, own), added], axis=1)


def best(index: Index, queries, own, seen, allowed=None) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores and positions of the best items; only allowed ones in rows that have any.

    Args:
        index: Of the vectors by which answers are ordered.
        queries: As returned by `ordered`.
        own: The model's query vectors, whose dot products are the scores.
        seen: As for `Index.search`.
        allowed: int32 `[batch, any]`, padding -1; None: all.
    """
    top = _positions(index, queries, seen, allowed)
    return tf.where(top >= 0, index.scores(own, top), -float("inf")), top


def _positions(index: Index, queries, seen, allowed) -> tf.Tensor:
    """Positions of the best, `[batch, k]`."""
    if allowed is None:
        return index.search(queries, seen)[1]
    limited = ranking.is_limited(allowed)

    def mixed():
        return tf.where(limited, of_allowed(), unlimited())

    def unlimited():
        return index.search(queries, seen)[1]

    def of_allowed():
        return index.of_allowed(queries, seen, allowed)[1]

    return tf.cond(
        tf.reduce_all(limited),
        of_allowed,
        lambda: tf.cond(tf.reduce_any(limited), mixed, unlimited),
    )


def _index(model: Recommender, k: int, length: int) -> Index:
    """The index of all items; prints the time taken."""
    start, n = time.perf_counter(), model.info.n_items
    blocks = (tf.range(s, min(s + VECTORS, n)) for s in range(0, n, VECTORS))
    parts = ((model.candidate_vectors(b), model.list_order.keys(b)) for b in blocks)
    vectors = np.concatenate([tf.concat(part, axis=1).numpy() for part in parts])
    _say(f"index: {n:,} items into inverted lists of {length} ...")
    lists = inverted_lists.build(vectors, length)
    _say(f"index: {len(lists.items):,} lists in {time.perf_counter() - start:.0f} s")
    return Index(vectors, lists, k)


def _queries(top: IndexedUsers | IndexedHistories) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Query vectors of evenly spaced known users or histories, and the items they have seen."""
    apart = max(1, top.model.info.n_users // (BATCH * BATCHES))
    for row in top.rows(BATCH).shard(apart, 0).take(BATCHES):
        real = row["user"] >= 0
        yield top.query({name: tf.boolean_mask(x, real) for name, x in row.items()})


def choose(index: Index, batches: list[tuple[tf.Tensor, tf.Tensor]], recall: float) -> int:
    """The least number of lists that a query must read for the recall, with a safety margin.

    Args:
        index: The index.
        batches: Queries and seen items, as for `Index.search`.
        recall: The mean share of the exact k best items that queries must find.

    Raises:
        ValueError: so many lists that exact scoring is faster.
    """
    ranks = np.concatenate([_ranks(index, *batch) for batch in batches])
    ranks = ranks[(ranks < index.n_lists).any(axis=1)]  # of queries that have not seen everything
    if not len(ranks):
        raise ValueError(
            "--index=ivf: no known user has an item left to recommend, so recall cannot be "
            "measured; use --index=exact"
        )
    n_true = (ranks < index.n_lists).sum(axis=1)
    # found[p - 1, q]: the share of the exact best items of query q in the first p lists.
    most = max(1, int(MOST * index.n_lists))
    found = np.stack([(ranks < p).sum(axis=1) / n_true for p in range(1, most + 1)])
    sure = found.mean(axis=1) - DEVIATIONS * found.std(axis=1) / math.sqrt(len(ranks))
    enough = np.flatnonzero(sure >= recall)
    if not len(enough):
        raise ValueError(
            f"--index=ivf --recall={recall}: half of the lists hold {found[-1].mean():.3f} of the "
            f"{index.k} best items, since the vectors do not cluster; exact scoring is faster: "
            "use --index=exact, or a lower --recall"
        )
    n_probe = max(int(enough[0]) + 1, -(-index.k // index.length))
    _say(f"index: a query reads {n_probe:,} lists, {n_probe / index.n_lists:.2%}")
    return n_probe


def _ranks(index: Index, queries: tf.Tensor, seen: tf.Tensor) -> np.ndarray:
    """Ranks of the lists of the exact best items, `[batch, k]`, from 0; n_lists: no item."""
    items = index.exact(queries, seen)[1].numpy()
    order = np.argsort(-index.list_scores(queries).numpy(), axis=1, kind="stable")
    ranks = np.argsort(order, axis=1)
    lists = index.where.numpy()[items] // index.length
    return np.where(items >= 0, np.take_along_axis(ranks, lists, axis=1), index.n_lists)


def _measured(top: IndexedUsers | IndexedHistories, batches: list, required: float) -> dict:
    """The recall of the index on held-out queries, as the facts of the export."""
    index, shares = top.index, []
    for batch in batches:
        found, due = (search(*batch)[1].numpy() for search in (index.search, index.exact))
        hit = (found[:, :, None] == due[:, None, :]).any(axis=1) & (due >= 0)
        n_due = (due >= 0).sum(axis=1)
        shares += (hit.sum(axis=1)[n_due > 0] / n_due[n_due > 0]).tolist()
    recall = float(np.mean(shares)) if shares else float("nan")
    _say(f"index: recall@{index.k} {recall:.4f} on {len(shares):,} held-out queries")
    return {
        "kind": "ivf", "asked": required, "recall": recall, "k": index.k, "queries": len(shares),
        "n_probe": index.n_probe, "n_lists": index.n_lists, "length": index.length,
    }  # fmt: skip


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
