r"""Kullback-Leibler projections, and when a little fresh data moves them (paper C, Section 4).

One round of training on infinitely much data is a projection: the training law
:math:`\tilde P=\alpha P^*+(1-\alpha)P_{\theta_1}` is replaced by the law of the
model class that minimises :math:`\mathrm{KL}(\tilde P\,\|\,P_\theta)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import logsumexp, rel_entr

__all__ = ["GaussianShifts", "allele_frequency", "hardy_weinberg", "kl", "stuck_share"]


def kl(p, q) -> np.ndarray:
    r""":math:`\mathrm{KL}(p\,\|\,q)=\sum_k p_k\log(p_k/q_k)` in nats, over the last axis.

    Parameters
    ----------
    p, q : array_like, shape (..., K)
        Probability vectors; leading axes broadcast.

    Returns
    -------
    ndarray, shape (...)
        Infinite where q misses a class that p has.
    """
    return rel_entr(p, q).sum(axis=-1)


def hardy_weinberg(frequency) -> np.ndarray:
    r"""The law :math:`(p^2,\,2p(1-p),\,(1-p)^2)` of three genotypes.

    Parameters
    ----------
    frequency : array_like, shape (...)
        Allele frequency p in [0, 1].

    Returns
    -------
    ndarray, shape (..., 3)

    Raises
    ------
    ValueError
        If a frequency is outside [0, 1].
    """
    p = np.asarray(frequency, dtype=float)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("an allele frequency must lie in [0, 1]")
    return np.stack([p**2, 2 * p * (1 - p), (1 - p) ** 2], axis=-1)


def allele_frequency(law) -> np.ndarray:
    r"""Frequency :math:`P_1+\frac12P_2`: the KL projection onto the Hardy-Weinberg curve.

    Parameters
    ----------
    law : array_like, shape (..., 3)
        Genotype frequencies.

    Returns
    -------
    ndarray, shape (...)
        The p for which :func:`hardy_weinberg` minimises ``kl(law, .)``.

    Notes
    -----
    Up to a constant, :math:`\mathrm{KL}(P\,\|\,P_p)` is
    :math:`-2m\log p-2(1-m)\log(1-p)` with :math:`m=P_1+\frac12P_2`, smallest at p = m.
    It is linear in the law, so the projection of a mixture is the mixture of
    the projections.
    """
    law = np.asarray(law, dtype=float)
    return law[..., 0] + law[..., 1] / 2


class GaussianShifts:
    r"""All shifts :math:`f(x-\theta)` of one mixture of unit-variance Gaussians.

    The mixture f has fixed components; only the shift :math:`\theta` is fitted.
    With one component it is the family :math:`N(\theta,1)`. Laws are densities at
    ``nodes``; integrals are trapezoid sums, whose error is far below
    rounding for these smooth densities.

    Parameters
    ----------
    offsets : sequence of float
        Means of the components of f.
    weights : sequence of float
        Their weights, positive, with sum 1.
    reach : float
        Shifts lie in [-reach, reach].

    Raises
    ------
    ValueError
        If the weights are not positive with sum 1, or the reach is not positive.
    """

    def __init__(self, offsets: Sequence[float], weights: Sequence[float], reach: float) -> None:
        self.offsets = np.asarray(offsets, dtype=float)
        self.weights = np.asarray(weights, dtype=float)
        if self.offsets.shape != self.weights.shape or self.offsets.ndim != 1:
            raise ValueError("every component needs one offset and one weight")
        if not (np.all(self.weights > 0) and abs(self.weights.sum() - 1) < 1e-12):
            raise ValueError("the weights must be positive and sum to 1")
        if not reach > 0:
            raise ValueError(f"the reach must be positive, not {reach!r}")
        self.reach = float(reach)
        self.step = 0.05
        # Twelve standard deviations beyond the outermost component: mass below 1e-32.
        self.nodes = np.arange(
            self.offsets.min() - reach - 12, self.offsets.max() + reach + 12, self.step
        )
        self.shifts = np.linspace(-reach, reach, 2 * round(20 * reach) + 1)
        self._table = self._log_density(self.shifts)
        self._pulls = np.array([self._pull(shift) for shift in self.shifts])

    def density(self, shift: float) -> np.ndarray:
        """Density at the nodes, shape (N,)."""
        return np.exp(self._log_density(shift))

    def cross_entropy(self, law: np.ndarray, shift: float) -> float:
        r""":math:`-\int p(x)\log f(x-\theta)\,dx` for the density ``law`` at the nodes."""
        return float(-self.step * law @ self._log_density(shift))

    def slope(self, law: np.ndarray, shift: float) -> float:
        r"""Derivative of :meth:`cross_entropy` with respect to the shift."""
        return float(-self.step * law @ self._pull(shift))

    def kl(self, first: float, second: float) -> float:
        """KL divergence between the laws with these two shifts, in nats."""
        law = self.density(first)
        return self.cross_entropy(law, second) - self.cross_entropy(law, first)

    def kl_curve(self, first: float) -> np.ndarray:
        """KL divergence of the law with this shift from the law at each of ``shifts``."""
        law = self.density(first)
        return -self.step * self._table @ law - self.cross_entropy(law, first)

    def minima(self, law: np.ndarray) -> np.ndarray:
        """Shifts of all local minima of ``KL(law || .)``, sorted, to about 1e-12."""
        slopes = -self.step * self._pulls @ law
        rising = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] >= 0))
        return np.array([self._flat(law, *self.shifts[i : i + 2]) for i in rising])

    def _flat(self, law: np.ndarray, low: float, high: float) -> float:
        """Where the slope is 0; at an end, if rounding alone gives it the other sign there."""
        if self.slope(law, low) >= 0:
            return low
        if self.slope(law, high) <= 0:
            return high
        return brentq(lambda shift: self.slope(law, shift), low, high, xtol=1e-14)

    def project(self, law: np.ndarray) -> float:
        """The shift that minimises ``KL(law || .)`` over the whole family."""
        found = self.minima(law)
        return float(found[np.argmin([self.cross_entropy(law, shift) for shift in found])])

    def mixture(self, share: float, truth: float, first: float) -> np.ndarray:
        r"""Density of :math:`\tilde P=\alpha P_{\theta^*}+(1-\alpha)P_{\theta_1}` at the nodes."""
        return share * self.density(truth) + (1 - share) * self.density(first)

    def _pull(self, shift: float) -> np.ndarray:
        """Derivative of the log density with respect to the shift, at the nodes."""
        pulls = self.nodes[:, None] - shift - self.offsets
        logs = np.log(self.weights) - pulls**2 / 2
        responsible = np.exp(logs - logsumexp(logs, axis=-1, keepdims=True))
        return (responsible * pulls).sum(axis=-1)

    def _log_density(self, shift) -> np.ndarray:
        z = self.nodes - np.asarray(shift, dtype=float)[..., None]
        parts = [
            np.log(w) - (z - m) ** 2 / 2 for w, m in zip(self.weights, self.offsets, strict=True)
        ]
        return logsumexp(parts, axis=0) - np.log(2 * np.pi) / 2


def stuck_share(family: GaussianShifts, truth: float, first: float) -> float:
    r"""Largest share of fresh data with which the projection stays where it was.

    Parameters
    ----------
    family : GaussianShifts
        The model class.
    truth : float
        Shift of the true law.
    first : float
        Shift :math:`\theta_1` of the previous fit, where :math:`\mathrm{KL}(P^*\,\|\,P_\theta)`
        has slope 0: the bottom of a hollow or a top.

    Returns
    -------
    float
        :math:`\alpha_c=1/(1+S)`, where S is the largest value of
        :math:`[\mathrm{KL}(P^*\|P_{\theta_1})-\mathrm{KL}(P^*\|P_\theta)]
        /\mathrm{KL}(P_{\theta_1}\|P_\theta)` over :math:`\theta\ne\theta_1`.

    Raises
    ------
    ValueError
        If the slope at ``first`` is not 0; then every positive share moves the fit. Or if
        ``first`` is the truth, from which no fit has a reason to move.

    Notes
    -----
    Derived here. Up to a constant :math:`\mathrm{KL}(\tilde P\|P_\theta)` is
    :math:`\alpha\,\mathrm{KL}(P^*\|P_\theta)+(1-\alpha)\,\mathrm{KL}(P_{\theta_1}\|P_\theta)`,
    so :math:`\theta_1` minimises it exactly when no :math:`\theta` gains more on
    the first term than it pays on the second. Close to :math:`\theta_1` both are quadratic,
    and their ratio tends to that of the curvatures.
    """
    law, own = family.density(truth), family.density(first)
    if first == truth:
        raise ValueError("the first fit is the truth, so there is nowhere to move to")
    if abs(family.slope(law, first)) > 1e-9:
        raise ValueError(f"KL(truth || .) has a slope at the shift {first:g}")

    def ratio(shift: float) -> float:
        gain = family.cross_entropy(law, first) - family.cross_entropy(law, shift)
        return gain / family.kl(first, shift)

    def curvature(of: np.ndarray) -> float:
        return (family.slope(of, first + 1e-4) - family.slope(of, first - 1e-4)) / 2e-4

    # Closer than this the ratio is nearly straight, so its end counts: the ratio of curvatures.
    away = np.abs(family.shifts - first) > 0.1
    gains = family.kl_curve(truth) - family.kl(truth, first)
    ratios = -gains[away] / family.kl_curve(first)[away]
    best = family.shifts[away][ratios.argmax()]
    found = minimize_scalar(
        lambda shift: -ratio(shift), bounds=(best - 0.05, best + 0.05), method="bounded"
    )
    near = -curvature(law) / curvature(own)
    return 1 / (1 + max(-found.fun, ratios.max(), near, 0))
