"""The exact loop of a normal law whose mean and variance are fitted by maximum likelihood.

Part of :mod:`stlcore.theory.contamination`, from which the names are imported.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stlcore.checks import check_sequences

__all__ = ["GaussianRisk", "gaussian_risk"]


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
    shares, sizes = check_sequences(shares, sizes)
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
