r"""How much synthetic data to add: exact risk and generalisation gap (paper A).

Generation 1 is trained on n real points. Every later one is trained on :math:`\alpha n` real
points and :math:`(1-\alpha+\lambda)n` points of the generation before. The real share is
:math:`s=\alpha/(1+\lambda)`; write :math:`r=1-s`. Everything here is derived for this companion.

The first functions are for the mean of a normal law with variance 1, exact parts from each
source, and squared loss. :func:`ols_loop` is for least squares in d dimensions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from stlcore.checks import check_count, check_share

__all__ = [
    "OlsLoop",
    "augmented_gap",
    "augmented_risk",
    "best_augmentation",
    "gap_threshold",
    "ols_loop",
]


def augmented_risk(lam, alpha, i: int, fixed: bool = False) -> np.ndarray:
    r"""Risk :math:`nV_{i+1}` after i mixings, in units of that of generation 1.

    Fresh real points: :math:`1-(1-r^{2i})\bigl(1-\frac1{\alpha(1+r)}\bigr)`. The same real points
    every time, a part of the first set:
    :math:`1+\frac{1-r^i}{1+r}\bigl[r(1+r^i)+(\frac1\alpha-1)(1+2r-r^i)\bigr]`.

    Parameters
    ----------
    lam : array_like
        Additional synthetic points per point of the first set, from 0 up; infinity is allowed.
    alpha : array_like
        Real points per point of the first set, in (0, 1]; broadcasts against ``lam``.
    i : int
        Mixings, from 1 up.
    fixed : bool
        Whether the real points are re-used; they are fresh otherwise.
    """
    check_count("the number of mixings i", i)
    alpha, r = _synthetic_share(lam, alpha)
    return _risk(r, alpha, i, fixed)[()]


def augmented_gap(lam, alpha, i: int, fixed: bool = False) -> np.ndarray:
    r"""Expected gap :math:`n(2V_{i+1}-rV_i)` between population and training loss.

    Squared loss; 2 for generation 1. Arguments as in :func:`augmented_risk`.
    """
    check_count("the number of mixings i", i)
    alpha, r = _synthetic_share(lam, alpha)
    return (2 * _risk(r, alpha, i, fixed) - r * _risk(r, alpha, i - 1, fixed))[()]


def _synthetic_share(lam, alpha) -> tuple[np.ndarray, np.ndarray]:
    lam, alpha = np.asarray(lam, dtype=float), np.asarray(alpha, dtype=float)
    if not np.all(lam >= 0):
        raise ValueError("the amount of synthetic data must not be negative")
    if not np.all((alpha > 0) & (alpha <= 1)):
        raise ValueError("the amount of real data must lie in (0, 1]")
    return alpha, 1 - alpha / (1 + lam)


def _risk(r, alpha, i: int, fixed: bool) -> np.ndarray:
    power = r**i
    if fixed:
        return 1 + (1 - power) / (1 + r) * (r * (1 + power) + (1 / alpha - 1) * (1 + 2 * r - power))
    return 1 - (1 - power**2) * (1 - 1 / (alpha * (1 + r)))


def gap_threshold(i: int) -> float:
    r"""Amount of real data, :math:`\frac{i+1}{2i+1}`, above which the gap has a finite optimum.

    For the risk the threshold is 1/2, whatever i.
    """
    return (check_count("the number of mixings i", i) + 1) / (2 * i + 1)


def best_augmentation(alpha: float, i: int, *, of: str = "risk") -> float:
    r"""The amount of synthetic data that is best, with fresh real data.

    Parameters
    ----------
    alpha : float
        Real points per point of the first set, in (0, 1].
    i : int
        Mixings, from 1 up.
    of : {"risk", "gap"}
        What is to be smallest.

    Returns
    -------
    float
        :math:`\lambda^*`; infinite unless :math:`\alpha>\frac12` (risk) or
        :math:`\alpha>\frac{i+1}{2i+1}` (gap). For i = 1 it is
        :math:`\frac{2\alpha^2}{2\alpha-1}-1` and :math:`\frac{4\alpha^2}{3\alpha-2}-1`.

    Notes
    -----
    :math:`1-nV_{i+1}=(1-r^{2i})(1-\frac1{\alpha(1+r)})`, a product of factors that are concave
    in r, has one maximum. That the gap is at least 1 below its threshold is proved on page
    A-06; that it turns only once above it is checked numerically, so its best value is
    looked up on a fine grid before the root of its slope is found.
    """
    check_count("the number of mixings i", i)
    _synthetic_share(0, alpha)
    if of not in ("risk", "gap"):
        raise ValueError(f"what is smallest must be the 'risk' or the 'gap', not {of!r}")
    if alpha <= (0.5 if of == "risk" else gap_threshold(i)):
        return math.inf
    if of == "risk":
        low = 1 / alpha - 1

        def slope(r):  # logarithmic slope of 1 - risk, times both positive denominators
            return 1 - r ** (2 * i) - 2 * i * r ** (2 * i - 1) * (1 + r) * (alpha * (1 + r) - 1)

        r = brentq(slope, low, _below_one(slope, low), xtol=1e-15)
    else:
        r = brentq(lambda r: _gap_slope(r, alpha, i), *_gap_bracket(alpha, i), xtol=1e-15)
    return alpha / (1 - r) - 1


def _below_one(slope, low: float) -> float:
    """A point near 1, where the slope has its trivial root, that lies beyond the other one."""
    gap = (1 - low) / 2
    while slope(1 - gap) >= 0:
        gap /= 2
    return 1 - gap


def _gap_slope(r, alpha: float, i: int):
    first = 4 * i * r ** (2 * i - 1) - (2 * i - 1) * r ** (2 * i - 2)
    top = 2 - 2 * r ** (2 * i) - r + r ** (2 * i - 1)
    return first - ((1 + first) * (1 + r) + top) / (alpha * (1 + r) ** 2)


def _gap_bracket(alpha: float, i: int) -> tuple[float, float]:
    # Finer towards r = 1, where the optimum goes when alpha falls to the threshold.
    r = 1 - alpha * np.geomspace(1e-12, 1, 4001)[::-1]
    place = np.argmin(2 * _risk(r, alpha, i, False) - r * _risk(r, alpha, i - 1, False))
    return r[place - 1], r[place + 1]


class OlsLoop(NamedTuple):
    """Moments of a least-squares loop after 0, 1, ... mixings; arrays of shape (mixings + 1,)."""

    risk: np.ndarray
    r""":math:`E\|\hat w-w^*\|^2`, the excess of the expected squared prediction error."""
    gap: np.ndarray
    """Expected squared error on new real data minus that on the training set."""


def ols_loop(
    first: int,
    size: int,
    share: float,
    d: int,
    mixings: int,
    noise: float = 1.0,
    stratified: bool = False,
) -> OlsLoop:
    r"""Exact risk and gap of least squares with fresh real data.

    Inputs are :math:`N(0,I_d)`, labels :math:`w^\top x+\sigma\varepsilon` with the true weights
    for real points and the newest fit for synthetic ones.

    Parameters
    ----------
    first, size : int
        Points of the first training set (all real), and of each later one; from d + 2 up.
    share : float
        Share of fresh real points in the later ones.
    d, mixings : int
        Dimension, and how many mixings follow the first fit.
    noise : float
        :math:`\sigma`.
    stratified : bool
        Exact parts (``share * size`` must be whole) instead of i.i.d. draws from the mixture.

    Raises
    ------
    ValueError
        If a training set is too small for a finite risk, or the parts are not whole.

    Notes
    -----
    With m synthetic of N points the new error is :math:`S^{-1}A\delta+S^{-1}X^\top\varepsilon`,
    where A is the Gram matrix of the synthetic points and S that of all.
    :math:`S^{-1/2}AS^{-1/2}=B` is a matrix-beta variable independent of S, with
    :math:`E[BTB]=aT+b\,\mathrm{tr}(T)I`, :math:`b=\frac{m(N-m)}{N(N-1)(N+2)}`,
    :math:`a+b=\frac{m(m+2)}{N(N+2)}`, and :math:`E[\mathrm{tr}(S^{-1})S]=\frac{Nd-2}{N-d-1}I`.
    The thresholds for a finite best size are those of the mean with n - d - 1 for n.
    """
    for count in (check_count("the first size", first), check_count("the size", size)):
        if count < check_count("the dimension", d) + 2:
            raise ValueError(f"{d} dimensions need at least {d + 2} points, not {count}")
    check_share(share)
    if stratified and abs(share * size - round(share * size)) > 1e-9:
        raise ValueError(f"{share:g} of {size} points is no whole number")
    m, N = (1 - share) * size, size
    # Means of m^2 and m (N - m), for a fixed or a binomial number m.
    spread = 0.0 if stratified else m * share
    of_square, of_product = m**2 + spread, m * (N - m) - spread
    b = of_product / (N * (N - 1) * (N + 2))
    a = (of_square + 2 * m) / (N * (N + 2)) - b
    carried = a + b * (N * d - 2) / (N - d - 1)
    unexplained = m / N - a - b * d
    risk = [noise**2 * d / (first - d - 1)]
    gap = [noise**2 * d / first + risk[0]]
    for _ in range(mixings):
        gap.append(noise**2 * d / N - unexplained * risk[-1])
        risk.append(carried * risk[-1] + noise**2 * d / (N - d - 1))
        gap[-1] += risk[-1]
    return OlsLoop(np.array(risk), np.array(gap))
