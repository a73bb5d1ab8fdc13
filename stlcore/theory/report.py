r"""What the three papers say of one and the same loop.

The loop is the smallest that all three speak of: coin flips whose fit is their mean. Its law
is known exactly, so every bound stands beside the truth it bounds:

======  =================================  ======================================
paper   statement                          quantity
======  =================================  ======================================
A       bound on the generalisation gap    :math:`E[R_{D_0}(h)-\hat R_{\widetilde S}(h)]`
B       total variation bound              :math:`E\,\mathrm{TV}(p_{\theta_t},p_0)`
C       risk recurrence (an equality)      :math:`R_t`
======  =================================  ======================================

The loss of paper A is :math:`(x-h)^2`; the gap is then the risk
:math:`R_t=2E(m_t-\theta)^2`, in paper C's measure.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binom

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

__all__ = ["Entry", "report"]


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


def report(truth: float, cycle: Cycle, size: int, rounds: int) -> list[Entry]:
    r"""What papers A, B and C say of a loop of coin flips.

    Parameters
    ----------
    truth : float
        Probability :math:`\theta` of heads.
    cycle : Cycle
        A share of real data, fresh or of the first set, and the last generation:
        :func:`stlcore.cycles.fresh_mixture` or :func:`stlcore.cycles.fixed_real`, without
        modifiers; the exact law of other loops is not known here.
    size, rounds : int
        Flips in every round, and rounds.

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
    B's bound has the exact mean errors
    :math:`\mathrm{err}_k=E\,\mathrm{TV}(p_{\theta_{k+1}},p_k)` in it. A's is the derived form of
    :func:`stlcore.theory.recursive_stability.gap_bound`, with the exact distance of the last
    generation, :math:`\beta=(2-1/n)/n` and
    :math:`\gamma_i=2\theta(1-\theta)\sum_{k<i}(1-\alpha)^k/n`.
    """
    theta = float(check_share(truth, "the truth"))
    n, rounds = check_count("the size", size), check_count("rounds", rounds)
    weights = [cycle.weights(t) for t in range(1, rounds + 1)]
    if cycle.pooled or cycle.filter or cycle.selection or cycle.shared_out:
        raise ValueError("the exact law is known for cycles without modifiers only")
    if any(w.generations[:-1].any() for w in weights):
        raise ValueError("the exact law is known for cycles of the last generation only")
    shares = np.array([w.fresh for w in weights])
    reused = {w.first for w in weights[1:]}
    if len(reused) > 1:
        raise ValueError("the share of re-used data must not change")
    again = reused.pop() if reused else 0.0
    if again:
        start = first_set_law(theta, n, real_count(again, n))
        laws = binomial_laws(start, rounds - 1).sum(axis=1)
        again = real_count(again, n) / n  # the loop re-uses whole items
    else:
        laws = _fresh_laws(theta, n, shares)
    model = np.arange(n + 1) / n
    risks = 2 * laws @ (model - theta) ** 2
    distances = laws @ np.abs(model - theta)
    V = 2 * theta * (1 - theta)
    nothing = np.full(rounds, np.nan)

    i = np.arange(1, rounds)
    mixed = np.full(rounds - 1, again) if again else shares[1:]
    gamma = V * gain(again, i - 1) / n if again else np.zeros(rounds - 1)
    gaps = np.full(rounds, (2 - 1 / n) / n)
    gaps[1:] = gap_bound(mixed, n, gaps[1:], gamma, distances[:-1]).total

    needs_fresh = ("fresh real data",) if again else ()
    tv = recurrence = nothing
    if not again:
        beta = [w.generations for w in weights[1:]]
        errors = _errors(theta, n, shares, laws)
        tv = np.array([bound(errors, beta, i) for i in range(rounds)])
        recurrence = risk(shares, np.full(rounds, n), V)
    return [
        Entry("A", "gap", (), gaps, risks, 1.0),
        Entry("B", "tv", needs_fresh, tv, distances, max(theta, 1 - theta)),
        Entry("C", "risk", needs_fresh, recurrence, risks, V),
    ]


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
