r"""Diffusion models with a linear score, in closed form.

The forward process is Ornstein-Uhlenbeck, :math:`dX=-X\,dt+\sqrt2\,dB`, so that data
with mean m and variance S have mean :math:`e^{-t}m` and variance
:math:`S_t=1+(S-1)e^{-2t}` at time t. The score that a linear network learns is that of the
normal law with these moments. Sampling runs the reverse equation from :math:`N(0,1)` at
the horizon T down to the cutoff :math:`t_0`. All results are derived for this companion
(model E5 of its theory of paper B); every coordinate of normal data behaves like this.
"""

from __future__ import annotations

import math

import numpy as np

from stlcore.checks import check_count
from stlcore.cycles import Cycle

__all__ = ["diffusion_loop", "diffusion_output"]


def diffusion_output(
    mean, variance, horizon: float, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and variance of the samples of a diffusion model with a linear score.

    With :math:`\Psi=e^{-(T-t_0)}S_{t_0}/S_T` the samples are normal with mean
    :math:`e^{-t_0}m-\Psi e^{-T}m` and variance :math:`S_{t_0}+\Psi^2(1-S_T)`: the
    stationary start leaves an error that falls with the horizon, the cutoff one that does not.

    Parameters
    ----------
    mean, variance : array_like
        Moments m and S of the training data; S from 0 up.
    horizon : float
        T, beyond the cutoff.
    cutoff : float
        :math:`t_0`, from 0 up.

    Returns
    -------
    mean, variance : ndarray
        Moments of the samples, exact.

    Raises
    ------
    ValueError
        If a variance is negative, a number is not finite, or the times are in the wrong order.
    """
    mean, variance = np.asarray(mean, dtype=float), np.asarray(variance, dtype=float)
    if not (np.all(np.isfinite(mean)) and np.all((variance >= 0) & (variance < math.inf))):
        raise ValueError("the mean and the variance must be finite, the variance from 0 up")
    _check_cutoff(cutoff)
    if not cutoff < horizon < math.inf:
        raise ValueError(f"the horizon must be finite and beyond the cutoff, not {horizon!r}")
    at_cutoff, at_horizon = (1 + (variance - 1) * math.exp(-2 * t) for t in (cutoff, horizon))
    decay = math.exp(-(horizon - cutoff)) * at_cutoff / at_horizon
    out = (math.exp(-cutoff) - decay * math.exp(-horizon)) * mean
    return out, at_cutoff + decay**2 * (1 - at_horizon)


def diffusion_loop(
    cycle: Cycle,
    rounds: int,
    horizon: float,
    cutoff: float,
    mean: float = 0.0,
    variance: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Moments of every generation of a diffusion loop without sampling error.

    A linear score sees only the two moments of its training law, so the loop is a
    recursion in these, also where that law is a mixture.

    Parameters
    ----------
    cycle : Cycle
        Any cycle without accumulation or filter; real data used again count as the truth.
    rounds : int
        Number of generations.
    horizon, cutoff : float
        As in :func:`diffusion_output`.
    mean, variance : float
        Moments of the truth.

    Returns
    -------
    means, variances : ndarray, shape (rounds,)
        Moments of the samples of generations 1, 2, ...

    Raises
    ------
    ValueError
        If the cycle accumulates or filters, or as in :func:`diffusion_output`.
    """
    if cycle.pooled or cycle.filter is not None:
        raise ValueError("the exact diffusion loop is for cycles without accumulation or filter")
    rounds = check_count("rounds", rounds)
    cycle.check_rounds(rounds)
    means, variances = np.zeros(rounds + 1), np.zeros(rounds + 1)  # the truth first
    means[0], variances[0] = mean, variance
    for t in range(1, rounds + 1):
        fresh, first, generations = cycle.weights(t)
        weights = np.concatenate([[fresh + first], generations])
        centre = weights @ means[:t]
        spread = weights @ (variances[:t] + (means[:t] - centre) ** 2)
        means[t], variances[t] = diffusion_output(centre, spread, horizon, cutoff)
    return means[1:], variances[1:]


def _check_cutoff(cutoff: float) -> None:
    if not 0 <= cutoff < math.inf:
        raise ValueError(f"the cutoff must be finite and not negative, not {cutoff!r}")
