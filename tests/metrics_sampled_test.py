"""Sampled rankings: who is a candidate, and what chance is worth among them."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec import metrics, ranking
from tfrec.schema import DatasetInfo

N_USERS, N_ITEMS = 3000, 300


@pytest.fixture(scope="module")
def info():
    return DatasetInfo("toy", "toy split", "user", N_USERS, N_ITEMS, n_ratings={"test": 1})


@pytest.fixture(scope="module")
def batch():
    """Each user has seen 20 items and has one target."""
    rng = np.random.default_rng(0)
    items = rng.permuted(np.tile(np.arange(N_ITEMS), (N_USERS, 1)), axis=1)[:, :21]
    users = np.arange(N_USERS, dtype=np.int32)
    features = {"user": users, "items": items[:, :20].astype(np.int32)}
    return features, {"target_items": items[:, 20:].astype(np.int32)}


def candidates(report, batch, scores=None):
    """Bool `[N_USERS, N_ITEMS]`."""
    scores = tf.zeros([N_USERS, N_ITEMS]) if scores is None else scores
    return np.isfinite(report.keep(*batch, scores).numpy())


def measure(report, batch, scores):
    features, targets = batch
    _, top = ranking.top_k(report.keep(*batch, scores), features["items"], report.depth)
    report.update(features, targets, top)
    return report.result()


@pytest.mark.parametrize("sampler", ["uniform", "popularity"])
def test_candidates_are_the_target_and_a_hundred_unseen_items(info, batch, sampler):
    report = metrics.SampledRankingReport(info, sampler, np.arange(1, N_ITEMS + 1))
    features, targets = batch
    found = candidates(report, batch)
    assert (found.sum(axis=1) == 101).all()
    assert np.take_along_axis(found, targets["target_items"], axis=1).all()
    assert not np.take_along_axis(found, features["items"], axis=1).any()


def test_a_constant_scorer_has_its_chance_and_no_more(info, batch):
    report = metrics.SampledRankingReport(info, "uniform", np.ones(N_ITEMS))
    result = measure(report, batch, tf.zeros([N_USERS, N_ITEMS]))
    error = (10 / 101 * 91 / 101 / N_USERS) ** 0.5
    assert result["hr@10"] == pytest.approx(10 / 101, abs=4 * error)
    assert result["n_rows"] == N_USERS


def test_a_perfect_scorer_has_only_hits(info, batch):
    report = metrics.SampledRankingReport(info, "popularity", np.ones(N_ITEMS))
    scores = tf.one_hot(batch[1]["target_items"][:, 0], N_ITEMS)
    assert measure(report, batch, scores)["hr@1"] == 1


def test_draws_follow_popularity(info, batch):
    popularity = np.where(np.arange(N_ITEMS) < 100, 9, 1)
    report = metrics.SampledRankingReport(info, "popularity", popularity, negatives=1)
    drawn = candidates(report, batch)
    np.put_along_axis(drawn, batch[1]["target_items"], False, axis=1)
    # Of the unseen items, a third weighs nine times as much as the others.
    assert drawn[:, :100].sum() / drawn.sum() == pytest.approx(9 / 11, abs=0.03)


def test_unrated_items_are_no_popular_negatives(info, batch):
    popularity = np.where(np.arange(N_ITEMS) < 250, 1, 0)
    report = metrics.SampledRankingReport(info, "popularity", popularity)
    drawn = candidates(report, batch)
    np.put_along_axis(drawn, batch[1]["target_items"], False, axis=1)
    assert not drawn[:, 250:].any()


def test_draws_do_not_depend_on_the_batch_and_do_on_the_seed(info, batch):
    one, other = (
        metrics.SampledRankingReport(info, "uniform", np.ones(N_ITEMS), seed=seed)
        for seed in (0, 1)
    )
    found = candidates(one, batch)
    part = [{k: v[50:60] for k, v in arrays.items()} for arrays in batch]
    alone = np.isfinite(one.keep(*part, tf.zeros([10, N_ITEMS])).numpy())
    np.testing.assert_array_equal(alone, found[50:60])
    assert (candidates(other, batch) != found).any()


def test_the_protocol_says_that_it_is_sampled(info):
    report = metrics.SampledRankingReport(info, "popularity", np.ones(N_ITEMS), seed=3)
    assert "SAMPLED" in report.protocol
    assert "popularity (seed 3)" in report.protocol
    with pytest.raises(ValueError, match="known: uniform, popularity"):
        metrics.SampledRankingReport(info, "popular", np.ones(N_ITEMS))
