"""The k best items by an index of inverted lists, all in the graph (`tfrec.export --index=ivf`).

A query reads the `n_probe` lists that promise most and scores their items exactly: an answer's
scores are the model's, its choice of items alone is approximate. What is seen or excluded is left
out as ever; a row of `allow` is scored exactly, and so is a row for which the lists that were read
hold fewer than k items.
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

VECTORS = 1 << 16  # items whose vectors are made at once
BATCH, BATCHES = 32, 32  # queries that choose n_probe and measure it, every other one
DEVIATIONS = 2.0  # of the mean recall, by which it must be above what is asked
MOST = 0.5  # of all lists: an index that reads more is slower than none
NOTE = """
## Index

The best items are found by an approximate index: {n_lists:,} inverted lists of {length} items, of
which a query reads {n_probe:,} ({share:.2%} of the items); those are scored exactly. Measured at
export, on {queries:,} queries other than those that chose these numbers:
**recall@{k} {recall:.4f}** against exact answers ({asked} was asked for). A row of `allow`, and a
row for which the lists that were read hold fewer than {k} items, are scored exactly.
"""


def make(
    model: Recommender,
    data_dir: str | pathlib.Path,
    k: int,
    titles_file: pathlib.Path,
    recall: float = 0.95,
    length: int = inverted_lists.LENGTH,
) -> TopK:
    """What answers for a model whose score is a product, its lists from an index.

    Args:
        model: A trained `Factors`.
        data_dir: Where its data was prepared; its users or histories are the queries by which
            recall is measured.
        k: Items an answer holds.
        titles_file: As for `TopK`.
        recall: Share of the exact k best items to find, mean over queries.
        length: Items of an inverted list.

    Raises:
        ValueError: the model's score is no product, or so many lists would have to be read that
            exact scoring is faster.
    """
    if not 0 < recall <= 1:
        raise ValueError(f"recall={recall} (--recall): give a share, more than 0 and up to 1")
    if not isinstance(model, Factors):
        able = [name for name, cls in MODELS.items() if issubclass(cls, Factors)]
        raise ValueError(
            f"--index=ivf: {type(model).__name__} has no vectors of items whose product with the "
            "query's is the score; use --index=exact, or one of the models that have: "
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
    """Known users' best items by an index."""

    index: Index

    def query(self, row) -> tuple[tf.Tensor, tf.Tensor]:
        """Queries of a batch of `rows`, and what each has seen."""
        history = self.users.seen_by(row["user"])
        return ordered(self.model, self.model.query_vectors(row), history), history

    def top(self, users, seen, allowed=None):
        own = self.model.query_vectors({"user": users})
        queries = ordered(self.model, own, self.users.seen_by(users))
        return self.shown(*best(self.index, queries, own, seen, allowed))


class IndexedHistories(HistoryTopK):
    """Histories' best items by an index."""

    index: Index

    def query(self, row) -> tuple[tf.Tensor, tf.Tensor]:
        """Queries of a batch of `rows`, and what each has seen."""
        own = self.model.query_vectors(row)
        return ordered(self.model, own, row["items"], row["values"]), row["items"]

    def top(self, history, seen, allowed=None):
        own = self.model.query_vectors(history)
        queries = ordered(self.model, own, history["items"], history["values"])
        return self.shown(*best(self.index, queries, own, seen, allowed))


def ordered(model: Recommender, own: tf.Tensor, history, values=None) -> tf.Tensor:
    """Queries of the order of lists: the model's own, and those of its `list_order` behind."""
    added, cold = model.list_order.queries(history, values)
    return tf.concat([tf.where(cold, 0.0, own), added], axis=1)


