r"""What the three papers say of one and the same loop.

The loop is one that all three speak of: items of K classes, coin flips for K = 2, whose fit
are their proportions. Its law is known exactly, class by class, so every bound stands beside
the truth it bounds:

======  =================================  ======================================
paper   statement                          quantity
======  =================================  ======================================
A       bound on the generalisation gap    :math:`E[R_{D_0}(h)-\hat R_{\widetilde S}(h)]`
B       total variation bound              :math:`E\,\mathrm{TV}(m_t,\theta^*)`
C       risk recurrence (an equality)      :math:`R_t`
======  =================================  ======================================

The loss of paper A is :math:`\tfrac12\|e_x-h\|^2`, for coins :math:`(x-h)^2`; the gap is then
the risk :math:`R_t=E\|m_t-\theta^*\|^2`, in paper C's measure. For the mean of a normal law
(:func:`normal_report`) the three part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binom, norm

from stlcore.checks import check_count, check_share
from stlcore.cycles import Cycle
from stlcore.theory.contamination import risk
from stlcore.theory.recursive_stability import (
    binomial_laws,
    first_set_law,
    gain,
    gap_bound,
    real_count,
)
from stlcore.theory.tv_bounds import bound

__all__ = ["Entry", "normal_report", "report"]


#: The hypothesis of papers B and C that a loop with its first set does not meet.
FRESH = "fresh real data"


class Entry(NamedTuple):
    """What one paper says of a loop."""

    paper: str
    """A, B or C."""
    quantity: str
    """``gap``, ``tv`` or ``risk``, which is bounded or given exactly."""
    missing: tuple[str, ...]
    """The hypotheses that the loop does not meet; empty where the statement applies."""
    bound: np.ndarray
    """Its value after each round, shape (rounds,); not a number where it does not apply."""
    exact: np.ndarray
    """The exact value, shape (rounds,)."""
    trivial: float
    """What holds of any loop."""

    @property
    def applies(self) -> bool:
        """Whether the loop meets all hypotheses."""
        return not self.missing

    @property
    def vacuous(self) -> np.ndarray:
        """Whether the bound says no more than the trivial one, by round."""
        return self.bound >= self.trivial


def report(truth, cycle: Cycle, size: int, rounds: int) -> list[Entry]:
    r"""What papers A, B and C say of a loop of proportions.

    Parameters
    ----------
    truth : float or array_like, shape (K,)
        The true law :math:`\theta^*`; a number is the probability of heads of a coin.
    cycle : Cycle
        A share of real data, fresh or of the first set, and the last generation:
        :func:`stlcore.cycles.fresh_mixture` or :func:`stlcore.cycles.fixed_real`, without
        modifiers; the exact law of other loops is not known here.
    size, rounds : int
        Items in every round, and rounds.

    Returns
    -------
    list of Entry
        One for each paper, in the order A, B, C.

    Raises
    ------
    ValueError
        If the cycle looks further back or is modified, re-uses a share that changes, or a
        number is out of range.

    Notes
    -----
    A class alone is a coin, whose law a chain over its counts gives; distances and risks are
    sums over the classes. B's bound has the exact mean errors
    :math:`e_s=E\,\mathrm{TV}(m_s,p_s)` in it. A's is the derived form of
    :func:`stlcore.theory.recursive_stability.gap_bound`, with the exact distance of the last
    generation, :math:`\beta=(2-1/n)/n` and
    :math:`\gamma_i=V\sum_{k<i}(1-\alpha)^k/n`, :math:`V=1-\|\theta^*\|^2`.
    """
    theta = np.asarray(check_share(truth, "every probability of the truth"), dtype=float)
    theta = np.array([theta, 1 - theta]) if theta.ndim == 0 else theta
    if theta.ndim != 1 or not abs(theta.sum() - 1) <= 1e-9:
        raise ValueError("the truth must be a law on the classes")
    n, rounds, shares, again = _loop(cycle, size, rounds)
    model = np.arange(n + 1) / n
    risks, distances, errors = np.zeros(rounds), np.zeros(rounds), np.zeros(rounds)
    for p in theta:
        if again:
            laws = binomial_laws(first_set_law(p, n, again), rounds - 1).sum(axis=1)
        else:
            laws = _fresh_laws(p, n, shares)
            errors += _errors(p, n, shares, laws) / 2
        risks += laws @ (model - p) ** 2
        distances += laws @ np.abs(model - p) / 2
    V, again = 1 - (theta**2).sum(), again / n  # the loop re-uses whole items

    i = np.arange(1, rounds)
    mixed = np.full(rounds - 1, again) if again else shares[1:]
    gamma = V * gain(again, i - 1) / n if again else np.zeros(rounds - 1)
    gaps = np.full(rounds, (2 - 1 / n) / n)
    gaps[1:] = gap_bound(mixed, n, gaps[1:], gamma, distances[:-1]).total

    needs_fresh = (FRESH,) if again else ()
    tv = recurrence = np.full(rounds, np.nan)
    if not again:
        tv = _added_up(errors, cycle, rounds)
        recurrence = risk(shares, np.full(rounds, n), V)
    return [
        Entry("A", "gap", (), gaps, risks, 1.0),
        Entry("B", "tv", needs_fresh, tv, distances, 1 - theta.min()),
        Entry("C", "risk", needs_fresh, recurrence, risks, V),
    ]


def normal_report(cycle: Cycle, size: int, rounds: int) -> list[Entry]:
    r"""The same for the mean of a normal law of variance 1, with exact counts in every round.

    Parameters
    ----------
    cycle, size, rounds
        As in :func:`report`; of :math:`\alpha n` the nearest whole number is real.

    Returns
    -------
    list of Entry
        Paper A has no bound, for the squared loss has none, and paper C's recurrence is one of
        proportions; both stand here with their exact values, :math:`E(m_t-\mu)^2` and the gap
        :math:`2E(m_t-\mu)^2-(1-\alpha_t)E(m_{t-1}-\mu)^2`.

    Raises
    ------
    ValueError
        As in :func:`report`.

    Notes
    -----
    The mean is normal with a variance v that a recursion gives, and
    :math:`E\,\mathrm{TV}(N(m,1),N(\mu,1))=\frac2\pi\arctan\frac{\sqrt v}2`. B's errors are
    integrals over the last two means and the points, right to about 1e-4 of their size.
    """
    n, rounds, shares, again = _loop(cycle, size, rounds)
    parts = np.r_[1, np.full(rounds - 1, again / n)] if again else np.rint(shares * n) / n
    variance, with_first = np.full(rounds, 1 / n), 1 / n
    errors = np.full(rounds, 2 / np.pi * np.arctan(np.sqrt(1 / n) / 2))
    for t in range(1, rounds):
        kept = 1 - parts[t]
        variance[t] = 1 / n + kept**2 * variance[t - 1]
        if again:
            variance[t] += 2 * parts[t] * kept * with_first
            with_first = 1 / n + kept * with_first
        else:
            errors[t] = _normal_error(parts[t], variance[t - 1], n)
    gap = 2 * variance
    gap[1:] -= (1 - parts[1:]) * variance[:-1]
    nothing, needs_fresh = np.full(rounds, np.nan), (FRESH,) if again else ()
    tv = nothing if again else _added_up(errors, cycle, rounds, parts)
    distances = 2 / np.pi * np.arctan(np.sqrt(variance) / 2)
    return [
        Entry("A", "gap", ("a bounded loss",), nothing, gap, np.inf),
        Entry("B", "tv", needs_fresh, tv, distances, 1.0),
        Entry("C", "risk", ("proportions", *needs_fresh), nothing, variance, np.inf),
    ]


def _loop(cycle: Cycle, size: int, rounds: int) -> tuple[int, int, np.ndarray, int]:
    """Size, rounds, shares of fresh data, and how many items of the first set are used again."""
    n, rounds = check_count("the size", size), check_count("rounds", rounds)
    weights = [cycle.weights(t) for t in range(1, rounds + 1)]
    if cycle.pooled or cycle.filter or cycle.selection or cycle.shared_out:
        raise ValueError("the exact law is known for cycles without modifiers only")
    if any(w.generations[:-1].any() for w in weights):
        raise ValueError("the exact law is known for cycles of the last generation only")
    reused = {w.first for w in weights[1:]}
    if len(reused) > 1:
        raise ValueError("the share of re-used data must not change")
    again = reused.pop() if reused else 0.0
    return n, rounds, np.array([w.fresh for w in weights]), real_count(again, n) if again else 0


def _added_up(errors: np.ndarray, cycle: Cycle, rounds: int, parts=None) -> np.ndarray:
    """Paper B's bound in every round, from the errors of all rounds so far."""
    beta = [cycle.weights(t).generations for t in range(2, rounds + 1)]
    if parts is not None:  # whole items
        beta = [np.append(np.zeros(k), 1 - part) for k, part in enumerate(parts[1:])]
    return np.array([bound(errors, beta, i) for i in range(rounds)])


