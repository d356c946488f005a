"""Samples against their posterior distributions."""

import numpy as np
import pytest
import scipy.sparse

from tfrec.models import gibbs

PRECISION = np.array([[2.0, 0.5], [0.5, 1.0]])


def moments(draw, n=4000):
    """Mean and covariance of `draw()`, a vector, over many draws."""
    draws = np.array([draw() for _ in range(n)])
    return draws.mean(0), np.cov(draws.T)


def test_pairs_and_biases_of_the_worked_example():
    """Vectors (1, 2), (3, -1), (0, 2): 1 + 4 - 2 = 3; biases .5 - 1 + .25."""
    rows = ([8], [1, 2, 0.5], [3, -1, -1], [0, 2, 0.25])
    parts = [np.array([row], np.float32) for row in rows]
    total, score = gibbs.pair_sums(parts[1:])
    np.testing.assert_allclose(total, [[4, 3, -0.25]])
    np.testing.assert_allclose(score, [2.75])
    np.testing.assert_allclose(gibbs.pair_sums(parts)[1], [10.75])
    for part, row in zip(parts, rows):
        np.testing.assert_array_equal(part, [row])


def test_gaussian_has_the_precision():
    rng = np.random.default_rng(0)
    draws = gibbs.gaussian(np.linalg.cholesky(PRECISION), 100_000, rng)
    np.testing.assert_allclose(np.cov(draws.T), np.linalg.inv(PRECISION), atol=0.02)


def test_wishart_has_the_mean():
    rng = np.random.default_rng(0)
    draws = [gibbs.wishart(5.0, PRECISION, rng) for _ in range(20_000)]
    np.testing.assert_allclose(np.mean(draws, axis=0), 5 * PRECISION, rtol=0.03)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_ridge_samples_the_posterior_of_the_weights(shape):
    """Mean (X'X + l)^-1 X' V, covariance (X'X + l)^-1 (x) P^-1."""
    rng = np.random.default_rng(1)
    x, rest = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    ridge = gibbs.Ridge(scipy.sparse.csr_matrix(x), 2)

    def draw():
        ridge.strength = 1.5
        ridge.draw(rest, PRECISION, rng)
        return ridge.weights.ravel()

    mean, covariance = moments(draw)
    inverse = np.linalg.inv(x.T @ x + 1.5 * np.eye(shape[1]))
    np.testing.assert_allclose(mean, (inverse @ x.T @ rest).ravel(), atol=0.06)
    np.testing.assert_allclose(covariance, np.kron(inverse, np.linalg.inv(PRECISION)), atol=0.06)


def test_regularization_is_strong_for_small_weights():
    rng = np.random.default_rng(0)
    x = scipy.sparse.csr_matrix(rng.normal(size=(500, 20)))
    strengths = []
    for size in (0.3, 1.0):
        ridge = gibbs.Ridge(x, 2)
        rest = x @ rng.normal(scale=size, size=(20, 2)) + rng.normal(size=(500, 2))
        for _ in range(20):
            ridge.draw(rest, np.eye(2), rng)
        strengths.append(ridge.strength)
    assert strengths == pytest.approx([11, 1], rel=0.5)


def test_rows_are_sampled_from_the_regression_on_their_events():
    """Entry 0 has three events, entry 2 one, entry 1 none: which has the mean of the prior."""
    rng = np.random.default_rng(2)
    entries = gibbs.Entries(np.array([2, 0, 0, 0]), 3, None, 1, rng)
    z = rng.normal(size=(4, 2)).astype(np.float32)
    y = rng.normal(size=4).astype(np.float32)
    entries.mean, entries.precision = np.array([[0.3, -1.0], [5, 6], [0, 2]]), PRECISION

    def draw():
        entries.draw_rows(z, y, 4.0, rng)
        return entries.rows.ravel()

    mean, covariance = moments(draw)
    np.testing.assert_array_equal(entries.rows[1], [5, 6])
    for entry, own in ((0, slice(1, 4)), (2, slice(0, 1))):
        inverse = np.linalg.inv(4 * z[own].T @ z[own] + PRECISION)
        due = inverse @ (4 * y[own] @ z[own] + entries.mean[entry] @ PRECISION)
        at = slice(2 * entry, 2 * entry + 2)
        np.testing.assert_allclose(mean[at], due, atol=0.05)
        np.testing.assert_allclose(covariance[at, at], inverse, atol=0.05)