def best(index: Index, queries, own, seen, allowed=None) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores and positions of the best; rows that name any to choose from get those alone.

    Args:
        index: Of the vectors that lists are ordered by.
        queries: As `ordered` gives them.
        own: The model's, whose products are the scores.
        seen: As of `Index.search`.
        allowed: int32 `[batch, any]`, padding -1; default all.
    """
    top = _positions(index, queries, seen, allowed)
    return tf.where(top >= 0, index.scores(own, top), -float("inf")), top


def _positions(index: Index, queries, seen, allowed) -> tf.Tensor:
    """Positions of the best, `[batch, k]`."""
    if allowed is None:
        return index.search(queries, seen)[1]
    limited = ranking.is_limited(allowed)

    def mixed():
        return tf.where(limited, named(), free())

    def free():
        return index.search(queries, seen)[1]

    def named():
        return index.of_allowed(queries, seen, allowed)[1]

    return tf.cond(
        tf.reduce_all(limited), named, lambda: tf.cond(tf.reduce_any(limited), mixed, free)
    )


def _index(model: Recommender, k: int, length: int) -> Index:
    """The index of all items; says how long it took."""
    start, n = time.perf_counter(), model.info.n_items
    blocks = (tf.range(s, min(s + VECTORS, n)) for s in range(0, n, VECTORS))
    parts = ((model.candidate_vectors(b), model.list_order.keys(b)) for b in blocks)
    vectors = np.concatenate([tf.concat(part, axis=1).numpy() for part in parts])
    _say(f"index: {n:,} items into inverted lists of {length} ...")
    lists = inverted_lists.build(vectors, length)
    _say(f"index: {len(lists.items):,} lists in {time.perf_counter() - start:.0f} s")
    return Index(vectors, lists, k)


def _queries(top: IndexedUsers | IndexedHistories) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Vectors of known users or histories, spread over all of them, and what they have seen."""
    apart = max(1, top.model.info.n_users // (BATCH * BATCHES))
    for row in top.rows(BATCH).shard(apart, 0).take(BATCHES):
        real = row["user"] >= 0
        yield top.query({name: tf.boolean_mask(x, real) for name, x in row.items()})


def choose(index: Index, batches: list[tuple[tf.Tensor, tf.Tensor]], recall: float) -> int:
    """The fewest lists that a query must read to reach the recall, surely enough.

    Args:
        index: The index.
        batches: Queries and what they have seen, as `Index.search` takes them.
        recall: Of the exact best items, mean over queries.

    Raises:
        ValueError: they are too many for an index to be of use.
    """
    ranks = np.concatenate([_ranks(index, *batch) for batch in batches])
    ranks = ranks[(ranks < index.n_lists).any(axis=1)]  # of queries that have not seen everything
    if not len(ranks):
        raise ValueError(
            "--index=ivf: no known user has an item left to recommend, so recall can not be "
            "measured; use --index=exact"
        )
    n_true = (ranks < index.n_lists).sum(axis=1)
    # By number of lists read: found[p, q] of the exact best items of query q in the first p.
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
    """How many lists come before those of the exact best items, `[batch, k]`; n_lists: none."""
    items = index.exact(queries, seen)[1].numpy()
    order = np.argsort(-index.promise(queries).numpy(), axis=1, kind="stable")
    ranks = np.argsort(order, axis=1)
    lists = index.where.numpy()[items] // index.length
    return np.where(items >= 0, np.take_along_axis(ranks, lists, axis=1), index.n_lists)


def _measured(top: IndexedUsers | IndexedHistories, batches: list, asked: float) -> dict:
    """What the index finds of the exact answers, on queries that did not choose it."""
    index, shares = top.index, []
    for batch in batches:
        found, due = (search(*batch)[1].numpy() for search in (index.search, index.exact))
        hit = (found[:, :, None] == due[:, None, :]).any(axis=1) & (due >= 0)
        n_due = (due >= 0).sum(axis=1)
        shares += (hit.sum(axis=1)[n_due > 0] / n_due[n_due > 0]).tolist()
    recall = float(np.mean(shares)) if shares else float("nan")
    _say(f"index: recall@{index.k} {recall:.4f} on {len(shares):,} other queries")
    return {
        "kind": "ivf", "asked": asked, "recall": recall, "k": index.k, "queries": len(shares),
        "n_probe": index.n_probe, "n_lists": index.n_lists, "length": index.length,
    }  # fmt: skip


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
