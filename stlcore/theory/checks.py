"""Checks that several theory modules share."""

from __future__ import annotations

import numpy as np

__all__ = ["check_sequences", "check_share"]


def check_sequences(shares, sizes):
    shares, sizes = np.broadcast_arrays(
        np.asarray(shares, dtype=float), np.asarray(sizes, dtype=float)
    )
    if shares.ndim == 0 or shares.shape[-1] == 0:
        raise ValueError("shares and sizes must hold at least one round")
    if not np.all((shares >= 0) & (shares <= 1)):
        raise ValueError("every share must lie in [0, 1]")
    if not np.all(shares[..., 0] == 1):
        raise ValueError("round 1 has real data only, so its share must be 1")
    if not np.all(sizes >= 1):
        raise ValueError("every sample size must be at least 1")
    return shares, sizes


def check_share(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise ValueError(f"the share must lie in [0, 1], not {alpha!r}")
