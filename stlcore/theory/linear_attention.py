r"""The in-context loop of one layer of linear attention, solved exactly (paper A).

A prompt holds pairs with :math:`x\sim N(0,I_d)` and :math:`y=w^\top x+\sigma\varepsilon`. Linear
attention with gain :math:`\rho` predicts with :math:`\hat w=\frac\rho n\sum_jx_jy_j`. In the loop
:math:`\alpha n` pairs follow the true weights :math:`w^*` and the others the predictor of the
generation before, with new inputs and new noise. Everything here is derived for this companion.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stlcore.checks import check_count
from stlcore.theory.recursive_stability import real_count

__all__ = ["LinearAttentionMoments", "best_gain", "linear_attention_moments"]


class LinearAttentionMoments(NamedTuple):
    """Moments after 0, 1, ... mixings; arrays of shape (mixings + 1,)."""

    overlap: np.ndarray
    r""":math:`c_i=E\langle\hat w_i,w^*\rangle/\|w^*\|^2`; 1 is unbiased, 0 has forgotten."""
    square: np.ndarray
    r""":math:`q_i=E\|\hat w_i\|^2`."""
    risk: np.ndarray
    r""":math:`E\|\hat w_i-w^*\|^2=q_i-(2c_i-1)\|w^*\|^2`."""


def linear_attention_moments(
    rho: float,
    alpha: float,
    n: int,
    d: int,
    noise: float,
    mixings: int,
    *,
    signal: float = 1.0,
    fixed: bool = False,
) -> LinearAttentionMoments:
    r"""Exact moments of the predictor through the loop.

    Parameters
    ----------
    rho : float
        The gain, which is also the spectral radius of the mean response.
    alpha : float
        Share of real pairs; :math:`\alpha n` is rounded as
        :func:`~stlcore.theory.recursive_stability.real_count` does.
    n, d : int
        Pairs in a prompt, and dimension of the inputs.
    noise : float
        :math:`\sigma`, the standard deviation of the label noise.
    mixings : int
        How many mixings follow the first, fully real, prompt.
    signal : float
        :math:`\|w^*\|^2`.
    fixed : bool
        Whether the real pairs are the same part of the first prompt in every mixing; they
        are fresh otherwise.

    Notes
    -----
    A part of m pairs with weights v has :math:`E\|\frac1m\sum xy\|^2=
    (1+\frac{d+1}m)\|v\|^2+\frac{\sigma^2d}m`. With re-used pairs, whose mean product is a, the
    recursion carries :math:`E\langle\hat w_i,a\rangle` as well.
    """
    real = real_count(alpha, n)
    check_count("the dimension", d)
    if not (noise >= 0 and signal >= 0):
        raise ValueError("the noise and the squared norm of the weights must not be negative")
    share, rest = real / n, 1 - real / n
    # E|a|^2 of the real part times its share, finite when there is none.
    real_square = (share + (d + 1) / n) * signal + noise**2 * d / n if real else 0.0
    overlap, square = [rho], [rho**2 * _prompt_square(n, d, noise, signal)]
    with_real = rho * (real_square + rest * signal)
    for _ in range(mixings):
        cross = with_real if fixed else overlap[-1] * signal
        square.append(
            rho**2
            * (
                share * real_square
                + 2 * share * rest * cross
                + rest * (rest + (d + 1) / n) * square[-1]
                + rest * noise**2 * d / n
            )
        )
        with_real = rho * (real_square + rest * with_real)
        overlap.append(rho * (share + rest * overlap[-1]))
    overlap, square = np.array(overlap), np.array(square)
    return LinearAttentionMoments(overlap, square, square - (2 * overlap - 1) * signal)


def _prompt_square(n: int, d: int, noise: float, signal: float) -> float:
    return (1 + (d + 1) / n) * signal + noise**2 * d / n


def best_gain(n: int, d: int, noise: float, signal: float = 1.0) -> float:
    r"""The gain with the least risk on a real prompt.

    :math:`\rho=\bigl[1+\frac{d+1}n+\frac{\sigma^2d}{n\|w^*\|^2}\bigr]^{-1}`.
    """
    return signal / _prompt_square(
        check_count("the number of pairs", n), check_count("the dimension", d), noise, signal
    )
