"""Sums of float32 numbers without rounding, so that no order of adding them matters."""

import numpy as np

_BITS = 24  # of a float32's mantissa
_LOWEST = -172  # exponent of the mantissa's last bit, lower than that of every float32
_SLICE = 1 << 22


def total(numbers: np.ndarray) -> int:
    """The sum of float32 numbers `[n]`, in units of 2^-172."""
    found = 0
    for start in range(0, len(numbers), _SLICE):
        mantissa, exponent = np.frexp(numbers[start : start + _SLICE])
        whole = np.ldexp(mantissa, _BITS).astype(np.int64)
        shift = exponent - _BITS - _LOWEST
        # Sums of these weights stay below 2^53, so that float64 holds them.
        by_shift = np.bincount(shift, weights=whole)
        found += sum(int(by_shift[s]) << int(s) for s in np.flatnonzero(by_shift))
    return found


def mean(total: int, n: int) -> float:
    """The mean of n numbers with this total, rounded once; 0 for none."""
    return total / (n << -_LOWEST) if n else 0.0
