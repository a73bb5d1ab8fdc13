r"""Recursive stability and generalisation in self-consuming loops (paper A).

A first set :math:`S_0` of n real examples trains generation 1. Each *mixing* keeps
:math:`\alpha n` of them and adds :math:`(1-\alpha)n` examples that the newest generation
made; i mixings give generation i + 1. Recursive stability asks how far the model after
i mixings moves when one example of :math:`S_0` is changed.

Statements are derived here unless a docstring says otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom

from stlcore.checks import check_count, check_share

__all__ = [
    "GapBound",
    "PaperBound",
    "ancestry_survival",
    "binomial_laws",
    "critical_share",
    "cumulative_shift",
    "first_set_law",
    "gain",
    "gap_bound",
    "location_scale_growth",
    "paper_style_bound",
    "real_count",
]


def real_count(alpha: float, n: int) -> int:
    r"""Number of real examples in a training set of n: :math:`\alpha n`, rounded as the loop does.

    To the nearest whole number, ties to even (:func:`stlcore.cycles.fixed_real`).
    """
    check_share(alpha, "every share")
    return int(np.rint(alpha * check_count("the sample size", n)))


def gain(alpha, i) -> np.ndarray:
    r"""Growth of a perturbation that re-used data repeat in every mixing.

    :math:`\sum_{k=0}^{i}(1-\alpha)^k=\frac{1-(1-\alpha)^{i+1}}\alpha`, and i + 1 at
    :math:`\alpha=0`.

    Parameters
    ----------
    alpha : array_like
        Share of re-used real data, in [0, 1].
    i : array_like of int
        Mixings, from 0 up; broadcasts against ``alpha``.

    Notes
    -----
    For a learner that passes changes on at full strength this is the recursive stability
    after i mixings, in units of the one before any, *if the changed example is re-used*.
    Without re-used data (:math:`\alpha=0`) nothing is repeated, and the growth is 1.
    """
    alpha, i = np.broadcast_arrays(check_share(alpha, "every share"), _check_mixings(i))
    with np.errstate(divide="ignore"):
        power = (i + 1) * np.log1p(-alpha)
    return np.where(alpha > 0, -np.expm1(power) / np.where(alpha > 0, alpha, 1), i + 1.0)[()]


def first_set_law(p: float, n: int, reused: int) -> np.ndarray:
    """Law of the ones in a first set of n coin flips, jointly with those among its re-used part.

    Parameters
    ----------
    p : float
        Probability of a one.
    n, reused : int
        Flips, and how many of them every later training set holds again.

    Returns
    -------
    ndarray, shape (reused + 1, n + 1)
        Entry (k, c): k ones in the re-used part and c ones in all.
    """
    check_count("the sample size", n)
    if not 0 <= reused <= n:
        raise ValueError(f"between 0 and {n} examples can be re-used, not {reused!r}")
    law = binom.pmf(np.arange(reused + 1), reused, p)
    others = binom.pmf(np.arange(n - reused + 1), n - reused, p)
    return _shifted(law[:, None] * others, n)


def binomial_laws(start: np.ndarray, mixings: int) -> np.ndarray:
    r"""Exact laws of the binomial loop: coin flips, and the fit is their mean.

    A mixing keeps the re-used flips and draws the others from the newest fit.

    Parameters
    ----------
    start : ndarray, shape (reused + 1, n + 1)
        Joint law of the ones among the re-used flips (rows) and of the ones among all n
        (columns): :func:`first_set_law`, or a single 1 for a given first set.
    mixings : int
        How many mixings follow, from 0 up.

    Returns
    -------
    ndarray, shape (mixings + 1, reused + 1, n + 1)
        The joint law after 0, 1, ... mixings; sum over the rows for that of the fit.

    Raises
    ------
    ValueError
        If ``start`` is no law, or holds impossible pairs of counts.

    Notes
    -----
    A Wright-Fisher chain in which the re-used flips keep coming in from outside.
    """
    start = np.asarray(start, dtype=float)
    _check_mixings(mixings)
    if start.ndim != 2 or not 1 <= start.shape[0] <= start.shape[1]:
        raise ValueError("the first law must have shape (reused + 1, n + 1), reused at most n")
    reused, n = start.shape[0] - 1, start.shape[1] - 1
    ones, total = np.indices(start.shape)
    possible = (total >= ones) & (total <= n - reused + ones)
    if not (
        np.all(start >= 0) and abs(start.sum() - 1) <= 1e-9 and start[possible].sum() > 1 - 1e-9
    ):
        raise ValueError("the first law must be a law on possible pairs of counts")
    # Row c: law of the new ones when c of n were ones.
    kernel = binom.pmf(np.arange(n - reused + 1), n - reused, np.arange(n + 1)[:, None] / n)
    laws = [start]
    for _ in range(mixings):
        laws.append(_shifted(laws[-1] @ kernel, n))
    return np.array(laws)


def _shifted(law: np.ndarray, n: int) -> np.ndarray:
    """Row k moved k places to the right: counts of the rest become counts of all."""
    moved = np.zeros((len(law), n + 1))
    for k, row in enumerate(law):
        moved[k, k : k + len(row)] = row
    return moved


class GapBound(NamedTuple):
    """Terms of the bound on the expected generalisation gap; see :func:`gap_bound`."""

    stability: np.ndarray
    r""":math:`\beta`: the learner sees its training points."""
    reuse: np.ndarray
    r""":math:`\alpha(1-\alpha)n\beta\gamma`: the synthetic points know the re-used real ones."""
    shift: np.ndarray
    r""":math:`(1-\alpha)M\,E\,\mathrm{TV}(D_i,D_0)`: synthetic points follow the wrong law."""

    @property
    def total(self) -> np.ndarray:
        return self.stability + self.reuse + self.shift


def gap_bound(alpha, n, beta, gamma, tv, loss_range=1.0) -> GapBound:
    r"""Bound on :math:`|E[R_{D_0}(h)-\hat R_{\widetilde S_i}(h)]|`, term by term.

    :math:`\alpha\beta(1+(1-\alpha)n\gamma)+(1-\alpha)(\beta+M\,E\,\mathrm{TV}(D_i,D_0))`.
    Arguments broadcast.

    Parameters
    ----------
    alpha : array_like
        Share of real examples, re-used from the first set.
    n : array_like of int
        Size of the training set :math:`\widetilde S_i`.
    beta : array_like
        Uniform stability: most that the loss changes, anywhere, when one of the n training
        points is replaced.
    gamma : array_like
        Recursive stability of generation i: :math:`E\,\mathrm{TV}(D_i(S_0,U),D_i(S_0^{(j)},U))`
        for a re-used example j drawn anew; 0 if the real data are fresh.
    tv : array_like
        :math:`E\,\mathrm{TV}(D_i,D_0)`, or a bound on it such as :func:`cumulative_shift`.
    loss_range : array_like
        M: the loss lies in [0, M].

    Returns
    -------
    GapBound
        Three terms that add up to the bound, for :math:`\alpha\beta+(1-\alpha)\beta=\beta`.
    """
    alpha = check_share(alpha, "every share")
    for name, value in (("beta", beta), ("gamma", gamma), ("tv", tv)):
        if not np.all(np.asarray(value) >= 0):
            raise ValueError(f"{name} must not be negative")
    if not (np.all(np.asarray(n) >= 1) and np.all(np.asarray(loss_range) > 0)):
        raise ValueError("n must be at least 1, and the range of the loss positive")
    terms = (beta, alpha * (1 - alpha) * n * beta * gamma, (1 - alpha) * loss_range * tv)
    return GapBound(*(np.asarray(term, dtype=float) for term in np.broadcast_arrays(*terms)))


def cumulative_shift(d_tv, alpha, i) -> np.ndarray:
    r"""Bound :math:`d_{TV}\frac{1-(1-\alpha)^i}\alpha` on :math:`E\,\mathrm{TV}(D_i,D_0)`.

    ``d_tv`` bounds the distance between the output of a generation and its training law;
    i counts generations, from 1 up. Triangle inequality (paper B) at a constant share.
    """
    return np.asarray(d_tv) * gain(alpha, np.asarray(i) - 1)


class PaperBound(NamedTuple):
    """Terms of the paper's bound with all constants 1; see :func:`paper_style_bound`."""

    shift: np.ndarray
    sampling: np.ndarray
    stability: np.ndarray

    @property
    def total(self) -> np.ndarray:
        return self.shift + self.sampling + self.stability


