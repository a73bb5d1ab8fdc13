r"""Exact loops beyond the three papers, in the language of paper C.

Throughout the model is categorical: :math:`q_t` are the frequencies of :math:`n_t` draws,
:math:`V=1-\|\theta^*\|^2` is the risk of a single draw, :math:`\alpha_t` the share of fresh
real data (:math:`\alpha_1=1`) and :math:`R_t=E\|m_t-\theta^*\|^2` the risk. All of it is
derived here. One fact carries every recursion: if the law :math:`p` of a round has mean
:math:`\theta^*`, then its frequencies have mean p and total variance
:math:`(1-\|p\|^2)/n`, and :math:`E(1-\|p\|^2)=V-E\|p-\theta^*\|^2`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from stlcore.checks import check_count, check_positive, check_sequences, check_share

__all__ = [
    "EstimatedShare",
    "best_gains",
    "budget_risk",
    "coevolution",
    "community",
    "curation_balance",
    "estimated_share",
    "gain_limit",
    "gain_risk",
    "mean_gain_risk",
    "network",
    "window_risk",
]


# --- A gain: moving part of the way ----------------------------------------------------------


def gain_risk(shares, sizes, V: float, gains) -> np.ndarray:
    r"""Risks of a loop that moves part of the way, :math:`m_t=m_{t-1}+g_t(q_t-m_{t-1})`.

    Parameters
    ----------
    shares, sizes : array_like, shape (T,)
        :math:`\alpha_t` (the first is 1) and :math:`n_t`.
    V : float
        Risk of a single draw.
    gains : array_like, shape (T,)
        :math:`g_t`, the first of them 1. A gain above 1 overshoots: then :math:`m_t` may have
        negative entries, and the formula is that of a loop only as long as it has none.

    Returns
    -------
    ndarray, shape (T,)

    Raises
    ------
    ValueError
        If a share is outside [0, 1], the first share or gain is not 1, a size is below 1, or
        a gain is negative or not finite.

    Notes
    -----
    :math:`R_t=(1-g_t\alpha_t)^2R_{t-1}+\frac{g_t^2}{n_t}\bigl(V-(1-\alpha_t)^2R_{t-1}\bigr)`.
    The gain 1 is paper C's Theorem 3.1, and :math:`g_t=n_t/N_t` its accumulation.
    """
    return _gain_risk(shares, sizes, V, gains, lambda share: -((1 - share) ** 2))


def mean_gain_risk(shares, sizes, variance: float, gains) -> np.ndarray:
    r"""The same for the mean of a normal law of known variance.

    Parameters
    ----------
    shares, sizes, gains : array_like, shape (T,)
        As in :func:`gain_risk`.
    variance : float
        :math:`\sigma^2` of the true law and of every generation.

    Returns
    -------
    ndarray, shape (T,)
        Mean squared errors of the mean.

    Notes
    -----
    The mixture of two normal laws spreads more than each of them, by
    :math:`\alpha(1-\alpha)(m_{t-1}-\mu)^2`, so
    :math:`R_t=(1-g_t\alpha_t)^2R_{t-1}+\frac{g_t^2}{n_t}\bigl(\sigma^2+\alpha_t(1-\alpha_t)R_{t-1}\bigr)`.
    """
    return _gain_risk(shares, sizes, variance, gains, lambda share: share * (1 - share))


def _gain_risk(shares, sizes, spread, gains, own) -> np.ndarray:
    shares, sizes = _one_loop(shares, sizes)
    gains = np.asarray(gains, dtype=float)
    if gains.shape != shares.shape or not np.all((gains >= 0) & (gains < math.inf)):
        raise ValueError("there must be one gain for each round, finite and not negative")
    if gains[0] != 1:
        raise ValueError("the first gain must be 1: round 1 has no model to start from")
    risks = np.empty(len(shares))
    risks[0] = spread / sizes[0]
    for t in range(1, len(shares)):
        noise = spread + own(shares[t]) * risks[t - 1]
        carried = (1 - gains[t] * shares[t]) ** 2 * risks[t - 1]
        risks[t] = carried + gains[t] ** 2 * noise / sizes[t]
    return risks


def gain_limit(share: float, size: float, V: float, gain: float) -> float:
    r"""Limit of :func:`gain_risk` with a fixed share, size and gain.

    Raises
    ------
    ValueError
        If the share is 0 or above 1, the size below 1, or the gain not in (0, 1].

    Notes
    -----
    :math:`R_\infty=\frac{gV/n}{2\alpha-g\alpha^2+g(1-\alpha)^2/n}`.
    """
    if not check_share(share) > 0 or not check_share(gain, "the gain") > 0 or size < 1:
        raise ValueError("the share and the gain must be above 0 and the size at least 1")
    return gain * V / size / (2 * share - gain * share**2 + gain * (1 - share) ** 2 / size)


def best_gains(shares, sizes, V: float) -> np.ndarray:
    r"""Gains that make the risk of each round smallest, given the risk before it.

    Parameters
    ----------
    shares, sizes, V
        As in :func:`gain_risk`.

    Returns
    -------
    ndarray, shape (T,)
        The first is 1; a round without fresh data has gain 0.

    Notes
    -----
    With :math:`B_t=V-(1-\alpha_t)^2R_{t-1}` the gain is
    :math:`\alpha_tR_{t-1}/(\alpha_t^2R_{t-1}+B_t/n_t)`, and the risk follows
    :math:`1/R_t=1/R_{t-1}+n_t\alpha_t^2/B_t`. The choice looks one round ahead.
    """
    shares, sizes = _one_loop(shares, sizes)
    gains, risk = np.ones(len(shares)), V / sizes[0]
    for t in range(1, len(shares)):
        noise = (V - (1 - shares[t]) ** 2 * risk) / sizes[t]
        whole = shares[t] ** 2 * risk + noise
        gains[t] = shares[t] * risk / whole if whole > 0 else 0.0
        risk = (1 - gains[t] * shares[t]) * risk
    return gains


# --- How much is real ------------------------------------------------------------------------


class EstimatedShare(NamedTuple):
    """An estimate of the share of real items, and how much it varies."""

    share: np.ndarray | float
    """The estimate; it may lie outside [0, 1]."""
    deviation: np.ndarray | float
    """Its standard deviation."""


def estimated_share(kept, size, type1: float, type2: float) -> EstimatedShare:
    r"""Share of real items from the fraction that a detector keeps.

    Parameters
    ----------
    kept : float or array_like
        The fraction f of items that it takes for real.
    size : float
        Number n of items it looked at.
    type1, type2 : float
        Its error rates: :math:`\eta`, a real item is taken for synthetic, and :math:`\nu`, a
        synthetic one for real.

    Raises
    ------
    ValueError
        If f or a rate is outside [0, 1], or the detector is no better than chance.

    Notes
    -----
    :math:`f` has mean :math:`\alpha(1-\eta)+(1-\alpha)\nu`, so
    :math:`\hat\alpha=(f-\nu)/(1-\eta-\nu)` is unbiased (Rogan and Gladen, 1978).
    """
    kept = check_share(kept, "the fraction kept")
    power = 1 - check_share(type1, "the type-I error rate")
    power = power - check_share(type2, "the type-II error rate")
    if not power > 0:
        raise ValueError("the error rates must sum to less than 1: this detector is no better")
    return EstimatedShare((kept - type2) / power, np.sqrt(kept * (1 - kept) / size) / power)


# --- A truth that moves ----------------------------------------------------------------------


def coevolution(share: float, kappa: float, sizes, V: float, archive: float = 0.0) -> np.ndarray:
    r"""Second moments of a truth that follows the model, and of the model.

    Parameters
    ----------
    share : float
        :math:`\alpha`, the share of a round that the present truth writes.
    kappa : float
        How far the truth moves towards the model in a round:
        :math:`\theta^*_t=(1-\kappa)\theta^*_{t-1}+\kappa m_{t-1}`.
    sizes : array_like, shape (T,)
        :math:`n_t`.
    V : float
        Risk of a single draw from the first truth.
    archive : float
        Share of every round that is drawn from the first truth.

    Returns
    -------
    ndarray, shape (T, 2, 2)
        :math:`E\langle\cdot,\cdot\rangle` of :math:`(\theta^*_t-\theta^*_1,m_t-\theta^*_1)`.

    Raises
    ------
    ValueError
        If a share or kappa is outside [0, 1], or a size below 1.
    """
    share, kappa = float(check_share(share)), float(check_share(kappa, "kappa"))
    kept = 1 - float(check_share(archive, "the archive's share"))
    carry = np.array(
        [[1 - kappa, kappa], [kept * share * (1 - kappa), kept * (share * kappa + 1 - share)]]
    )
    noisy = np.array([False, True])
    return _second_moments(carry, noisy, np.diag([0.0, 1.0]), sizes, V)


# --- Models that read each other -------------------------------------------------------------


def network(mixing, share: float, sizes, V: float) -> np.ndarray:
    r"""Second moments of models that read each other by a mixing matrix.

    Parameters
    ----------
    mixing : array_like, shape (M, M)
        Row j says how much of its synthetic text model j takes from each model.
    share : float
        :math:`\alpha`, every model's share of fresh real data from round 2 on.
    sizes : array_like, shape (T,)
        Items of each model in each round.
    V : float
        Risk of a single draw.

    Returns
    -------
    ndarray, shape (T, M, M)
        :math:`E\langle m_j-\theta^*,m_k-\theta^*\rangle`.

    Raises
    ------
    ValueError
        If the matrix is not square, a row is no law, the share is outside [0, 1], or a size
        is below 1.

    Notes
    -----
    :math:`E=(1-\alpha)^2WSW^\top`, and :math:`S'=E+\mathrm{diag}(V-E_{jj})/n`: the models
    draw independently of each other given the past.
    """
    mixing = np.asarray(mixing, dtype=float)
    if mixing.ndim != 2 or mixing.shape[0] != mixing.shape[1] or not len(mixing):
        raise ValueError("the mixing matrix must have one row and one column for each model")
    if not (np.all(mixing >= 0) and np.allclose(mixing.sum(axis=1), 1, rtol=0, atol=1e-9)):
        raise ValueError("every row of the mixing matrix must be a law")
    noisy = np.ones(len(mixing), dtype=bool)
    carry = (1 - float(check_share(share))) * mixing
    return _second_moments(carry, noisy, np.eye(len(mixing)), sizes, V)


def community(members: int, share: float, contact: float, sizes, V: float) -> np.ndarray:
    r"""Risk of a model, and what two of them share, where all mix alike.

    Parameters
    ----------
    members : int
        Number M of models, from 1 up.
    share : float
        :math:`\alpha`, every model's share of fresh real data from round 2 on.
    contact : float
        :math:`\mu`, the part of its synthetic text that a model takes from the others, in
        equal parts; a model alone has none.
    sizes, V
        As in :func:`network`.

    Returns
    -------
    ndarray, shape (T, 2)
        :math:`D_t=E\|m_j-\theta^*\|^2` and :math:`C_t=E\langle m_j-\theta^*,m_k-\theta^*\rangle`
        for :math:`j\ne k`.

    Raises
    ------
    ValueError
        If there is no member, a share is outside [0, 1], a model alone has contact, or a size
        is below 1.
    """
    M, mu = check_count("the number of members", members), float(check_share(contact, "contact"))
    keep = (1 - float(check_share(share))) ** 2
    if M == 1 and mu:
        raise ValueError("a model alone has no others to read, so its contact must be 0")
    sizes = _check_sizes(sizes)
    found = np.empty((len(sizes), 2))
    found[0] = D, C = V / sizes[0], 0.0
    for t in range(1, len(sizes)):
        others = (D + (M - 2) * C) / (M - 1) if M > 1 else D  # their mean with one of them
        both = ((M - 2) * D + ((M - 1) ** 2 - (M - 2)) * C) / max(M - 1, 1) ** 2
        own = keep * ((1 - mu) ** 2 * D + 2 * mu * (1 - mu) * C + mu**2 * others)
        C = keep * ((1 - mu) ** 2 * C + 2 * mu * (1 - mu) * others + mu**2 * both)
        D = own + (V - own) / sizes[t]
        found[t] = D, C if M > 1 else 0.0
    return found


def _check_sizes(sizes) -> np.ndarray:
    sizes = np.atleast_1d(np.asarray(sizes, dtype=float))
    if sizes.ndim != 1 or not sizes.size or not np.all(sizes >= 1):
        raise ValueError("the sizes must be one number for each round, at least 1")
    return sizes


def _one_loop(shares, sizes) -> tuple[np.ndarray, np.ndarray]:
    """Shares and sizes of a single loop."""
    shares, sizes = check_sequences(shares, sizes)
    if shares.ndim != 1:
        raise ValueError("shares and sizes must be those of one loop, one number for each round")
    return shares, sizes


def _second_moments(carry, noisy, first, sizes, V: float) -> np.ndarray:
    """Moments of a state that is carried by a matrix; the noisy parts are sampled anew."""
    sizes = _check_sizes(sizes)
    found = np.empty((len(sizes), *first.shape))
    found[0] = first * V / sizes[0]
    for t in range(1, len(sizes)):
        found[t] = carry @ found[t - 1] @ carry.T
        found[t] += np.diag(np.where(noisy, V - np.diag(found[t]), 0.0) / sizes[t])
    return found


# --- Curation --------------------------------------------------------------------------------


def curation_balance(truth, weights, share: float) -> np.ndarray:
    r"""Where a loop ends whose synthetic items are kept in proportion to a weight.

    Parameters
    ----------
    truth : array_like, shape (K,)
        :math:`\theta^*`.
    weights : array_like, shape (K,)
        :math:`w_k\ge0`; only their ratios matter.
    share : float
        :math:`\alpha`, the share of fresh real data.

    Returns
    -------
    ndarray, shape (K,)
        The fixed point of :math:`m\mapsto\alpha\theta^*+(1-\alpha)\,m\circ w/\langle m,w\rangle`
        that the loop reaches from the truth.

    Raises
    ------
    ValueError
        If the truth is no law, a weight is negative or not finite, no class of positive
        probability has a positive weight, or the share is outside [0, 1].

    Notes
    -----
    :math:`m_k=\alpha\theta^*_k/(1-(1-\alpha)w_k/W)`, where for :math:`\alpha<1` W is the only
    number above :math:`(1-\alpha)\max w` (over classes of the truth) that makes the sum 1; then
    :math:`W=\langle m,w\rangle`.
    """
    truth, weights = np.asarray(truth, dtype=float), np.asarray(weights, dtype=float)
    share = float(check_share(share))
    if truth.ndim != 1 or weights.shape != truth.shape:
        raise ValueError("truth and weights must be vectors with one entry for each class")
    if not (np.all(truth >= 0) and abs(truth.sum() - 1) <= 1e-9):
        raise ValueError("the truth must be a law")
    if not np.all((weights >= 0) & (weights < math.inf)):
        raise ValueError("every weight must be finite and not negative")
    check_positive("the best weight", float(weights[truth > 0].max()))
    relative = np.where(truth > 0, weights / weights[truth > 0].max(), 0.0)
    best = np.where(relative == 1, truth, 0.0)
    if share == 0:
        return best / best.sum()

    def balance(u: float) -> np.ndarray:  # u = 1 - (1 - share) max(w) / W
        return share * truth / (1 - relative + u * relative)

    low, high = share * best.sum(), share
    if balance(low).sum() <= 1 or balance(high).sum() >= 1:  # all weights alike, but for rounding
        u = low if balance(low).sum() <= 1 else high
    else:
        u = brentq(lambda u: balance(u).sum() - 1, low, high, xtol=1e-300, rtol=1e-15)
    found = balance(u)
    return found / found.sum()


# --- A fixed budget of data ------------------------------------------------------------------


def budget_risk(shares, sizes, V: float, budget: int) -> np.ndarray:
    r"""Risks of a loop that keeps everything and trains on a random part of it.

    Parameters
    ----------
    shares, sizes, V
        As in :func:`gain_risk`.
    budget : int
        Most items b that a round trains on, drawn anew without replacement from all
        :math:`N_t=n_1+\dots+n_t`.

    Returns
    -------
    ndarray, shape (T,)

    Raises
    ------
    ValueError
        If a share is outside [0, 1], the first is not 1, a size is below 1, or the budget is
        no whole number from 1 up.

    Notes
    -----
    Let :math:`u_t` be the frequencies of all items and :math:`U_t` their risk. A random part
    has mean :math:`u_t`, so :math:`E\langle u_t-\theta^*,m_t-\theta^*\rangle=U_t` and

    .. math:: R_t=U_t+\frac{N_t-b}{b(N_t-1)}(V-U_t)\quad(N_t>b),\qquad R_t=U_t\quad(N_t\le b).

    With :math:`w_t=n_t/N_t` the pool follows

    .. math:: U_t=\bigl((1-w_t)^2+2w_t(1-w_t)(1-\alpha_t)\bigr)U_{t-1}
              +w_t^2\Bigl((1-\alpha_t)^2R_{t-1}+\frac{V-(1-\alpha_t)^2R_{t-1}}{n_t}\Bigr).
    """
    shares, sizes = _one_loop(shares, sizes)
    budget = check_count("the budget", budget)
    totals = np.cumsum(sizes)
    risks, U = np.empty(len(sizes)), V / sizes[0]
    for t, (share, size, total) in enumerate(zip(shares, sizes, totals, strict=True)):
        if t:
            w, read = size / total, (1 - share) ** 2 * risks[t - 1]
            U *= (1 - w) ** 2 + 2 * w * (1 - w) * (1 - share)
            U += w**2 * (read + (V - read) / size)
        left_out = max(total - budget, 0.0) / (budget * max(total - 1, 1.0))
        risks[t] = U + left_out * (V - U)
    return risks


def window_risk(shares, sizes, V: float, window: int) -> np.ndarray:
    r"""Risks of a loop that trains on what the last rounds drew.

    Parameters
    ----------
    shares, sizes, V
        As in :func:`gain_risk`.
    window : int
        How many rounds, the present one included; 1 is replacing.

    Returns
    -------
    ndarray, shape (T,)

    Raises
    ------
    ValueError
        If a share is outside [0, 1], the first is not 1, a size is below 1, or the window is
        no whole number from 1 up.

    Notes
    -----
    With :math:`S_{st}=E\langle q_s-\theta^*,q_t-\theta^*\rangle` and :math:`a_t` the weights of
    the rounds in the model of round t: :math:`S_{ts}=(1-\alpha_t)(Sa_{t-1})_s` for
    :math:`s<t`, the diagonal is as in Theorem 3.1, and :math:`R_t=a_t^\top Sa_t`.
    """
    shares, sizes = _one_loop(shares, sizes)
    window = check_count("the window", window)
    T = len(sizes)
    S, risks, last = np.zeros((T, T)), np.empty(T), np.zeros(T)
    for t in range(T):
        old = 1 - shares[t]
        S[t] = S[:, t] = old * (S @ last)
        read = old**2 * (risks[t - 1] if t else 0.0)
        S[t, t] = read + (V - read) / sizes[t]
        last = np.zeros(T)
        part = sizes[max(0, t + 1 - window) : t + 1]
        last[max(0, t + 1 - window) : t + 1] = part / part.sum()
        risks[t] = last @ S @ last
    return risks
