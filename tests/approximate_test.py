"""An approximate index against exact answers."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from proof_test import outcomes
from proof_test import program as program_fixture
from proof_test import pytestmark as needs_gcc
from random_weights import randomise

from tfrec import ranking
from tfrec.models.registry import MODELS
from tfrec.schema import PAD, DatasetInfo
from tfrec.serving import approximate, export, inverted_lists, signatures
from tfrec.serving.index import Index

program = program_fixture
N, SIZE, K = 3_000, 8, 5


@pytest.fixture(scope="module")
def catalogue():
    """Vectors of items and queries around 30 centres; the last two columns are a bias."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, SIZE))

    def around(n):
        return centres[rng.integers(30, size=n)] + rng.normal(scale=0.3, size=(n, SIZE))

    vectors = np.c_[around(N), np.ones(N), rng.normal(scale=0.1, size=N)]
    queries = np.c_[around(64), np.full(64, 3.5), np.ones(64)]
    seen = rng.integers(-1, N, size=(64, 40))
    return vectors.astype(np.float32), queries.astype(np.float32), seen.astype(np.int32)


@pytest.fixture(scope="module")
def index(catalogue):
    return Index(catalogue[0], inverted_lists.build(catalogue[0], length=16), K)


def batches(catalogue, rows):
    return [tuple(tf.constant(x[rows]) for x in catalogue[1:])]