def paper_style_bound(alpha, i, n, beta, d_tv, delta=0.05, loss_range=1.0) -> PaperBound:
    r"""The shape of the paper's high-probability bound on the gap, constants set to 1.

    :math:`d_{TV}M\frac{1-(1-\alpha)^i}\alpha+M\sqrt{\log(1/\delta)/n}+\beta\log n\,\log(1/\delta)`.

    Notes
    -----
    Reconstructed from the summary of paper A: the constants are unknown, and the terms that
    hold the recursive stability are left out, as their exact form did not reach us.
    """
    if not np.all((np.asarray(delta) > 0) & (np.asarray(delta) < 1)):
        raise ValueError("the probability delta must lie in (0, 1)")
    n, doubt = np.asarray(n, dtype=float), np.log(1 / np.asarray(delta))
    return PaperBound(
        loss_range * cumulative_shift(d_tv, alpha, i),
        loss_range * np.sqrt(doubt / n),
        beta * np.log(n) * doubt,
    )


def critical_share(radius) -> np.ndarray:
    r"""Real share above which perturbations stay bounded: :math:`\max\{0,1-1/\rho(K)\}`.

    Parameters
    ----------
    radius : array_like
        Spectral radius :math:`\rho(K)` of the learner's mean response operator: a small
        change of the synthetic data by :math:`\delta` changes the expected output by
        :math:`K\delta`. From 0 up; 0 or infinite are allowed.

    Notes
    -----
    Perturbations obey :math:`\delta_{i+1}=g+(1-\alpha)K\delta_i`. They stay bounded for every g
    iff :math:`(1-\alpha)\rho(K)<1`.
    """
    radius = np.asarray(radius, dtype=float)
    if not np.all(radius >= 0):
        raise ValueError("a spectral radius must not be negative")
    return (1 - 1 / np.maximum(radius, 1))[()]


