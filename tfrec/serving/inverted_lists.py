"""Inverted lists of item vectors for an approximate index, in NumPy.

The inverted file (IVF) of Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor
Search", PAMI 2011, for inner products: spherical k-means with about sqrt(n) clusters, each split
into lists of equal length by halving at the median along its first principal direction. Lists of
equal length need no ragged shapes, and every query reads the same number of items.

Lists are ordered by q . m + SPREAD s |q|, where m is the mean of the list's vectors, s their
spread around it, and the norm |q| weights each coordinate by its standard deviation within lists.
Without s, a list whose best item is far from the mean would be ranked too low.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfrec.schema import PAD

LENGTH = 64  # items per list
SPREAD = 2.0
_SAMPLE = 1 << 17  # vectors used by k-means
_PASSES = 8
_BLOCK = 1 << 14  # vectors compared with the centroids at once
_POWER_STEPS = 5
_LEAST = 1e-12


@dataclasses.dataclass(frozen=True)
class InvertedLists:
    """Lists of items with their keys.

    Attributes:
        items: int32 `[n_lists, length]`, positions of items, each once; padding -1.
        keys: float32 `[n_lists, size + 1]`: means, and SPREAD times the standard deviation. Their
            dot product with a query's vector and its norm is the list's score.
        scale: float32 `[size]`, weights of a query's coordinates in its norm.
    """

    items: np.ndarray
    keys: np.ndarray
    scale: np.ndarray


def build(vectors: np.ndarray, length: int = LENGTH, seed: int = 0) -> InvertedLists:
    """Builds the lists; takes about a minute for a million vectors of size 64.

    Args:
        vectors: float32 `[n, size]`.
        length: Maximum number of items of a list.
        seed: For the sample and the initial centroids.
    """
    rng = np.random.default_rng(seed)
    vectors = vectors - vectors.mean(axis=0)  # the mean does not affect the order of items
    clusters = _clusters(vectors, rng)
    lists = [part for cluster in clusters for part in _split(vectors, cluster, length, rng)]
    items = np.full((len(lists), length), PAD, np.int32)
    for row, members in zip(items, lists, strict=True):
        row[: len(members)] = members
    means = np.stack([vectors[members].mean(axis=0) for members in lists])
    squares = np.stack([vectors[members].var(axis=0) for members in lists])
    scale = np.sqrt(squares.mean(axis=0))
    spread = squares / np.maximum(scale**2, _LEAST)
    keys = np.c_[means, SPREAD * np.sqrt(spread.mean(axis=1))]
    return InvertedLists(items, keys.astype(np.float32), scale.astype(np.float32))


def _clusters(vectors: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Item positions by cluster; spherical k-means on a sample."""
    n = len(vectors)
    directions = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _LEAST)
    sample = directions[np.sort(rng.choice(n, min(n, _SAMPLE), replace=False))]
    centroids = sample[rng.choice(len(sample), max(1, int(n**0.5)), replace=False)]
    for _ in range(_PASSES):
        groups = _by_group(_nearest(sample, centroids), len(centroids))
        for n, members in enumerate(groups):
            if not len(members):
                members = rng.integers(len(sample), size=1)
            total = sample[members].sum(axis=0)
            centroids[n] = total / max(float(np.linalg.norm(total)), _LEAST)
    return _by_group(_nearest(directions, centroids), len(centroids))


def _nearest(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The centroid with the largest dot product, int `[n]`."""
    starts = range(0, len(vectors), _BLOCK)
    return np.concatenate([(vectors[s : s + _BLOCK] @ centroids.T).argmax(1) for s in starts])


def _by_group(group: np.ndarray, n_groups: int) -> list[np.ndarray]:
    """Positions by group."""
    ends = np.cumsum(np.bincount(group, minlength=n_groups))[:-1]
    return np.split(np.argsort(group, kind="stable"), ends)


def _split(
    vectors: np.ndarray, members: np.ndarray, length: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Parts of at most `length` members; all but one are full."""
    if len(members) <= length:
        if len(members):
            yield members
        return
    rows = vectors[members]
    along = rows @ _main_direction(rows - rows.mean(axis=0), rng)
    n_lists = -(-len(members) // length)
    order = np.argpartition(along, n_lists // 2 * length)
    for half in np.split(members[order], [n_lists // 2 * length]):
        yield from _split(vectors, half, length, rng)


def _main_direction(centred: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Approximates the first principal component by power iteration."""
    direction = rng.normal(size=centred.shape[1]).astype(np.float32)
    for _ in range(_POWER_STEPS):
        direction = centred.T @ (centred @ direction)
        direction /= max(float(np.linalg.norm(direction)), _LEAST)
    return direction
