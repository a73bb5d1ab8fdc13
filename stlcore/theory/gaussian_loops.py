r"""Gaussian loops that are solved exactly: only the mean, or only the variance, is learned.

Expected total variation distances are exact too: the law of the fitted
parameter is known, and the distance between two normal laws is a closed form.
All results here are derived for this companion.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr
from scipy.stats import f as fisher

from stlcore.checks import check_count, check_share
from stlcore.cycles import Cycle
from stlcore.schedules import Size, as_size

__all__ = [
    "expected_tv_mean",
    "gaussian_mean_covariance",
    "gaussian_mean_variance",
    "gaussian_variance_moments",
    "tv_normal_variances",
]


def gaussian_mean_covariance(
    cycle: Cycle, sizes: Size | int, rounds: int, stratified: bool = False
) -> np.ndarray:
    r"""Covariances of the fitted means of all generations, for unit-variance normals.

    Each generation outputs :math:`N(\mu_t,1)` with :math:`\mu_t` the mean of its training
    set. Conditional on the past the new mean has expectation :math:`w^\top\mu`, so its
    covariances with older ones are :math:`Cw`; its own noise is
    :math:`(1-\alpha)/n` of the new points, plus the spread of the mixture when the
    points are drawn i.i.d. instead of in exact parts.

    Parameters
    ----------
    cycle : Cycle
        Any cycle without accumulation or filter.
    sizes : Size or int
        Sample sizes.
    rounds : int
        Number of generations T.
    stratified : bool
        Exact parts from every source instead of i.i.d. draws from the mixture.
        Fixed real data always come in exact parts.

    Returns
    -------
    ndarray, shape (T, T)
        Covariances of :math:`\mu_1,\dots,\mu_T` (true mean 0).

    Raises
    ------
    ValueError
        If the cycle accumulates or filters, or re-uses a varying number of real points.
    """
    if cycle.pooled or cycle.filter is not None:
        raise ValueError("the exact Gaussian mean is for cycles without accumulation or filter")
    rounds = check_count("rounds", rounds)
    n = as_size(sizes).values(rounds)
    weights = [cycle.weights(t) for t in range(1, rounds + 1)]
    counts = np.rint([row.first for row in weights] * n).astype(int)
    # Row 0 stands for the mean of the part of the first real set that is used again.
    cov = np.zeros((rounds + 1, rounds + 1))
    again = _reused(counts, int(n[0]))
    if again:
        cov[0, 0] = 1 / again
    for t in range(1, rounds + 1):
        count, (_, first, generations) = counts[t - 1], weights[t - 1]
        share = count / n[t - 1]
        rest = (1 - share) / (1 - first) if first < 1 else 0.0
        w = np.concatenate([[share], rest * generations])
        cov[t, :t] = cov[:t, t] = cov[:t, :t] @ w
        if t == 1 and again:  # the part lies in the first training set
            cov[0, 1] = cov[1, 0] = 1 / n[0]
        noise = (1 - share) / n[t - 1]
        if not stratified and rest:
            part = w.copy()
            part[0] = 0.0
            # Variance of the mixture's component means, for the points that are not re-used.
            spread = part / (1 - share) @ np.diag(cov)[:t]
            spread -= part @ cov[:t, :t] @ part / (1 - share) ** 2
            noise *= 1 + spread
        cov[t, t] = w @ cov[:t, :t] @ w + noise
    return cov[1:, 1:]


def _reused(counts: np.ndarray, size: int) -> int:
    """How many of the ``size`` points of round 1 are used again, 0 for none."""
    used = np.unique(counts[counts > 0])
    if used.size > 1:
        raise ValueError("the number of re-used real points must not change")
    if used.size and used[0] > size:
        raise ValueError(f"the cycle re-uses {used[0]} real points, but round 1 had {size}")
    return int(used[0]) if used.size else 0


def gaussian_mean_variance(
    cycle: Cycle, sizes: Size | int, rounds: int, stratified: bool = False
) -> np.ndarray:
    """Variances of the fitted means, the diagonal of :func:`gaussian_mean_covariance`."""
    return np.diag(gaussian_mean_covariance(cycle, sizes, rounds, stratified)).copy()


def expected_tv_mean(variance, dimension: int = 1) -> np.ndarray:
    r"""Expected TV between :math:`N(\mu,I_d)` and :math:`N(0,I_d)` for :math:`\mu\sim N(0,VI_d)`.

    The distance is :math:`P(|Z|<\|\mu\|/2)`, so the expectation is the cdf of Fisher's F
    with (1, d) degrees of freedom at :math:`dV/4`; for d = 1,
    :math:`\frac2\pi\arctan\frac{\sqrt V}2`.
    """
    variance = np.asarray(variance, dtype=float)
    if not np.all(variance >= 0):
        raise ValueError("a variance must not be negative")
    check_count("the dimension", dimension)
    return fisher.cdf(dimension * variance / 4, 1, dimension)


def tv_normal_variances(s) -> np.ndarray:
    r"""TV between :math:`N(0,s)` and :math:`N(0,1)`: :math:`2|\Phi(x)-\Phi(x/\sqrt s)|`.

    The densities cross at :math:`x^2=s\ln s/(s-1)`.
    """
    s = np.asarray(s, dtype=float)
    if not np.all((s > 0) & (s < math.inf)):
        raise ValueError("a variance must be positive and finite")
    # s - 1 is exact near 1, so only s = 1 itself needs care.
    gap = np.where(s == 1, 1.0, s - 1)
    x = np.sqrt(np.where(s == 1, 1.0, s * np.log(s) / gap))
    return 2 * np.abs(ndtr(x) - ndtr(x / np.sqrt(s)))


def gaussian_variance_moments(
    alpha: float, n: int, rounds: int, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    r"""First two moments of the fitted variance with a share of fresh data, exactly.

    The mean is known (0), the truth is N(0, 1), the training set has n i.i.d. points of
    the mixture, and synthetic points are drawn with variance :math:`T\sigma^2`:

    :math:`m_1'=\alpha+(1-\alpha)Tm_1`,
    :math:`m_2'=\alpha^2+2\alpha(1-\alpha)Tm_1+(1-\alpha)^2T^2m_2+\frac1n\bigl[3\alpha+3(1-\alpha)T^2m_2
    -\alpha^2-2\alpha(1-\alpha)Tm_1-(1-\alpha)^2T^2m_2\bigr]`.

    Parameters
    ----------
    alpha : float
        Share of fresh data.
    n : int
        Sample size.
    rounds : int
        Generations T; generation 1 is trained on the truth.
    temperature : float
        Factor T on the variance of synthetic points; 1 is unbiased sampling.

    Returns
    -------
    m1, m2 : ndarray, shape (rounds,)
        :math:`E\sigma_t^2` and :math:`E\sigma_t^4`.

    Notes
    -----
    With exact parts of the n points, in place of i.i.d. draws, the last bracket would be
    :math:`2\alpha+2(1-\alpha)T^2m_2`. Derived here.
    """
    check_share(alpha)
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, not {temperature!r}")
    n, rounds = check_count("the sample size", n), check_count("rounds", rounds)
    m1, m2 = np.ones(rounds), np.full(rounds, 1 + 2 / n)
    for t in range(1, rounds):
        old1, old2 = temperature * m1[t - 1], temperature**2 * m2[t - 1]
        m1[t] = alpha + (1 - alpha) * old1
        square = alpha**2 + 2 * alpha * (1 - alpha) * old1 + (1 - alpha) ** 2 * old2
        fourth = 3 * alpha + 3 * (1 - alpha) * old2
        m2[t] = square + (fourth - square) / n
    return m1, m2
