"""Gibbs sampling for a factorization machine of categorical fields, a whole vector at a time.

Plain NumPy in the style of Salakhutdinov and Mnih, "Bayesian Probabilistic Matrix
Factorization using Markov Chain Monte Carlo", ICML 2008; side information enters as in Simm
et al., "Macau: Scalable Bayesian Factorization with High-Dimensional Side Information using
MCMC", MLSP 2017. The chain is described in `bayesianfm.BayesianFM`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import scipy.sparse
from threadpoolctl import threadpool_limits
from tqdm import tqdm

START = 0.1  # deviation of the vectors before the first sweep


class Ridge:
    """Draws B, `[F, d]`, of rows v = m + x B + e from its posterior.

    e has the precision P, `[d, d]`, and the rows of B, a priori, lambda P; lambda is drawn
    with it. The noise goes into the right-hand side of the ridge regression, which is then
    solved exactly, from one decomposition of the smaller one of X X' and X' X.

    Args:
        x: CSR `[n, F]`.
        size: d.
    """

    def __init__(self, x: scipy.sparse.csr_matrix, size: int):
        self.x, self.strength = x, 1.0
        self.weights = np.zeros((x.shape[1], size))
        self.is_wide = x.shape[1] > x.shape[0]
        gram = (x @ x.T if self.is_wide else x.T @ x).toarray()
        self.eigenvalues, self.eigenvectors = np.linalg.eigh(gram)

    def mean(self) -> np.ndarray:
        """X B, `[n, d]`."""
        return self.x @ self.weights

    def draw(self, rest: np.ndarray, precision: np.ndarray, rng: np.random.Generator) -> None:
        """Draws B and lambda anew; `rest` is v - m, `[n, d]`."""
        factor = np.linalg.cholesky(precision)
        noise, prior = (gaussian(factor, n, rng) for n in self.x.shape)
        self.weights = self._solve(self.x.T @ (rest + noise) + np.sqrt(self.strength) * prior)
        squares = np.sum((self.weights @ precision) * self.weights)
        self.strength = rng.gamma((1 + self.weights.size) / 2) / ((1 + squares) / 2)

    def _solve(self, right: np.ndarray) -> np.ndarray:
        """(X' X + lambda)^-1 times `right`."""
        shrunk = self.eigenvalues[:, None] + self.strength

        def inverse(y: np.ndarray) -> np.ndarray:
            return self.eigenvectors @ ((self.eigenvectors.T @ y) / shrunk)

        if self.is_wide:  # Woodbury
            return (right - self.x.T @ inverse(self.x @ right)) / self.strength
        return inverse(right)


class Entries:
    """The vectors of one field's entries, and their prior.

    A row is a vector with the entry's bias behind it: d = latent + 1 numbers.

    Args:
        codes: int `[N]` in [0, n), the events' entries.
        n: Number of entries.
        x: What the prior's mean is linear in, CSR `[n, F]`, or None.
        latent: Size of the vectors.
        rng: Draws their start.
    """

    def __init__(self, codes: np.ndarray, n: int, x, latent: int, rng: np.random.Generator):
        self.codes = codes
        self.order = np.argsort(codes, kind="stable")
        self.in_order = bool((np.diff(codes) >= 0).all())
        self.ends = np.cumsum(np.bincount(codes, minlength=n))
        self.used = np.flatnonzero(np.bincount(codes, minlength=n))
        self.rows = rng.normal(scale=START, size=(n, latent + 1))
        self.x = x
        self.ridge = None if x is None else Ridge(x[self.used], latent + 1)
        self.mean = np.zeros_like(self.rows)
        self.precision = np.eye(latent + 1)

    def draw_prior(self, rng: np.random.Generator) -> None:
        """Draws mean and precision given the rows, then B given them.

        Entries without events say nothing: only the others count.
        """
        rows, size = self.rows[self.used], self.rows.shape[1]
        rest, scale, degrees = rows, np.eye(size), size + len(rows)
        if self.ridge:
            rest = rows - self.ridge.mean()
            weights = self.ridge.weights
            scale = scale + self.ridge.strength * weights.T @ weights
            degrees += len(weights)
        center = rest.mean(axis=0)
        share = len(rows) / (1 + len(rows))  # the center's prior is worth one row at 0
        scale = scale + (rest - center).T @ (rest - center) + share * np.outer(center, center)
        self.precision = wishart(degrees, np.linalg.inv(scale), rng)
        factor = np.linalg.cholesky(self.precision * (1 + len(rows)))
        center = share * center + gaussian(factor, 1, rng)[0]
        self.mean = np.broadcast_to(center, self.rows.shape)
        if self.ridge:
            self.ridge.draw(rows - center, self.precision, rng)
            self.mean = center + self.x @ self.ridge.weights

    def draw_rows(
        self, z: np.ndarray, y: np.ndarray, noise: float, rng: np.random.Generator
    ) -> None:
        """Draws each entry's row from the regression of its own events.

        Entries without events get the prior's mean, since scores are linear in them.

        Args:
            z: float32 `[N, d]`, what the rows are multiplied with.
            y: float32 `[N]`, what the products shall be.
            noise: Precision of y.
            rng: Draws.
        """
        grams, sums = self._products(z, y)
        right = noise * sums + self.mean[self.used] @ self.precision
        factor = np.linalg.cholesky(noise * grams + self.precision)
        half = np.linalg.solve(factor, right[:, :, None]) + rng.normal(size=(*right.shape, 1))
        self.rows = self.mean.copy()
        self.rows[self.used] = np.linalg.solve(factor.transpose(0, 2, 1), half)[:, :, 0]

    def _products(self, z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Z' Z and y' Z of each used entry's events, `[used, d, d]` and `[used, d]`."""
        if z.shape[1] == 1:
            grams, sums = (
                np.bincount(self.codes, x)[self.used] for x in (z[:, 0] ** 2, z[:, 0] * y)
            )
            return grams[:, None, None], sums[:, None]
        if not self.in_order:
            z, y = z[self.order], y[self.order]
        size = z.shape[1]
        grams, sums = np.zeros((len(self.used), size, size)), np.zeros((len(self.used), size))
        for k, entry in enumerate(self.used):
            own = slice(self.ends[entry - 1] if entry else 0, self.ends[entry])
            grams[k], sums[k] = z[own].T @ z[own], y[own] @ z[own]
        return grams, sums


class Chain:
    """The sampler: `sweep` draws everything once.

    Args:
        fields: What `Entries` takes of each: codes, n, x, latent; latent is the same for all,
            or 0 for a bias alone.
        values: `[N]`, less their mean.
        rng: Draws everything.
    """

    def __init__(self, fields: Sequence[tuple], values: np.ndarray, rng: np.random.Generator):
        order = np.argsort(fields[0][0], kind="stable")  # one field, at least, lies in order
        self.values, self.rng, self.noise = values[order].astype(np.float32), rng, 1.0
        self.fields = [Entries(codes[order], *rest, rng) for codes, *rest in fields]
        self.parts = [self._part(field) for field in self.fields]

    def _part(self, field: Entries) -> np.ndarray:
        """The rows by event, float32 `[N, d]`, or `[N, 1]` of biases alone."""
        return field.rows.astype(np.float32)[field.codes]

    def samples(
        self,
        burn_in: int,
        n: int,
        thin: int,
        done: int = 0,
        between: Callable[[int], object] = lambda done: None,
    ) -> Iterator[int]:
        """Sweeps; yields 0 to n - 1 where the rows are a sample to be kept.

        Args:
            burn_in: Sweeps before the first sample.
            n: Samples.
            thin: Sweeps for each.
            done: Sweeps that the chain has behind it, where it goes on.
            between: Called between two sweeps, and after the last, with the number of those done.
        """
        end = burn_in + n * thin
        words = {"initial": done, "total": end, "leave": False, "disable": None}
        for sweep in tqdm(range(done, end), "sampling", **words):
            if sweep > done:
                between(sweep)
            self.sweep()
            sample, rest = divmod(sweep + 1 - burn_in, thin)
            if sample > 0 and not rest:
                yield sample - 1
        if done < end:
            between(end)

    def state(self) -> dict[str, np.ndarray]:
        """All that the sweeps to come depend on, besides what the chain was made of."""
        generator = json.dumps(self.rng.bit_generator.state)
        found = {"noise": np.array(self.noise), "rng": np.array(generator)}
        for k, field in enumerate(self.fields):
            found[f"rows{k}"] = field.rows
            if field.ridge:
                found[f"weights{k}"] = field.ridge.weights
                found[f"strength{k}"] = np.array(field.ridge.strength)
        return found

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on where another chain, made of the same, had this state."""
        self.noise = float(state["noise"])
        self.rng.bit_generator.state = json.loads(str(state["rng"]))
        for k, field in enumerate(self.fields):
            field.rows = state[f"rows{k}"]
            if field.ridge:
                field.ridge.weights = state[f"weights{k}"]
                field.ridge.strength = float(state[f"strength{k}"])
        self.parts = [self._part(field) for field in self.fields]

    @threadpool_limits.wrap(limits=1, user_api="blas")
    def sweep(self) -> None:
        """Draws prior and rows of each field in turn, then the precision of the noise.

        On one thread, which is faster: the products are many and small.
        """
        for k, field in enumerate(self.fields):
            others = self.parts[:k] + self.parts[k + 1 :]
            z, offset = both(others)
            z[:, -1] = 1.0
            field.draw_prior(self.rng)
            z = z[:, -field.rows.shape[1] :]
            field.draw_rows(z, self.values - offset, self.noise, self.rng)
            self.parts[k] = self._part(field)
        rest = np.square(self.values - both(self.parts)[1], dtype=np.float64).sum()
        self.noise = self.rng.gamma((1 + len(self.values)) / 2) / ((1 + rest) / 2)


def both(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sum of rows `[N, d]`; and `[N]`: all biases, and the vectors' products two by two."""
    first, *others = (part for part in parts if part.shape[1] > 1)
    total, scores = first.copy(), sum(part[:, -1] for part in parts)
    for part in others:
        scores += np.einsum("ij,ij->i", total[:, :-1], part[:, :-1])
        total += part
    return total, scores


def gaussian(factor: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`[n, d]`: rows with mean 0 and the precision L L', L `[d, d]` being its Cholesky factor."""
    return np.linalg.solve(factor.T, rng.normal(size=(len(factor), n))).T


def wishart(degrees: float, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A draw from the Wishart distribution, `[d, d]` (Bartlett's decomposition)."""
    n = len(scale)
    lower = np.tril(rng.normal(size=(n, n)), -1)
    lower[np.diag_indices(n)] = np.sqrt(rng.chisquare(degrees - np.arange(n)))
    root = np.linalg.cholesky(scale) @ lower
    return root @ root.T