def ancestry_survival(generations: int) -> np.ndarray:
    r"""Probability that a real point has descendants after t rounds of resampling, n large.

    :math:`s_{t+1}=1-e^{-s_t}`, :math:`s_0=1`: a critical branching process with Poisson
    offspring, so :math:`s_t\sim2/t`.

    Returns
    -------
    ndarray, shape (generations + 1,)
        :math:`s_0,\dots,s_T`.

    Notes
    -----
    The exact probability at size n is 1 minus the chance of no ones in
    ``binomial_laws`` started at a single one, without re-used data.
    """
    survival = [1.0]
    for _ in range(check_count("the number of generations", generations)):
        survival.append(-np.expm1(-survival[-1]))
    return np.array(survival)


def location_scale_growth(n: int) -> float:
    r"""Growth of :math:`E[\delta\mu/\sigma]` a generation when mean and variance are learned.

    :math:`\rho_n=\sqrt{n/2}\,\Gamma(\frac{n-2}2)/\Gamma(\frac{n-1}2)=1+\frac5{4n}+O(n^{-2})`, for a
    fully synthetic loop with shared noise: the shift of the mean is a martingale while the
    standard deviation it is measured in shrinks. Infinite for n = 2.
    """
    if check_count("the sample size", n) < 3:
        raise ValueError(f"the growth is finite from 3 points up, not for {n}")
    return float(np.sqrt(n / 2) * np.exp(gammaln((n - 2) / 2) - gammaln((n - 1) / 2)))


def _check_mixings(i) -> np.ndarray:
    i = np.asarray(i)
    if i.dtype.kind not in "iu" or not np.all(i >= 0):
        raise ValueError("mixings are counted by whole numbers from 0 up")
    return i
