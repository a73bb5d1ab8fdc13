r"""Ridge, lasso and logistic fits of many response vectors on one design at once.

All three need the responses :math:`y` only through the moment
:math:`c=X^\top y/n`, so a batch of data sets on the same design
:math:`X\in\mathbb R^{n\times d}` is a batch of moments of shape ``(..., d)``.
Penalties are per item: they go with the *mean* loss.

Apart from ``linear`` and ``logistic`` because these are fits and no learners: one design for all
data sets, so that 10,000 of them cost little more than one.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

__all__ = ["lasso", "logistic", "ridge"]


def ridge(gram: np.ndarray, moment: np.ndarray, penalty: float) -> np.ndarray:
    r"""Minimise :math:`\frac1{2n}\|y-Xb\|^2+\frac\lambda2\|b\|^2`.

    Parameters
    ----------
    gram : ndarray, shape (d, d)
        :math:`X^\top X/n`.
    moment : ndarray, shape (..., d)
        :math:`X^\top y/n`, one row for each data set.
    penalty : float
        :math:`\lambda\ge0`.

    Returns
    -------
    ndarray, shape (..., d)

    Raises
    ------
    ValueError
        If the penalty is negative.
    """
    _check_penalty(penalty)
    inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
    return moment @ inverse


def lasso(
    gram: np.ndarray,
    moment: np.ndarray,
    penalty: float,
    tolerance: float = 1e-11,
    sweeps: int = 10_000,
) -> np.ndarray:
    r"""Minimise :math:`\frac1{2n}\|y-Xb\|^2+\lambda\|b\|_1` by coordinate descent.

    Every step updates one coordinate of all data sets.

    Parameters
    ----------
    gram : ndarray, shape (d, d)
        :math:`X^\top X/n`, with a positive diagonal.
    moment : ndarray, shape (..., d)
        :math:`X^\top y/n`, one row for each data set.
    penalty : float
        :math:`\lambda\ge0`.
    tolerance : float
        Stop when a sweep over the coordinates moves none by more than this.
    sweeps : int
        Most sweeps that are made.

    Returns
    -------
    ndarray, shape (..., d)

    Raises
    ------
    ValueError
        If the penalty is negative.
    RuntimeError
        If the sweeps do not suffice.
    """
    _check_penalty(penalty)
    fit = np.zeros_like(moment)
    for _ in range(sweeps):
        largest = 0.0
        for j, column in enumerate(gram.T):
            # Correlation of coordinate j with the residual that leaves j out.
            partial = moment[..., j] - fit @ column + fit[..., j] * gram[j, j]
            new = np.sign(partial) * np.maximum(np.abs(partial) - penalty, 0) / gram[j, j]
            largest = max(largest, float(np.abs(new - fit[..., j]).max(initial=0)))
            fit[..., j] = new
        if largest <= tolerance:
            return fit
    raise RuntimeError(f"the lasso has not converged after {sweeps} sweeps")


def logistic(
    design: np.ndarray, moment: np.ndarray, penalty: float, tolerance: float = 1e-10
) -> np.ndarray:
    r"""Minimise the mean logistic loss plus :math:`\frac\lambda2\|b\|^2` by Newton steps.

    Parameters
    ----------
    design : ndarray, shape (n, d)
        :math:`X`.
    moment : ndarray, shape (..., d)
        :math:`X^\top y/n` with labels y in {0, 1}, one row for each data set.
    penalty : float
        :math:`\lambda>0`, which makes the fit exist for separable data too.
    tolerance : float
        Stop when no entry of any gradient is larger.

    Returns
    -------
    ndarray, shape (..., d)

    Raises
    ------
    ValueError
        If the penalty is not positive.
    RuntimeError
        If 200 steps do not suffice.

    Notes
    -----
    A step is shortened by :math:`\log(1+\delta)/\delta`, where :math:`\delta` is the
    largest change it makes to a linear predictor. The third derivative of the
    logistic loss is at most its second, and for such losses this damping makes
    Newton's method descend from every start.
    """
    _check_penalty(penalty)
    if penalty == 0:
        raise ValueError("without a penalty a separable data set has no fit")
    count, width = design.shape
    products = (design[:, :, None] * design[:, None, :]).reshape(count, -1) / count
    ridge_part = penalty * np.eye(width)
    fit = np.zeros_like(moment)
    for _ in range(200):
        chance = expit(fit @ design.T)
        gradient = moment - chance @ design / count - penalty * fit
        if np.abs(gradient).max(initial=0) <= tolerance:
            return fit
        curvature = (chance * (1 - chance)) @ products
        hessian = curvature.reshape(*moment.shape, width) + ridge_part
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        change = np.abs(step @ design.T).max(axis=-1, keepdims=True)
        fit = fit + step * np.log1p(change) / np.maximum(change, 1e-300)
    raise RuntimeError("the logistic fits have not converged after 200 Newton steps")


def _check_penalty(penalty: float) -> None:
    if not penalty >= 0:
        raise ValueError(f"a penalty must not be negative, got {penalty!r}")
