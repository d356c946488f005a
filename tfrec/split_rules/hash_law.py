"""Draws by a keyed hash of user and item: the law `hash` of rules that hold out ratings.

A rating's draw follows from the raw ids of its user and item and from the seed, and from nothing
else: neither order, nor other ratings, nor how they are divided among files or processes. All is
arithmetic on unsigned 64-bit integers that no library's version changes:

* id: the first 8 bytes, little endian, of BLAKE2b (RFC 7693; its digest of 8 bytes) of the UTF-8;
* `mix`: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), a step of its sequence and its output;
* pair: mix(mix(user) xor item); draw: mix(mix(pair xor seed) xor stream), its upper 53 bits as a
  number from 0 up to 1.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

LAWS = ("permutation", "hash")
SLICE = 1 << 22  # pairs hashed at once, to hold few of the arrays in between

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), 0x94D049BB133111EB))
_LAST = np.uint64(31)
_UNUSED_BITS = np.uint64(11)  # a float64 holds 53


def of_ids(ids: Iterable[str]) -> np.ndarray:
    """Hashes of raw ids, uint64 `[n]`."""
    digests = (hashlib.blake2b(raw_id.encode(), digest_size=8).digest() for raw_id in ids)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def of_pairs(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Hashes of pairs, uint64 `[n]`, of the hashes of their users and items, uint64 `[n]`."""
    return _mixed(_mixed(users) ^ items)


def uniform(pairs: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """Draws from 0 up to 1, float64 `[n]`.

    Args:
        pairs: As from `of_pairs`.
        seed: The seed.
        stream: Draws of different streams are independent.
    """
    mixed = _mixed(_mixed(pairs ^ np.uint64(seed)) ^ np.uint64(stream))
    return (mixed >> _UNUSED_BITS) * 2.0**-53


def _mixed(x: np.ndarray) -> np.ndarray:
    x = x + _STEP  # of arrays, which wrap around
    for shift, factor in _FACTORS:
        x = (x ^ (x >> shift)) * np.uint64(factor)
    return x ^ (x >> _LAST)
