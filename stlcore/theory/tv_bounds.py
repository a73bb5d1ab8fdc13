r"""Total variation bounds of self-consuming loops (paper B).

Generation 1 is trained on the truth :math:`p_0`. Generation i + 1 is trained on
:math:`p_i=\alpha_ip_0+\sum_{k\le i}\beta_i^kp_{\theta_k}` and outputs
:math:`p_{\theta_{i+1}}`. Write :math:`D_i=\mathrm{TV}(p_{\theta_i},p_0)` and
:math:`\mathrm{err}_i=\mathrm{TV}(p_{\theta_{i+1}},p_i)`, with :math:`\mathrm{err}_0=D_1`.

A table ``beta`` of weights is a sequence of rows: ``beta[i - 1][k - 1]`` is
:math:`\beta_i^k`, row i has i entries, as in :func:`stlcore.cycles.general`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import lambertw

from stlcore.checks import check_count, check_share
from stlcore.cycles import Cycle

__all__ = [
    "biased_bound",
    "bound",
    "cycle_beta",
    "cycle_weights",
    "gaussian_phase",
    "gaussian_phase_peak",
    "noise_factor",
    "phase_break_even",
    "phase_curve",
    "phase_peak",
    "phase_peak_expansion",
    "weights_balanced",
    "weights_constant_share",
    "weights_last_share",
]


def _check_rows(beta: Sequence[Sequence[float]], i: int) -> list[np.ndarray]:
    if isinstance(i, bool) or not isinstance(i, int | np.integer) or i < 0:
        raise ValueError(f"the generation i must be a whole number from 0 up, not {i!r}")
    if i > len(beta):
        raise ValueError(f"there are weights for {len(beta)} generations, but i is {i}")
    rows = [np.asarray(row, dtype=float) for row in beta[:i]]
    for j, row in enumerate(rows, start=1):
        if row.shape != (j,):
            raise ValueError(f"row {j} of beta must have {j} entries, not {row.size}")
        if not (np.all(row >= 0) and row.sum() <= 1 + 1e-12):
            raise ValueError(f"row {j} of beta must be weights that sum to at most 1")
    return rows


def cycle_beta(cycle: Cycle, i: int) -> list[np.ndarray]:
    r"""The weights :math:`\beta_j^k` of a data cycle, j = 1..i; generation j is round j."""
    if cycle.reuses_first or cycle.pooled:
        raise ValueError("the bound needs fresh real data and a training set of its own each round")
    return [cycle.weights(j + 1).generations for j in range(1, i + 1)]


def cycle_weights(beta: Sequence[Sequence[float]], i: int, kappa=None) -> np.ndarray:
    r"""Weights :math:`A^{(i)}_k` with which the errors of all generations enter the last.

    Solves the triangular system :math:`A_i=1`,
    :math:`A_k=\sum_{j>k}A_j\kappa_j\beta_j^{k+1}` backwards.

    Parameters
    ----------
    beta : sequence of sequences
        The weights, at least i rows.
    i : int
        The last training law; the bound is for generation i + 1.
    kappa : array_like, shape (i + 1, ...), optional
        Multipliers :math:`\kappa_0,\dots,\kappa_i` of a learner that is linear in its
        training law (one per frequency, say); 1 when left out.

    Returns
    -------
    ndarray, shape (i + 1, ...)
        :math:`A_0,\dots,A_i`.

    Raises
    ------
    ValueError
        If there are too few rows, or a row is no set of weights.

    Notes
    -----
    The form of the bound is reconstructed from paper B; the system and its proof
    (the triangle inequality, unrolled) are derived here.
    """
    rows = _check_rows(beta, i)
    kappa = np.ones(i + 1) if kappa is None else np.asarray(kappa)
    if len(kappa) != i + 1:
        raise ValueError(f"kappa must have {i + 1} entries, one a generation, not {len(kappa)}")
    weights = np.zeros(kappa.shape, dtype=kappa.dtype if kappa.dtype.kind == "c" else float)
    weights[i] = 1
    for j in range(i, 0, -1):  # what generation j + 1 has of generations 1..j
        share = rows[j - 1].reshape((-1,) + (1,) * (kappa.ndim - 1))
        weights[:j] += weights[j] * kappa[j] * share
    return weights


def weights_constant_share(alpha: float, i: int) -> np.ndarray:
    r"""Closed form for a constant share of fresh data: :math:`A_k=(1-\alpha)^{i-k}`."""
    check_share(alpha)
    return (1 - alpha) ** np.arange(i, -1.0, -1.0)


def weights_last_share(share: float, i: int) -> np.ndarray:
    r"""Closed form for a fully synthetic cycle with a real share in the last generation only."""
    check_share(share)
    weights = np.full(i + 1, 1.0 - share)
    weights[i] = 1
    return weights


def weights_balanced(i: int) -> np.ndarray:
    r"""Closed form for the balanced cycle: :math:`A_i=1`, else :math:`A_k=1/(k+2)`."""
    weights = 1 / (np.arange(i + 1) + 2.0)
    weights[i] = 1
    return weights


def bound(err, beta: Sequence[Sequence[float]], i: int) -> np.ndarray:
    r"""Bound :math:`\sum_kA^{(i)}_k\,\mathrm{err}_k` on :math:`D_{i+1}`.

    Parameters
    ----------
    err : array_like, shape (..., at least i + 1)
        :math:`\mathrm{err}_0,\mathrm{err}_1,\dots`.
    beta, i
        As in :func:`cycle_weights`.

    Notes
    -----
    Holds surely, in every realisation, for errors measured in that realisation.
    """
    return _first("errors", err, i + 1) @ cycle_weights(beta, i)


def _first(what: str, values, count: int) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.shape[-1] < count:
        raise ValueError(f"the bound needs {count} {what}, but there are {values.shape[-1]}")
    return values[..., :count]


def noise_factor(weights: np.ndarray) -> float:
    r"""Factor :math:`(\sum A_k^2)^{1/2}` by which uncorrelated errors of equal size add up."""
    return float(np.sqrt(np.sum(np.asarray(weights) ** 2)))


def biased_bound(err, bias, beta: Sequence[Sequence[float]], i: int) -> np.ndarray:
    r"""Bound when samples of generation k come from a law at distance :math:`b_k` from it.

    :math:`D_{i+1}\le\sum_kA_k\bigl(\mathrm{err}_k+\sum_{l\le k}\beta_k^lb_l\bigr)`, with
    the errors measured against the law that was really sampled.

    Parameters
    ----------
    err : array_like, shape (..., at least i + 1)
        :math:`\mathrm{err}_0,\mathrm{err}_1,\dots`.
    bias : array_like, shape (..., at least i)
        :math:`b_1,b_2,\dots`.
    beta, i
        As in :func:`cycle_weights`.

    Notes
    -----
    Derived here; it answers an open question of paper B.
    """
    rows = _check_rows(beta, i)
    err, bias = _first("errors", err, i + 1), _first("biases", bias, i)
    shift = np.zeros((*np.broadcast_shapes(err.shape[:-1], bias.shape[:-1]), i + 1))
    for k, row in enumerate(rows, start=1):
        shift[..., k] = bias[..., :k] @ row
    return bound(err + shift, beta, i)


def _check_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise ValueError(f"the rate must lie in (0, 1), not {rate!r}")


def _check_floor(floor: float) -> None:
    if not 0 <= floor < math.inf:
        raise ValueError(f"the floor must be finite and not negative, not {floor!r}")


def _check_amount(lam) -> np.ndarray:
    lam = np.asarray(lam, dtype=float)
    if not np.all(lam >= 0):
        raise ValueError("the amount of synthetic data must not be negative")
    return lam


def phase_curve(
    lam, i: int, rate: float = 0.25, *, first_grows: bool = True, floor: float = 0.0
) -> np.ndarray:
    r"""The bound against the amount of synthetic data, :math:`g_i(\lambda)`.

    Each generation is trained on n real and :math:`\lambda n` synthetic points of the
    generation before, with an error :math:`C(n(1+\lambda))^{-a}`; then
    :math:`D_{i+1}\le Cn^{-a}g_i(\lambda)`. With :math:`x=1+\lambda` and :math:`r=1-1/x`,
    :math:`g_i=x^{1-a}(1-r^{i+1})` if generation 1 has :math:`nx` points too, which can only
    be real, and :math:`g_i=r^i+x^{1-a}(1-r^i)` if it has the n real points alone. With a floor
    f, that is an error :math:`C((n(1+\lambda))^{-a}+fn^{-a})`, the factors :math:`x^{-a}` become
    :math:`x^{-a}+f`, and that of generation 1 in the second version, 1, becomes 1 + f.

    Parameters
    ----------
    lam : array_like
        Synthetic points per real point, from 0 up.
    i : int
        Generation, from 1 up.
    rate : float
        Exponent a of the error in the sample size; 1/4 in paper B.
    first_grows : bool
        Whether generation 1 is trained on :math:`n(1+\lambda)` real points, or on n.
    floor : float
        f, what no sample size removes, in units of the error of n points.

    Notes
    -----
    Reconstructed from paper B, whose text at hand does not say what generation 1 has.
    """
    check_count("the generation i", i)
    _check_rate(rate)
    _check_floor(floor)
    x = 1 + _check_amount(lam)
    error = x ** (1 - rate) + floor * x  # of one generation, times x
    with np.errstate(divide="ignore"):
        log_share = np.log1p(-1 / x)
    if first_grows:
        return -error * np.expm1((i + 1) * log_share)
    return (1 + floor) * np.exp(i * log_share) - error * np.expm1(i * log_share)


def phase_peak(i: int, rate: float = 0.25, *, first_grows: bool = True) -> float:
    r"""The only maximum :math:`\lambda'(i)` of the phase curve.

    :math:`\lambda'=1/(w-1)` where :math:`w>1` solves :math:`1+w+\dots+w^i=(i+1)/(1-a)`, or,
    if generation 1 has the n real points alone,
    :math:`1+w+\dots+w^{i-1}=\frac i{1-a}\bigl(1-(1-1/w)^{1-a}\bigr)`.

    Parameters
    ----------
    i, rate, first_grows
        As in :func:`phase_curve`.

    Notes
    -----
    Derived here; paper B leaves the threshold open.
    """
    check_count("the generation i", i)
    _check_rate(rate)
    if not first_grows and i == 1:
        return rate ** (-1 / (1 - rate)) - 1
    terms = i + 1 if first_grows else i

    def excess(u: float) -> float:  # with w = exp(exp(u))
        v = math.exp(u)
        total = math.log(math.expm1(terms * v) / math.expm1(v)) - math.log(terms / (1 - rate))
        if first_grows:
            return total
        return total - math.log(-math.expm1((1 - rate) * math.log(-math.expm1(-v))))

    # The sum is at least w^(terms - 1): the upper end. Far below it is too small.
    high = math.log(math.log(terms / (1 - rate)) / (terms - 1))
    root = brentq(excess, -690, high, xtol=1e-15, rtol=1e-15)
    return 1 / math.expm1(math.exp(root))


def phase_peak_expansion(i: int, rate: float = 0.25, *, first_grows: bool = True) -> float:
    r"""Expansion of the maximum of the phase curve by Lambert's W.

    With :math:`u^*=-(1-a)-W_{-1}(-(1-a)e^{-(1-a)})` it is
    :math:`\frac{i+1}{u^*}-1-\frac{1+a-u^*}{2(u^*-a)}` up to O(1/i) or, if generation 1 has the
    n real points alone, :math:`\frac i{u^*}+\frac1{u^*-a}\bigl(\frac i{u^*}\bigr)^a` up to
    :math:`O(1+i^{2a-1})`. Derived here.
    """
    check_count("the generation i", i)
    _check_rate(rate)
    u = -(1 - rate) - lambertw(-(1 - rate) * math.exp(-(1 - rate)), -1).real
    if not first_grows:
        return float(i / u + (i / u) ** rate / (u - rate))
    return float((i + 1) / u - 1 - (1 + rate - u) / (2 * (u - rate)))


def phase_break_even(i: int, rate: float = 0.25, *, floor: float = 0.0) -> float:
    r"""The amount of synthetic data beyond which the bound is below that without any.

    The root of :math:`g_i(\lambda)=g_i(0)` beyond the peak, generation 1 growing with the others.
    It is about :math:`(i+1)^{1/a}` without a floor, and infinity for one of 1/i or more.
    Derived here.

    Parameters
    ----------
    i, rate, floor
        As in :func:`phase_curve`.
    """
    check_count("the generation i", i)
    _check_rate(rate)
    _check_floor(floor)
    if floor * i >= 1:
        return math.inf
    high = math.log(2 * (i + 1) / (1 - floor * i)) / rate
    if high > 700:
        raise ValueError("the break-even point is too large for a number")

    def excess(log_amount: float) -> float:
        return float(phase_curve(math.exp(log_amount), i, rate, floor=floor)) - 1 - floor

    # There (i + 1) x^-a < 1 - floor i, so the bound, at most (i + 1) (x^-a + floor), is lower.
    return math.exp(brentq(excess, math.log(phase_peak(i, rate)), high, xtol=1e-14, rtol=1e-14))


def gaussian_phase(lam, i: int, fresh: bool) -> np.ndarray:
    r"""Variance :math:`nV_{i+1}` of a Gaussian mean after i mixings, exactly.

    Generation 1 is the mean of n real points; each later one of n real and
    :math:`\lambda n` synthetic points. With fresh real points
    :math:`1-\frac{\lambda}{1+2\lambda}(1-r^{2i})`, with the first set used again
    :math:`1+\frac{\lambda}{1+2\lambda}(1-r^{2i})`, :math:`r=\lambda/(1+\lambda)`.
    Derived here.
    """
    check_count("the generation i", i)
    lam = _check_amount(lam)
    swing = lam / (1 + 2 * lam) * (1 - (lam / (1 + lam)) ** (2 * i))
    return 1 - swing if fresh else 1 + swing


def gaussian_phase_peak(i: int) -> float:
    r"""Where both exact curves of :func:`gaussian_phase` turn.

    The root of :math:`r^{-2i}-1=2i(1+2\lambda)/(1+\lambda)`. Derived here.
    """
    check_count("the generation i", i)

    def excess(v: float) -> float:  # with lambda = exp(v)
        lam = math.exp(v)
        power = 2 * i * math.log1p(1 / lam)
        # log(e^power - 1), for a power that may be too large for exp
        left = power + math.log(-math.expm1(-power))
        return left - math.log(2 * i * (1 + 2 * lam) / (1 + lam))

    return math.exp(brentq(excess, math.log(0.05), math.log(4.0 * i + 4), xtol=1e-15, rtol=1e-15))