def _normal_error(share: float, variance: float, n: int) -> float:
    """Mean distance of a normal fit from the mixture of truth and last fit it is trained on."""
    last, chance = np.polynomial.hermite_e.hermegauss(11)
    last, chance = np.sqrt(variance) * last, chance / chance.sum()
    half, weight = np.polynomial.legendre.leggauss(20)
    half, weight = 3 * (half + 1), 3 * weight  # from 0 to 6: the distance has an edge at 0
    noise, weight = np.r_[-half, half], np.r_[weight, weight] * norm.pdf(np.r_[half, half])
    x = np.linspace(-7, 7, 281) + np.zeros((len(last), 1, 1))
    x = x + last[:, None, None] / 2
    trained = share * norm.pdf(x) + (1 - share) * norm.pdf(x - last[:, None, None])
    centre = (1 - share) * last[:, None, None] + noise[:, None] / np.sqrt(n)
    apart = np.abs(norm.pdf(x - centre) - trained).sum(axis=-1) * (x[0, 0, 1] - x[0, 0, 0]) / 2
    return float(chance @ apart @ weight)


def _fresh_laws(theta: float, n: int, shares: np.ndarray) -> np.ndarray:
    """Laws of the number of heads, round by round."""
    heads = np.arange(n + 1)
    laws = [binom.pmf(heads, n, theta)]
    for share in shares[1:]:
        law = np.clip(share * theta + (1 - share) * heads / n, 0, 1)
        laws.append(laws[-1] @ binom.pmf(heads, n, law[:, None]))
    return np.array(laws)


def _errors(theta: float, n: int, shares: np.ndarray, laws: np.ndarray) -> np.ndarray:
    """Mean distance of each generation from the law that it was trained on."""
    heads = np.arange(n + 1)
    found = [laws[0] @ np.abs(heads / n - theta)]
    for share, law in zip(shares[1:], laws, strict=False):
        p = np.clip(share * theta + (1 - share) * heads / n, 0, 1)[:, None]
        found.append(law @ (binom.pmf(heads, n, p) * np.abs(heads / n - p)).sum(axis=1))
    return np.array(found)