def test_the_prior_fits_the_rows():
    """Rows around (1, -2) + x B; entries without events are not used."""
    rng = np.random.default_rng(3)
    n, b = 2000, np.array([[2.0, 0.0]])
    x = rng.normal(size=(n + 500, 1))
    entries = gibbs.Entries(np.arange(n), n + 500, scipy.sparse.csr_matrix(x), 1, rng)
    entries.rows = np.array([1, -2]) + x @ b + rng.normal(size=(n + 500, 2)) * [0.5, 0.1]
    entries.rows[n:] = 100
    for _ in range(10):
        entries.draw_prior(rng)
    np.testing.assert_allclose(entries.ridge.weights, b, atol=0.1)
    np.testing.assert_allclose(entries.mean[n:], [1, -2] + x[n:] @ b, atol=0.5)
    np.testing.assert_allclose(np.linalg.inv(entries.precision), np.diag([0.25, 0.01]), atol=0.05)


def test_the_chain_recovers_noise_and_ratings():
    """Three fields, the last a bias alone; noise of .3."""
    rng = np.random.default_rng(4)
    sizes = (40, 30, 5)
    codes = [rng.integers(n, size=3000) for n in sizes]
    tables = [rng.normal(size=(n, 3)) for n in sizes]
    tables[2] = tables[2][:, 2:]
    clean = gibbs.pair_sums([t[c] for t, c in zip(tables, codes)])[1]
    values = clean + rng.normal(scale=0.3, size=3000)
    known = [code[:2000] for code in codes]
    fields = [(code, n, None, size) for code, n, size in zip(known, sizes, (2, 2, 0))]
    chain = gibbs.Chain(fields, values[:2000], rng)
    total = np.zeros(1000)
    for _ in chain.samples(burn_in=30, n=30, thin=1):
        total += gibbs.pair_sums([f.rows[c[2000:]] for f, c in zip(chain.fields, codes)])[1] / 30
    assert chain.fields[2].rows.shape == (5, 1)
    assert chain.noise**-0.5 == pytest.approx(0.3, abs=0.03)
    assert np.sqrt(np.mean((total - clean[2000:]) ** 2)) < 0.15


def test_a_restored_chain_continues_identically():
    rng = np.random.default_rng(0)
    codes = [rng.integers(n, size=200) for n in (12, 9, 4)]
    side = scipy.sparse.csr_matrix(rng.integers(2, size=(12, 3)).astype(float))
    fields = [(codes[0], 12, side, 2), (codes[1], 9, None, 2), (codes[2], 4, None, 0)]
    values, states = rng.normal(size=200), []
    whole = gibbs.Chain(fields, values, np.random.default_rng(5))
    for _ in whole.samples(2, 3, 2, after_sweep=lambda done: states.append((done, whole.state()))):
        pass
    done, state = states[3]
    other = gibbs.Chain(fields, values, np.random.default_rng(6))
    other.restore(state)
    assert list(other.samples(2, 3, 2, done)) == [1, 2]
    for a, b in zip(whole.fields, other.fields, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
    assert whole.noise == other.noise


def test_samples_are_kept_after_the_burn_in_and_thinned():
    code = np.arange(4) % 2
    chain = gibbs.Chain([(code, 2, None, 1)] * 2, np.ones(4), np.random.default_rng(0))
    sweeps = []
    chain.sweep = lambda: sweeps.append(1)
    assert [(n, len(sweeps)) for n in chain.samples(2, 3, 2)] == [(0, 4), (1, 6), (2, 8)]
    assert len(sweeps) == 8
    sweeps.clear()
    assert [(n, len(sweeps)) for n in chain.samples(0, 2, 1)] == [(0, 1), (1, 2)]