@pytest.mark.parametrize(("n", "equal"), [(1, False), (15, False), (1_000, False), (300, True)])
def test_each_item_is_in_one_list(n, equal):
    vectors = np.random.default_rng(1).normal(size=(n, 4)).astype(np.float32)
    lists = inverted_lists.build(vectors * (not equal), length=16)
    assert np.sort(lists.items[lists.items != PAD]).tolist() == list(range(n))
    assert len(lists.items) <= -(-n // 16) + n**0.5, "all but one list of a cluster are full"
    assert np.isfinite(lists.keys).all()


def test_few_lists_reach_the_recall_on_other_queries(catalogue, index):
    chosen = approximate.choose(index, batches(catalogue, slice(0, None, 2)), 0.9)
    assert chosen < 0.1 * index.n_lists
    recalls = []
    for index.n_probe in (1, chosen):
        (held,) = batches(catalogue, slice(1, None, 2))
        (_, found), (_, due) = index.search(*held), index.exact(*held)
        recalls.append(np.mean([len({*f} & {*d}) / K for f, d in zip(found.numpy(), due.numpy())]))
    assert recalls[0] < 0.8 < 0.87 < recalls[1] < 1


def test_all_lists_are_exact(catalogue, index):
    """The same items as of a ranking of all scores, though they come in another order."""
    vectors, queries, seen = catalogue
    scores, due = ranking.top_k(queries @ vectors.T, seen, K)
    index.n_probe = index.n_lists
    asked = tf.constant(queries), tf.constant(seen)
    for values, items in (index.probe(*asked), index.exact(*asked)):
        np.testing.assert_array_equal(items, due)
        np.testing.assert_allclose(values, scores, rtol=1e-5)


def test_rows_that_lack_items_or_name_some_are_exact(catalogue, index):
    """Beside others, which keep their own answers."""
    vectors, queries, _ = catalogue
    index.n_probe = 2
    seen = np.full((3, N), PAD, np.int32)
    order = np.argsort(-vectors @ queries[1])
    seen[1, : N - 3] = order[:-3]
    queries = tf.constant(queries[:3])
    _, items = index.search(queries, tf.constant(seen))
    assert items[1].numpy().tolist() == [*order[-3:], PAD, PAD]
    alone = index.search(queries[:1], tf.constant(seen[:1]))
    np.testing.assert_array_equal(items[0], alone[1][0])
    allowed = np.full((3, 6), PAD, np.int32)
    allowed[2] = [7, N, 7, 2_000, PAD, 1]
    _, mixed = approximate.best(index, queries, queries, tf.constant(seen), tf.constant(allowed))
    np.testing.assert_array_equal(mixed[:2], items[:2])
    due = sorted([7, 2_000, 1], key=lambda i: -(vectors[i] @ queries[2].numpy()))
    assert mixed[2].numpy().tolist() == [*due, PAD, PAD]
    _, alone = approximate.best(
        index, queries[2:], queries[2:], tf.constant(seen[2:]), tf.constant(allowed[2:])
    )
    np.testing.assert_array_equal(alone[0], mixed[2])


def test_what_does_not_cluster_is_refused(catalogue):
    vectors = np.random.default_rng(2).normal(size=(N, 64)).astype(np.float32)
    bad = Index(vectors, inverted_lists.build(vectors, length=16), K)
    with pytest.raises(ValueError, match=r"half of the lists hold 0\.\d+ of the 5 best.*exact"):
        approximate.choose(bad, [(tf.constant(vectors[:64]), tf.fill([64, 1], PAD))], 0.99)


def made(name, data_dir, **settings):
    """A model with random weights, whose items have the vectors of ten kinds."""
    cls = MODELS[name]
    model = cls.create(DatasetInfo.load(data_dir), cls.Config(**settings))
    rng = np.random.default_rng(4)
    randomise(model, rng, 0.5)
    table = model.q if name == "mf" else model.table
    kinds = 3 * rng.normal(size=(10, 6))
    table.assign(kinds[np.arange(table.shape[0]) % 10] + rng.normal(scale=0.1, size=table.shape))
    return model


def test_a_model_of_histories_answers_by_an_index(board, tmp_path):
    data_dir, _ = board(likes_only=True)
    model = made("sasrec", data_dir, width=6, window=8)
    top = approximate.make(model, data_dir, 5, tmp_path / "a.txt", recall=0.6, length=4)
    exact = signatures.make(model, data_dir, 5, tmp_path / "b.txt")
    request = exact.example("recommend")
    due, got = (x.ask("recommend", request) for x in (exact, top))
    limited = (request["allow"] != "").any(axis=1)
    assert limited.any() and not limited.all()
    np.testing.assert_array_equal(got["items"][limited], due["items"][limited])
    scores = dict(zip(due["items"].numpy().ravel(), due["scores"].numpy().ravel()))
    for row, items in enumerate(got["items"].numpy()):
        known = {*request["items"][row], *request["exclude"][row]} - {""}
        assert not known & {item.decode() for item in items}
    assert len({*scores} & {*got["items"].numpy().ravel()}) > 5
    assert top.facts["index"]["n_probe"] < top.facts["index"]["n_lists"] / 2


@needs_gcc
def test_an_exported_index_answers_and_says_what_it_finds(program, board, tmp_path):
    data_dir, _ = board(likes_only=True)
    model = made("mf", data_dir, latent=6)
    make, made_once = functools.partial(approximate.make, recall=0.6, length=4), []
    version = export.export(
        model, data_dir, tmp_path / "base", 5, lambda *a: made_once.append(make(*a)) or made_once[0]
    )
    described = json.loads((version / "assets.extra/signatures.json").read_text())["index"]
    assert described["recall"] > 0.5
    assert f"recall@5 {described['recall']:.4f}" in (version / "README.md").read_text()
    (top,) = made_once
    asked = [(name, top.example(name)) for name in ("serving_default", "recommend", "rate")]
    for (name, request), got in zip(asked, outcomes(program, version, asked), strict=True):
        due = top.ask(name, request)
        np.testing.assert_allclose(got["scores"], due["scores"], rtol=1e-4)
        if "items" in due:
            np.testing.assert_array_equal(got["items"], due["items"].numpy().astype("S"))


def test_bad_requests_for_an_index_say_what_to_do(board, tmp_path):
    data_dir, _ = board()
    fm = MODELS["fm"].create(DatasetInfo.load(data_dir))
    with pytest.raises(ValueError, match=r"FM has no vectors of items.*--index=exact.*sasrec.*mf"):
        approximate.make(fm, data_dir, 5, None)
    with pytest.raises(ValueError, match=r"recall=95 \(--recall\): give a share"):
        approximate.make(fm, data_dir, 5, None, recall=95)
    mf = made("mf", data_dir, latent=6)  # of data in which every user has rated every item
    with pytest.raises(ValueError, match="no known user has an item left"):
        approximate.make(mf, data_dir, 5, tmp_path / "titles.txt")
