r"""Exact risks of iterative training on contaminated sources (paper C).

Throughout, :math:`R_t=E\|\hat\theta_t-\theta^*\|^2` is the risk of round t,
:math:`V=1-\|\theta^*\|^2` the risk of a single draw, :math:`\alpha_t` the share
of fresh real data (:math:`\alpha_1=1`), :math:`n_t` the sample size and
:math:`N_t=n_1+\dots+n_t`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from stlcore.checks import check_sequences, check_share
from stlcore.cycles import filtered_share
from stlcore.theory.limits import Verdict, classify, limit_accumulation, limit_fixed
from stlcore.theory.normal import GaussianRisk, gaussian_risk

__all__ = [
    "GaussianRisk",
    "Verdict",
    "adaptive_bound",
    "adaptive_risk",
    "best_type1",
    "classify",
    "filtered_risk",
    "gaussian_risk",
    "limit_accumulation",
    "limit_fixed",
    "mean_inverse",
    "random_count_risk",
    "risk",
    "smallest_size",
]


def risk(shares, sizes, V, accumulate: bool = False) -> np.ndarray:
    r"""Exact risks :math:`R_1,\dots,R_T` of the categorical loop.

    Parameters
    ----------
    shares, sizes : array_like, shape (..., T)
        :math:`\alpha_t` (the first is 1) and :math:`n_t`; leading axes broadcast.
    V : float or array_like
        Risk of a single draw.
    accumulate : bool
        Whether every round trains on all data so far.

    Returns
    -------
    ndarray, shape (..., T)

    Raises
    ------
    ValueError
        If a share is outside [0, 1], the first is not 1, or a size is below 1.

    Notes
    -----
    Paper C, Theorem 3.1. The accumulating form with fresh data is derived here:
    :math:`R_t=(1-\alpha_t w_t)^2R_{t-1}+\frac{w_t^2}{n_t}\bigl(V-(1-\alpha_t)^2R_{t-1}\bigr)`
    with :math:`w_t=n_t/N_t`; replacing the data is the case :math:`w_t=1`.
    """
    shares, sizes = check_sequences(shares, sizes)
    V = np.asarray(V, dtype=float)
    weight = sizes / np.cumsum(sizes, axis=-1) if accumulate else np.ones(sizes.shape)
    shrink = (1 - shares * weight) ** 2 - weight**2 / sizes * (1 - shares) ** 2
    noise = weight**2 / sizes * V[..., None]
    shrink, noise = (np.moveaxis(a, -1, 0) for a in np.broadcast_arrays(shrink, noise))
    if noise.ndim == 1:  # long sequences are ten times faster as Python's numbers
        shrink, noise = shrink.tolist(), noise.tolist()
    risks = [noise[0]]
    for factor, added in zip(shrink[1:], noise[1:], strict=True):
        risks.append(factor * risks[-1] + added)
    return np.moveaxis(np.array(risks), 0, -1)


def mean_inverse(size, kept):
    r""":math:`E[1/N \mid N\ge1]` for :math:`N\sim\mathrm{Bin}(n,q)`, exactly.

    Parameters
    ----------
    size : int
        Number of trials n, from 1 up.
    kept : float
        Success probability q in (0, 1].

    Notes
    -----
    The sum over the binomial law, cut only where its terms are below 1e-30.
    """
    if not 0 < kept <= 1:
        raise ValueError(f"the fraction kept must lie in (0, 1], not {kept!r}")
    if size < 1:
        raise ValueError(f"the sample size must be at least 1, not {size!r}")
    size = int(size)
    mean, spread = size * kept, math.sqrt(size * kept * (1 - kept))
    low = max(1, math.floor(mean - 12 * spread - 80))
    high = min(size, math.ceil(mean + 12 * spread + 80))
    counts = np.arange(low, high + 1)
    chance = binom.pmf(counts, size, kept)
    return float((chance / counts).sum() / chance.sum())


def filtered_risk(shares, sizes, type1: float, type2: float, V: float, exact: bool = True):
    r"""Risks when a label-agnostic filter is applied from round 2 on.

    Parameters
    ----------
    shares, sizes : array_like, shape (T,)
        Before the filter.
    type1, type2 : float
        Error rates :math:`\eta` (real item thrown away), :math:`\nu` (synthetic item kept).
    V : float
        Risk of a single draw.
    exact : bool
        True for Theorem D.2 with :math:`E[1/N_t]`; False for the mean-field
        form of Remark D.3, which puts :math:`1/(n_tq_t)` in its place.

    Returns
    -------
    ndarray, shape (T,)
    """
    shares, sizes = check_sequences(shares, sizes)
    V = float(V)
    risks = np.empty(len(shares))
    risks[0] = V / sizes[0]
    for t in range(1, len(shares)):
        share, kept = filtered_share(shares[t], type1, type2)
        inverse = mean_inverse(sizes[t], kept) if exact else 1 / (sizes[t] * kept)
        risks[t] = (1 - share) ** 2 * (1 - inverse) * risks[t - 1] + V * inverse
    return risks


def best_type1(tv: float, share: float, size: int, previous: float, V: float):
    r"""Type-I error of the best possible classifier that makes the next risk smallest.

    The best classifier between two laws at total variation distance ``tv`` has
    :math:`\eta+\nu=1-\mathrm{TV}`; :math:`\eta` runs over :math:`[0,1-\mathrm{TV}]`.

    Parameters
    ----------
    tv : float
        Total variation distance between truth and model, in [0, 1].
    share, size : float, int
        Share of real data and items drawn, before the filter.
    previous, V : float
        Risk :math:`R_{t-1}`, and risk of a single draw.

    Returns
    -------
    eta, risk : float
        The best rate and the exact next risk it leads to (Theorem D.2).

    Notes
    -----
    Derived here; the paper gives the trade-off, not its optimum.
    """
    check_share(share)
    if not 0 <= tv <= 1:
        raise ValueError(f"a total variation distance must lie in [0, 1], not {tv!r}")

    def following(eta: float) -> float:
        return filtered_step(eta, max(1 - tv - eta, 0.0), share, size, previous, V)

    # The trade-off can have two local optima (keep all, keep real only): bracket on a grid.
    grid = np.linspace(0, 1 - tv, 201)
    # At the end of the range it may be that nothing at all is kept.
    grid = grid[share * (1 - grid) + (1 - share) * np.maximum(1 - tv - grid, 0) > 0]
    if not grid.size:
        raise ValueError("the filter keeps nothing, whatever its type-I error")
    risks = np.array([following(eta) for eta in grid])
    best = int(risks.argmin())
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if low < high:
        found = minimize_scalar(following, bounds=(low, high), method="bounded")
        if found.fun < risks[best]:
            return float(found.x), float(found.fun)
    return float(grid[best]), float(risks[best])


def filtered_step(type1: float, type2: float, share: float, size: int, previous: float, V: float):
    """Exact risk after one filtered round (Theorem D.2), given the risk before it."""
    after, kept = filtered_share(share, type1, type2)
    inverse = mean_inverse(size, kept)
    return (1 - after) ** 2 * (1 - inverse) * previous + V * inverse


def random_count_risk(shares, sizes, chance, V, classes: int | None = None) -> np.ndarray:
    r"""Risks within contexts of a next-token model, whose counts are random.

    In round t a context occurs :math:`N_t\sim\mathrm{Bin}(n_t,q)` times; without
    an occurrence its fit stays as it was.

    Parameters
    ----------
    shares, sizes : array_like, shape (T,)
        :math:`\alpha_t` and the items :math:`n_t` of a whole round.
    chance : float or array_like, shape (...)
        Probability q of the context.
    V : float or array_like, shape (...)
        Risk of a single draw of the next token in this context.
    classes : int, optional
        Number of classes K. A context that does not occur in round 1 then starts
        from the uniform law; without it, the risks are those given that the
        context occurs in round 1.

    Returns
    -------
    ndarray, shape (..., T)

    Raises
    ------
    ValueError
        If a share is outside [0, 1], the first is not 1, a size is below 1, or a
        chance is outside (0, 1].

    Notes
    -----
    Derived here from Theorem 3.1, by conditioning on the count. With
    :math:`p_t=(1-q)^{n_t}`, :math:`m_t=E[1/N_t\mid N_t\ge1]` and :math:`a_t=1-\alpha_t`,

    .. math:: R_t=(1-p_t)\bigl[a_t^2(1-m_t)R_{t-1}+(V-2a_tB_{t-1})m_t\bigr]+p_tR_{t-1}.

    Given an occurrence in round 1 the fit is unbiased, :math:`B_t=0` and
    :math:`R_1=Vm_1`. The uniform start adds :math:`p_1\|u-\theta^*\|^2` to
    :math:`(1-p_1)Vm_1` and makes a bias :math:`E\hat\theta_t-\theta^*=s_t(u-\theta^*)`,
    with :math:`s_1=p_1` and :math:`s_t=((1-p_t)a_t+p_t)s_{t-1}`; then
    :math:`B_t=s_t\,\theta^{*\top}(u-\theta^*)=s_t(1/K-1+V)`.
    """
    shares, sizes = check_sequences(shares, sizes)
    chance, V = np.broadcast_arrays(np.asarray(chance, dtype=float), np.asarray(V, dtype=float))
    distinct, place = np.unique(sizes, return_inverse=True)
    inverse = np.array([[mean_inverse(n, q) for q in chance.flat] for n in distinct])
    inverse = np.moveaxis(inverse[place].reshape(len(sizes), *chance.shape), 0, -1)
    absent = (1 - chance[..., None]) ** sizes
    unseen = absent[..., 0] if classes is not None else 0.0
    uniform = 1 / classes if classes is not None else 0.0
    risks = np.empty(inverse.shape)
    risks[..., 0] = (1 - unseen) * V * inverse[..., 0] + unseen * (1 - V - uniform)
    bias = unseen * (uniform - 1 + V)
    for t in range(1, len(shares)):
        old, m, p = 1 - shares[t], inverse[..., t], absent[..., t]
        seen = old**2 * (1 - m) * risks[..., t - 1] + (V - 2 * old * bias) * m
        risks[..., t] = (1 - p) * seen + p * risks[..., t - 1]
        bias = ((1 - p) * old + p) * bias
    return risks


def smallest_size(alpha: float, R_prev: float, V: float) -> float:
    r"""Smallest sample size that makes the next risk smaller than the last (Proposition 3.4).

    Returns
    -------
    float
        The smallest whole n with :math:`R_t<R_{t-1}`, or infinity when there is
        none (:math:`\alpha=0` or :math:`R_{t-1}=0`).

    Notes
    -----
    The exact threshold is derived here: :math:`n>(V-(1-\alpha)^2R)/((1-(1-\alpha)^2)R)`.
    """
    check_share(alpha)
    kept = (1 - alpha) ** 2
    if kept == 1 or R_prev == 0:
        return math.inf
    threshold = (V - kept * R_prev) / ((1 - kept) * R_prev)
    # A threshold that is whole but for rounding counts as whole: there the risk stays as it is.
    return max(1.0, math.floor(threshold * (1 + 1e-12)) + 1.0)


def adaptive_bound(c: float, sizes, V: float) -> np.ndarray:
    r"""Bound :math:`c(1-1/n_t)+V/n_t` when :math:`(1-\alpha_t)^2R_{t-1}\le c` (Proposition E.1).

    The form is our reconstruction from the paper's proof.
    """
    sizes = np.asarray(sizes, dtype=float)
    return c * (1 - 1 / sizes) + V / sizes


def adaptive_risk(rule: Callable[[float], float], sizes, V: float):
    """Shares and risks when the share follows the last risk (paper C, App. E).

    Parameters
    ----------
    rule : callable
        The share of real data as a function of the last risk.
    sizes : array_like, shape (T,)
        Sample sizes.
    V : float
        Risk of a single draw.

    Returns
    -------
    shares, risks : ndarray, shape (T,)
    """
    sizes = np.asarray(sizes, dtype=float)
    shares, risks = np.ones(len(sizes)), np.empty(len(sizes))
    risks[0] = V / sizes[0]
    for t in range(1, len(sizes)):
        shares[t] = rule(risks[t - 1])
        check_share(shares[t])
        risks[t] = (1 - shares[t]) ** 2 * (1 - 1 / sizes[t]) * risks[t - 1] + V / sizes[t]
    return shares, risks
