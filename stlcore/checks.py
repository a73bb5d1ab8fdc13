"""Checks of numbers, shared by all floors: each refuses in one sentence that names the cause."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

__all__ = ["check_count", "check_number", "check_positive", "check_sequences", "check_share"]


def check_count(name: str, value: int) -> int:
    """Return ``value`` as an int, or say that ``name`` must be a whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1 up, not {value!r}")
    return int(value)


def check_number(name: str, value: float) -> float:
    """Return ``value`` as a float, or say that ``name`` must be a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def check_positive(name: str, value: float) -> float:
    """Return ``value`` as a float, or say that ``name`` must be finite and above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, not {value!r}")
    return float(value)


def check_share(share, name: str = "the share") -> np.ndarray:
    """Return one share or many as floats, or say that ``name`` must lie in [0, 1]."""
    share = np.asarray(share, dtype=float)
    outside = share[~((share >= 0) & (share <= 1))]
    if outside.size:
        raise ValueError(f"{name} must lie in [0, 1], not {outside[0]:g}")
    return share[()]


def check_sequences(shares, sizes) -> tuple[np.ndarray, np.ndarray]:
    """Shares and sizes of every round, broadcast against each other; the rounds come last."""
    shares, sizes = np.broadcast_arrays(
        check_share(shares, "every share"), np.asarray(sizes, dtype=float)
    )
    if shares.ndim == 0 or shares.shape[-1] == 0:
        raise ValueError("shares and sizes must hold at least one round")
    if not np.all(shares[..., 0] == 1):
        raise ValueError("round 1 has real data only, so its share must be 1")
    if not np.all(sizes >= 1):
        raise ValueError("every sample size must be at least 1")
    return shares, sizes
