r"""Where a loop ends up: limits of the risk, and the verdict on two schedules.

Part of :mod:`stlcore.theory.contamination`, from which the names are imported and
whose notation is used here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad

from stlcore.checks import check_share
from stlcore.schedules import Growth, Share, Size

__all__ = ["Verdict", "classify", "limit_accumulation", "limit_fixed"]


def limit_fixed(alpha: float, n: int, V: float) -> float:
    r"""Limit :math:`V/(n-(1-\alpha)^2(n-1))` for a fixed share and size (Corollary 3.2).

    At :math:`\alpha=0` and at n = 1 it is V, at :math:`\alpha=1` it is V / n.
    """
    check_share(alpha)
    return V / (n - (1 - alpha) ** 2 * (n - 1))


def limit_accumulation(n: int, V: float) -> float:
    r"""Limit :math:`V(1-\sin x/x)`, :math:`x=\pi/\sqrt n`, of accumulation without fresh data.

    Derived here for :math:`n_t=n`; paper C (Proposition 3.7) bounds it.
    """
    return float(V * (1 - np.sinc(1 / math.sqrt(n))))


@dataclass(frozen=True)
class Verdict:
    """Where a loop ends up.

    Attributes
    ----------
    kind : str
        ``"consistency"`` (the risk vanishes), ``"improvement"`` (it ends at or
        below the first risk) or ``"collapse"`` (it ends above the first risk, or
        at the risk V of a single draw).
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


def settled(limit: float, first: float, V: float, reason: str) -> Verdict:
    """The verdict on a limit in closed form that is not 0; equal but for rounding is equal."""
    better = limit <= first * (1 + 1e-12) and limit < V * (1 - 1e-12)
    return Verdict("improvement" if better else "collapse", limit, 0.0, first, reason)


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
    the complete case distinction is derived here. The paper calls it improvement
    if the risk settles at a level better than or close to the first risk, collapse
    if above; "close" is read here as "equal": purely fresh data at a fixed size.
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
    return settled(limit, first, V, reason)


def _finite_memory(share: Share, size: Size, V: float, first: float, accumulate: bool) -> Verdict:
    r"""The first round is never quite forgotten: bracket the convergent limit.

    After T rounds, :math:`R_T(1-\sum_{t>T}c_t)\le R_\infty\le R_T+\sum_{t>T}b_t`, where
    :math:`c_t` is what round t forgets and :math:`b_t` the noise it adds; the
    tails are bounded by integrals. Besides, every risk lies between the one before
    and the level :math:`b_t/c_t`, which is monotone from T on. No risk exceeds V, and
    noise takes no more than its part of the distance to V.
    """
    rounds = 1_000_000
    alpha, n = share.curve(rounds), size.counts(rounds)
    alpha[0] = 1.0
    weight = n / np.cumsum(n) if accumulate else np.ones(rounds)
    shrink = (1 - alpha * weight) ** 2 - weight**2 / n * (1 - alpha) ** 2
    noise = weight**2 / n * V
    survives = np.append(np.cumprod(shrink[:0:-1])[::-1], 1.0)  # what later rounds leave of it
    last = float(np.sum(noise * survives))
    if n[0] == 1 and not alpha[1:].any():
        return Verdict("collapse", V, 0.0, first, "there is nothing left that could be lost")
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
    low = last * max(1 - forgotten, 0.0)
    rounding = rounds * np.finfo(float).eps  # of a million factors
    high = (last + (V - last) * min(noise_tail, 1.0)) * (1 + rounding)
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
