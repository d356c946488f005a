"""Items' vectors as inverted lists: what an approximate index is built of, in NumPy.

The inverted file (IVF) of Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor
Search", PAMI 2011, for inner products: spherical k-means into about sqrt(n) clusters, each cut
into lists of one length by halving at the median along its main direction. Lists of one length are
gathered without ragged shapes, and a query reads the same number of items whatever it asks.

A list is looked up by the mean m of its vectors and by how far they are from it, s: the one whose
q . m + SPREAD s |q| is highest comes first, where |q| weighs each coordinate by the deviation that
items of a list have in it. Without s a list whose best item is far from its mean comes too late.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfrec.schema import PAD

LENGTH = 64  # items of a list
SPREAD = 2.0
_SAMPLE = 1 << 17  # vectors that k-means reads
_PASSES = 8
_BLOCK = 1 << 14  # vectors compared with the centroids at once
_POWER_STEPS = 5
_LEAST = 1e-12


@dataclasses.dataclass(frozen=True)
class InvertedLists:
    """Lists of items, each with what it is looked up by.

    Attributes:
        items: int32 `[n_lists, length]`, positions of items; padding -1, each item once.
        keys: float32 `[n_lists, size + 1]`: means, and SPREAD times the deviation. Their product
            with a query's vector and its norm is what lists are ordered by.
        scale: float32 `[size]`, by which the coordinates of a query weigh in its norm.
    """

    items: np.ndarray
    keys: np.ndarray
    scale: np.ndarray


def build(vectors: np.ndarray, length: int = LENGTH, seed: int = 0) -> InvertedLists:
    """Puts vectors into lists; takes about a minute for a million of 64 numbers.

    Args:
        vectors: float32 `[n, size]`.
        length: Most items of a list.
        seed: Draws the sample and the first centroids.
    """
    rng = np.random.default_rng(seed)
    vectors = vectors - vectors.mean(axis=0)  # what all items share moves no item before another
    clusters = _clusters(vectors, rng)
    lists = [part for cluster in clusters for part in _cut(vectors, cluster, length, rng)]
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
    """Positions by cluster, of spherical k-means on a sample."""
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
    """The centroid of the largest product, int `[n]`."""
    starts = range(0, len(vectors), _BLOCK)
    return np.concatenate([(vectors[s : s + _BLOCK] @ centroids.T).argmax(1) for s in starts])


def _by_group(group: np.ndarray, n_groups: int) -> list[np.ndarray]:
    """Positions by group."""
    ends = np.cumsum(np.bincount(group, minlength=n_groups))[:-1]
    return np.split(np.argsort(group, kind="stable"), ends)


def _cut(
    vectors: np.ndarray, members: np.ndarray, length: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Parts of at most `length` members, all but one of them full."""
    if len(members) <= length:
        if len(members):
            yield members
        return
    rows = vectors[members]
    along = rows @ _main_direction(rows - rows.mean(axis=0), rng)
    n_lists = -(-len(members) // length)
    order = np.argpartition(along, n_lists // 2 * length)
    for half in np.split(members[order], [n_lists // 2 * length]):
        yield from _cut(vectors, half, length, rng)


def _main_direction(centred: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """About the first principal component, by power iteration."""
    direction = rng.normal(size=centred.shape[1]).astype(np.float32)
    for _ in range(_POWER_STEPS):
        direction = centred.T @ (centred @ direction)
        direction /= max(float(np.linalg.norm(direction)), _LEAST)
    return direction
