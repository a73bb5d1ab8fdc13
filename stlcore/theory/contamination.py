r"""Exact risks of iterative training on contaminated sources (paper C).

Throughout, :math:`R_t=E\|\hat\theta_t-\theta^*\|^2` is the risk of round t,
:math:`V=1-\|\theta^*\|^2` the risk of a single draw, :math:`\alpha_t` the share
of fresh real data (:math:`\alpha_1=1`), :math:`n_t` the sample size and
:math:`N_t=n_1+\dots+n_t`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from stlcore.cycles import filtered_share
from stlcore.schedules import Growth, Share, Size

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


def _check_sequences(shares, sizes):
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


def _check_share(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise ValueError(f"the share must lie in [0, 1], not {alpha!r}")


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
    shares, sizes = _check_sequences(shares, sizes)
    V = np.asarray(V, dtype=float)
    weight = sizes / np.cumsum(sizes, axis=-1) if accumulate else np.ones(sizes.shape)
    shrink = (1 - shares * weight) ** 2 - weight**2 / sizes * (1 - shares) ** 2
    noise = weight**2 / sizes * V[..., None]
    risks = np.empty(np.broadcast_shapes(shrink.shape, noise.shape))
    risks[..., 0] = noise[..., 0]
    for t in range(1, risks.shape[-1]):
        risks[..., t] = shrink[..., t] * risks[..., t - 1] + noise[..., t]
    return risks


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
    shares, sizes = _check_sequences(shares, sizes)
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
    _check_share(share)
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
    shares, sizes = _check_sequences(shares, sizes)
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


class GaussianRisk(NamedTuple):
    r"""Exact expectations of the Gaussian loop, each of shape (..., T).

    The fields have the names of what :class:`stlcore.learners.gaussian.Gaussian` tracks.
    """

    squared_error_mean: np.ndarray
    r""":math:`E(m_t-\mu)^2`."""
    variance: np.ndarray
    r""":math:`E s_t^2`."""
    squared_error_variance: np.ndarray
    r""":math:`E(s_t^2-\sigma^2)^2`, with an absolute error of about 1e-15 :math:`\sigma^4`."""

    @property
    def error(self) -> np.ndarray:
        """The sum of the two squared errors."""
        return self.squared_error_mean + self.squared_error_variance


def gaussian_risk(shares, sizes, variance, accumulate: bool = False) -> GaussianRisk:
    r"""Exact expectations when mean and variance of a normal law are fitted by maximum likelihood.

    Parameters
    ----------
    shares, sizes : array_like, shape (..., T)
        :math:`\alpha_t` (the first is 1) and :math:`n_t`; leading axes broadcast.
    variance : float
        True variance :math:`\sigma^2`.
    accumulate : bool
        Whether every round trains on all data so far.

    Returns
    -------
    GaussianRisk

    Raises
    ------
    ValueError
        If a share is outside [0, 1], the first is not 1, a size is below 1, or
        the variance is not positive.

    Notes
    -----
    Derived here; paper C simulates this loop (App. C.2). With
    :math:`M=\alpha\sigma^2+(1-\alpha)E s_{t-1}^2+\alpha(1-\alpha)E(m_{t-1}-\mu)^2`,
    replacing the data gives :math:`E(m_t-\mu)^2=(1-\alpha)^2E(m_{t-1}-\mu)^2+M/n_t` and
    :math:`E s_t^2=(1-1/n_t)M`. The squared error of the variance needs all moments
    of :math:`(m-\mu,s^2)` of order four, counting :math:`s^2` twice; these are closed
    under a round, because the law of a new point has moments that are polynomials
    in them.
    """
    shares, sizes = _check_sequences(shares, sizes)
    if not (math.isfinite(variance) and variance > 0):
        raise ValueError(f"the variance must be finite and positive, not {variance!r}")
    weights = sizes / np.cumsum(sizes, axis=-1) if accumulate else np.ones(sizes.shape)
    moments = (np.zeros(shares.shape[:-1]),) * 5  # round 1 forgets them, as its share is 1
    columns = []
    for t in range(shares.shape[-1]):
        moments = _gaussian_round(moments, shares[..., t], sizes[..., t], weights[..., t], variance)
        columns.append(moments)
    d2, v, _, _, vv = (np.stack(column, axis=-1) for column in zip(*columns, strict=True))
    return GaussianRisk(d2, v, vv - 2 * variance * v + variance**2)


def _gaussian_round(moments, alpha, n, w, truth):
    r"""The moments :math:`E d^2, E v, E d^4, E d^2v, E v^2` one round later.

    Here :math:`d=m-\mu` and :math:`v=s^2` belong to the fit, which is also what
    mean and variance of the data kept so far are. Given these, a new point has
    mean :math:`\mu+\beta d` (:math:`\beta=1-\alpha`) and central moments c2, c3, c4. The n new
    points have mean :math:`\mu+\beta d+e` and variance z. All data together have, with
    :math:`b=1-\alpha w`, error :math:`b d+w e` of the mean and variance
    :math:`(1-w)v+wz+w(1-w)(e-\alpha d)^2`.
    """
    d2, v, d4, d2v, vv = moments
    beta = 1 - alpha

    # Expected central moments of a new point, alone and times d or v.
    of_truth, of_d2 = alpha * truth, alpha * beta  # c2 = of_truth + beta v + of_d2 d^2
    c2 = of_truth + beta * v + of_d2 * d2
    c2_d2 = of_truth * d2 + beta * d2v + of_d2 * d4
    c2_v = of_truth * v + beta * vv + of_d2 * d2v
    c2_c2 = of_truth * c2 + beta * c2_v + of_d2 * c2_d2
    c3_d = of_d2 * ((alpha - beta) * d4 + 3 * d2v - 3 * truth * d2)
    c4 = alpha * (3 * truth**2 + 6 * beta**2 * truth * d2 + beta**4 * d4) + beta * (
        3 * vv + 6 * alpha**2 * d2v + alpha**4 * d4
    )

    # Sampling moments of e and z (given d and v, E e = 0).
    e2, z = c2 / n, (n - 1) / n * c2
    e2_d2, z_d2 = c2_d2 / n, (n - 1) / n * c2_d2
    e2_v, z_v = c2_v / n, (n - 1) / n * c2_v
    e3_d, ez_d = c3_d / n**2, (n - 1) / n**2 * c3_d
    e4 = (c4 + 3 * (n - 1) * c2_c2) / n**3
    e2_z = (n - 1) / n**3 * (c4 + (n - 3) * c2_c2)
    z_z = (n - 1) / n**3 * ((n - 1) * c4 + (n**2 - 2 * n + 3) * c2_c2)

    # The same with g = e - alpha d, the new mean seen from the old one.
    g2 = e2 + alpha**2 * d2
    g2_v = e2_v + alpha**2 * d2v
    g2_z = e2_z - 2 * alpha * ez_d + alpha**2 * z_d2
    g4 = e4 - 4 * alpha * e3_d + 6 * alpha**2 * e2_d2 + alpha**4 * d4

    b, old, cross = 1 - alpha * w, 1 - w, w * (1 - w)
    error2_v = b**2 * d2v + w**2 * e2_v
    error2_z = b**2 * z_d2 + 2 * b * w * ez_d + w**2 * e2_z
    error2_g2 = (
        w**2 * e4
        + 2 * w * (b - alpha * w) * e3_d
        + (b**2 - 4 * alpha * b * w + alpha**2 * w**2) * e2_d2
        + alpha**2 * b**2 * d4
    )
    return (
        b**2 * d2 + w**2 * e2,
        old * v + w * z + cross * g2,
        b**4 * d4 + 6 * b**2 * w**2 * e2_d2 + 4 * b * w**3 * e3_d + w**4 * e4,
        old * error2_v + w * error2_z + cross * error2_g2,
        old**2 * vv
        + w**2 * z_z
        + cross**2 * g4
        + 2 * (old * w * z_v + old * cross * g2_v + w * cross * g2_z),
    )


def limit_fixed(alpha: float, n: int, V: float) -> float:
    r"""Limit :math:`V/(n-(1-\alpha)^2(n-1))` for a fixed share and size (Corollary 3.2)."""
    _check_share(alpha)
    return V / (n - (1 - alpha) ** 2 * (n - 1))


def limit_accumulation(n: int, V: float) -> float:
    r"""Limit :math:`V(1-\sin x/x)`, :math:`x=\pi/\sqrt n`, of accumulation without fresh data.

    Derived here for :math:`n_t=n`; paper C (Proposition 3.7) bounds it.
    """
    return float(V * (1 - np.sinc(1 / math.sqrt(n))))


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
    _check_share(alpha)
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
        _check_share(shares[t])
        risks[t] = (1 - shares[t]) ** 2 * (1 - 1 / sizes[t]) * risks[t - 1] + V / sizes[t]
    return shares, risks


@dataclass(frozen=True)
class Verdict:
    """Where a loop ends up.

    Attributes
    ----------
    kind : str
        ``"consistency"`` (the risk vanishes), ``"improvement"`` (it ends below
        the first risk) or ``"collapse"`` (it ends at or above it).
    limit : float
        The limit of the risk.
    error : float
        Bound on the error of ``limit``; 0 where it is a closed form.
    first : float
        The first risk :math:`R_1`.
    reason : str
        One sentence.
    """

    kind: str
    limit: float
    error: float
    first: float
    reason: str


def _times(*growths: Growth) -> Growth:
    return Growth(
        math.prod(g.scale for g in growths),
        sum(g.power for g in growths),
        sum(g.log_power for g in growths),
    )


def _diverges(growth: Growth) -> bool:
    """Whether the sum over t of such terms is infinite."""
    if growth.scale == 0:
        return False
    return growth.power > -1 or (growth.power == -1 and growth.log_power >= -1)


def _limit(growth: Growth) -> float:
    if growth.scale == 0 or growth.power < 0 or (growth.power == 0 and growth.log_power < 0):
        return 0.0
    return growth.scale if growth.power == growth.log_power == 0 else math.inf


def classify(share: Share, size: Size, V: float, accumulate: bool = False) -> Verdict:
    r"""Consistency, improvement or collapse, decided from the schedules themselves.

    A finite run cannot tell a limit of 0 from a small one; the growth of the
    schedules can. With :math:`c_t=1-(1-\alpha_t)^2(1-1/n_t)` the recurrence
    forgets its past when :math:`\sum c_t=\infty` and then follows
    :math:`V/(n_tc_t)`; otherwise the limit is a convergent sum.

    Parameters
    ----------
    share, size : Share, Size
        Schedules from the family :math:`c\,t^p\log(t+1)^q`.
    V : float
        Risk of a single draw, positive.
    accumulate : bool
        Whether every round trains on all data so far.

    Raises
    ------
    ValueError
        For an explicit sequence (it ends), or V outside (0, 1).

    Notes
    -----
    Consistency under its sufficient conditions is paper C, Proposition 3.4;
    the complete case distinction is derived here.
    """
    if not 0 < V < 1:
        raise ValueError(f"V must lie in (0, 1), not {V!r}")
    alpha, n = share.growth, size.growth
    first = V / float(size.values(1)[0])
    if accumulate:
        # w_t = n_t / N_t is (p + 1) / t to leading order, whatever the logarithms do.
        pull = _times(alpha, Growth(n.power + 1, -1, 0))
        if _diverges(pull):
            return Verdict(
                "consistency",
                0.0,
                0.0,
                first,
                "the fresh items outweigh the past again and again, and the noise of the "
                "accumulated set vanishes",
            )
        return _finite_memory(share, size, V, first, accumulate)
    inverse = Growth(1 / n.scale, -n.power, -n.log_power)
    if not _diverges(alpha) and not _diverges(inverse):
        return _finite_memory(share, size, V, first, accumulate)
    fresh = _limit(_times(alpha, n))  # fresh items a round, in the limit
    if _limit(n) < math.inf and _limit(alpha) > 0:
        limit = limit_fixed(_limit(alpha), _limit(n), V)
        reason = "share and size are fixed, so the noise of each round stays"
    elif fresh == math.inf:
        return Verdict(
            "consistency",
            0.0,
            0.0,
            first,
            "the number of fresh items a round grows without bound and the past is forgotten",
        )
    elif fresh > 0:
        limit = V / (2 * fresh + 1)
        reason = (
            f"a round has about {fresh:g} fresh items for ever, so the risk settles at "
            "V / (2 * that + 1) instead of vanishing"
        )
    else:
        limit = V
        reason = "the fresh items of a round die out while its noise keeps adding up"
    kind = "improvement" if limit < first * (1 - 1e-12) else "collapse"
    return Verdict(kind, limit, 0.0, first, reason)


def _finite_memory(share: Share, size: Size, V: float, first: float, accumulate: bool) -> Verdict:
    r"""The first round is never quite forgotten: bracket the convergent limit.

    After T rounds, :math:`R_T(1-\sum_{t>T}c_t)\le R_\infty\le R_T+\sum_{t>T}b_t`, where
    :math:`c_t` is what round t forgets and :math:`b_t` the noise it adds; the
    tails are bounded by integrals. Besides, every risk lies between the one before
    and the level :math:`b_t/c_t`, which is monotone from T on.
    """
    rounds = 1_000_000
    alpha, n = share.curve(rounds), size.counts(rounds)
    alpha[0] = 1.0
    weight = n / np.cumsum(n) if accumulate else np.ones(rounds)
    shrink = (1 - alpha * weight) ** 2 - weight**2 / n * (1 - alpha) ** 2
    noise = weight**2 / n * V
    survives = np.append(np.cumprod(shrink[:0:-1])[::-1], 1.0)  # what later rounds leave of it
    last = float(np.sum(noise * survives))
    fresh = _times(share.growth, size.growth)
    if accumulate:
        noise_tail = float(1 / n.sum())  # n_t / N_t^2 <= 1 / N_{t-1} - 1 / N_t
        # t n_t / N_t is at most 1 + p + q, because n_t grows no faster than t^(p + q)
        steepness = 1 + size.growth.power + max(size.growth.log_power, 0)
        pull = Growth(steepness * (1 + 1 / n[-1] + 10 / rounds), -1, 0)
        fresh = _times(fresh, Growth(1 / (1 + size.growth.power), 1, 0))
    else:
        noise_tail = _tail(Growth(1, 0, 0).over(size.growth), rounds) * (1 + 3 / n[-1])
        pull = Growth(1, 0, 0)
    forgotten = 2 * _tail(_times(share.bound(rounds), pull), rounds) + noise_tail
    low, high = last * max(1 - forgotten, 0.0), last + V * noise_tail
    if fresh.power * fresh.log_power >= 0:
        now = alpha[-1] * (2 - alpha[-1] * weight[-1]) * n[-1] / weight[-1]
        levels = float(V / ((1 - alpha[-1]) ** 2 + now)), V / (1 + 2 * _limit(fresh))
        low, high = max(low, min(last, *levels)), min(high, max(last, *levels))
    if low < first <= high:
        raise ValueError("the limit is too close to the first risk to tell which is larger")
    limit, error = (low + high) / 2, (high - low) / 2
    if high < first:
        reason = (
            "the first round is never forgotten, but what comes after it adds less than it heals"
        )
        return Verdict("improvement", limit, error, first, reason)
    reason = "no round heals as much as the noise adds, though the noise adds up to a finite sum"
    return Verdict("collapse", limit, error, first, reason)


def _tail(growth: Growth, rounds: int) -> float:
    """Upper bound on the sum over t > ``rounds`` of a decreasing summable schedule."""
    if growth.scale == 0:
        return 0.0

    if growth.log_power == 0:
        return growth.scale * rounds ** (growth.power + 1) / -(growth.power + 1)

    def term(u: float) -> float:  # with t = exp(u)
        return math.exp((growth.power + 1) * u) * np.logaddexp(0, u) ** growth.log_power

    start = math.log(rounds)
    if growth.power == -1:  # the exact integral, where the exponential is gone
        return growth.scale * start ** (growth.log_power + 1) / -(growth.log_power + 1)
    scale = -1 / (growth.power + 1)
    value, error = quad(term, start, start + 80 * scale, limit=200)
    return growth.scale * (value + error)
