"""Blocked Gibbs sampling for a factorization machine of categorical fields.

Plain NumPy in the style of Salakhutdinov and Mnih, "Bayesian Probabilistic Matrix
Factorization using Markov Chain Monte Carlo", ICML 2008; side information enters as in Simm
et al., "Macau: Scalable Bayesian Factorization with High-Dimensional Side Information using
MCMC", MLSP 2017. `bayesianfm.BayesianFM` describes the model and the chain.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import scipy.sparse
from threadpoolctl import threadpool_limits
from tqdm import tqdm

START = 0.1  # standard deviation of the initial vectors


class Ridge:
    """Samples B, `[F, d]`, of rows v = m + x B + e from its posterior.

    e has the precision P, `[d, d]`; the prior of the rows of B has the precision lambda P, with
    lambda sampled, too. Noise is added to the right-hand side of the ridge regression, which is
    then solved exactly, by one eigendecomposition of the smaller of X X' and X' X.

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
        """Samples B, then lambda; `rest` is v - m, `[n, d]`."""
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
    """The parameters of one field's entries, and their prior.

    A row is the vector of an entry followed by its bias: d = latent + 1 values.

    Args:
        codes: The entry of each event, int `[N]` in [0, n).
        n: Number of entries.
        x: Features of the entries, in which the prior's mean is linear, CSR `[n, F]`, or None.
        latent: Size of the vectors.
        rng: Random generator of their initial values.
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
        """Samples mean and precision given the rows, then B.

        Only entries with events are used.
        """
        rows, size = self.rows[self.used], self.rows.shape[1]
        rest, scale, degrees = rows, np.eye(size), size + len(rows)
        if self.ridge:
            rest = rows - self.ridge.mean()
            weights = self.ridge.weights
            scale = scale + self.ridge.strength * weights.T @ weights
            degrees += len(weights)
        center = rest.mean(axis=0)
        share = len(rows) / (1 + len(rows))  # the prior of the center counts as one row at 0
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
        """Samples each entry's row from the posterior of the regression of y on z of its events.

        Entries without events get the prior's mean, in which scores are linear.

        Args:
            z: Regressors of the events, float32 `[N, d]`.
            y: Targets of the events, float32 `[N]`.
            noise: Precision of y.
            rng: Random generator.
        """
        grams, sums = self._products(z, y)
        right = noise * sums + self.mean[self.used] @ self.precision
        factor = np.linalg.cholesky(noise * grams + self.precision)
        half = np.linalg.solve(factor, right[:, :, None]) + rng.normal(size=(*right.shape, 1))
        self.rows = self.mean.copy()
        self.rows[self.used] = np.linalg.solve(factor.transpose(0, 2, 1), half)[:, :, 0]

    def _products(self, z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Z' Z and y' Z of the events of each used entry, `[used, d, d]` and `[used, d]`."""
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
    """The Markov chain; `sweep` samples all parameters once.

    Args:
        fields: Arguments of `Entries` for each field: codes, n, x and latent, which is the same for
            all, or 0 for a field with biases only.
        values: Centred ratings, `[N]`.
        rng: Random generator.
    """

    def __init__(self, fields: Sequence[tuple], values: np.ndarray, rng: np.random.Generator):
        order = np.argsort(fields[0][0], kind="stable")  # sorts the first field's entries
        self.values, self.rng, self.noise = values[order].astype(np.float32), rng, 1.0
        self.fields = [Entries(codes[order], *rest, rng) for codes, *rest in fields]
        self.parts = [self._part(field) for field in self.fields]

    def _part(self, field: Entries) -> np.ndarray:
        """A field's row for each event, float32 `[N, d]`, or `[N, 1]` for biases only."""
        return field.rows.astype(np.float32)[field.codes]

    def samples(
        self,
        burn_in: int,
        n: int,
        thin: int,
        done: int = 0,
        after_sweep: Callable[[int], object] = lambda done: None,
    ) -> Iterator[int]:
        """Runs the chain; yields 0 to n - 1 when the rows are a sample to keep.

        Args:
            burn_in: Sweeps before the first sample.
            n: Number of samples.
            thin: Sweeps for each sample.
            done: Sweeps already done, if the chain was restored.
            after_sweep: Called after each sweep, once its sample is taken, with the number of
                sweeps done.
        """
        end = burn_in + n * thin
        sweeps = range(done, end)
        for sweep in tqdm(sweeps, "sampling", end, initial=done, leave=False, disable=None):
            if sweep > done:
                after_sweep(sweep)
            self.sweep()
            sample, rest = divmod(sweep + 1 - burn_in, thin)
            if sample > 0 and not rest:
                yield sample - 1
        if done < end:
            after_sweep(end)

    def state(self) -> dict[str, np.ndarray]:
        """The state of the chain, without the arguments that it was made with."""
        generator = json.dumps(self.rng.bit_generator.state)
        found = {"noise": np.array(self.noise), "rng": np.array(generator)}
        for k, field in enumerate(self.fields):
            found[f"rows{k}"] = field.rows
            if field.ridge:
                found[f"weights{k}"] = field.ridge.weights
                found[f"strength{k}"] = np.array(field.ridge.strength)
        return found

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores the state of a chain that was made with the same arguments."""
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
        """Samples prior and rows of each field, then the precision of the noise.

        BLAS runs on one thread, which is faster for many small products.
        """
        for k, field in enumerate(self.fields):
            others = self.parts[:k] + self.parts[k + 1 :]
            z, offset = pair_sums(others)
            z[:, -1] = 1.0
            field.draw_prior(self.rng)
            z = z[:, -field.rows.shape[1] :]
            field.draw_rows(z, self.values - offset, self.noise, self.rng)
            self.parts[k] = self._part(field)
        rest = np.square(self.values - pair_sums(self.parts)[1], dtype=np.float64).sum()
        self.noise = self.rng.gamma((1 + len(self.values)) / 2) / ((1 + rest) / 2)


def pair_sums(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sum of rows `[N, d]`, and sum of biases and of dot products of all pairs of vectors `[N]`."""
    first, *others = (part for part in parts if part.shape[1] > 1)
    total, scores = first.copy(), sum(part[:, -1] for part in parts)
    for part in others:
        scores += np.einsum("ij,ij->i", total[:, :-1], part[:, :-1])
        total += part
    return total, scores


def gaussian(factor: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Normal rows `[n, d]` with mean 0 and precision L L', where L is `factor`, `[d, d]`."""
    return np.linalg.solve(factor.T, rng.normal(size=(len(factor), n))).T


def wishart(degrees: float, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sample of the Wishart distribution, `[d, d]`, by Bartlett's decomposition."""
    n = len(scale)
    lower = np.tril(rng.normal(size=(n, n)), -1)
    lower[np.diag_indices(n)] = np.sqrt(rng.chisquare(degrees - np.arange(n)))
    root = np.linalg.cholesky(scale) @ lower
    return root @ root.T
