r"""Kernel density estimates in a loop: exact mean, bias and integrated squared error.

Round t trains a kernel density estimate :math:`\hat p_t` with bandwidth :math:`h_t` on
:math:`n_t` points of its data cycle's law, drawn i.i.d. from the mixture. An estimate is
linear in the training points, so its Fourier transform is that of the training law times
:math:`\kappa_t(\omega)=\kappa(h_t\omega)`, plus noise that is uncorrelated with the past.
Per frequency everything is then a finite linear recursion, and Parseval's formula gives
the mean integrated squared error. Paper B treats these loops by rates (reconstructed);
the exact forms here are derived for this companion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stlcore.checks import check_count
from stlcore.cycles import Cycle
from stlcore.laws import FOURTH_ORDER, GAUSSIAN, LAPLACE, Kernel, NormalMixture
from stlcore.schedules import Size, as_size

__all__ = [
    "Mise",
    "kde_bias_tv",
    "kde_equivalent",
    "kde_mean",
    "kde_mise",
    "kde_mise_semigroup",
]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


class Mise(NamedTuple):
    r"""Mean integrated squared error of every round, in its two parts.

    Attributes
    ----------
    bias : ndarray, shape (rounds,)
        :math:`\int(E\hat p_t-p_0)^2`.
    noise : ndarray, shape (rounds,)
        :math:`\int\mathrm{Var}\,\hat p_t`.
    """

    bias: np.ndarray
    noise: np.ndarray

    @property
    def total(self) -> np.ndarray:
        r""":math:`E\int(\hat p_t-p_0)^2`, the sum of both."""
        return self.bias + self.noise


class _Round(NamedTuple):
    """The training set of a round; the shares are of the whole set."""

    count: int
    """Points of the first real set that are used again; in round 1 those that will be."""
    again: float
    """Their share."""
    real: float
    """Share of all real data."""
    generations: np.ndarray
    """Shares of the generations."""
    new: int
    """All other points."""


def kde_mise(
    truth: NormalMixture,
    kernel: Kernel,
    bandwidths: float | Sequence[float],
    cycle: Cycle,
    sizes: Size | int,
    rounds: int,
) -> Mise:
    r"""Exact mean integrated squared error of a loop of kernel density estimates.

    Write :math:`\hat p_t=M_t\hat p_0+\sum_lL_{tl}z_l` per frequency, with :math:`z_l` the
    noise of the points drawn in round l. With the weights :math:`w` of round t,
    :math:`M_t=\kappa_t(w_0+\sum_kw_kM_k)`, :math:`L_{tl}=\kappa_t(\sum_kw_kL_{kl}+[l=t])`,
    and :math:`E|z_t|^2=\frac1{n_t}(1-E|\hat m_t|^2)` with :math:`\hat m_t` the transform of
    the (random) law that is sampled. The noise adds up in squares,
    :math:`\sum_lL_{tl}^2E|z_l|^2`, the bias does not: :math:`(M_t-1)^2|\hat p_0|^2`.

    Parameters
    ----------
    truth : NormalMixture
        The truth :math:`p_0`, on the line.
    kernel : Kernel
        The kernel K.
    bandwidths : float or sequence of floats
        :math:`h_t`, one for all rounds or one each.
    cycle : Cycle
        Any cycle without accumulation or filter.
    sizes : Size or int
        Sample sizes :math:`n_t`. The number of real points used again must not change.
    rounds : int
        Number of rounds T.

    Returns
    -------
    Mise
        Bias and noise of rounds 1 to T; relative error below 1e-9.

    Raises
    ------
    ValueError
        If a bandwidth is not positive and finite, the cycle accumulates or filters, or the
        kernel takes negative values and estimates would have to be sampled.

    Notes
    -----
    Theorem B3 and model E4 of this companion's theory of paper B (derived). The integral
    over the frequencies is Gauss-Legendre in panels; the slowest part of the noise,
    :math:`\kappa_t^2/n_t`, is integrated exactly.
    """
    truth._check_line()
    h, rounds = _check(bandwidths, cycle, rounds)
    n = as_size(sizes).values(rounds)
    plan = _plan(cycle, n, rounds)
    if kernel.positive > 1 and any(part.generations.any() for part in plan):
        raise ValueError(f"{kernel} takes negative values, so its estimates cannot be sampled")
    omega, weights = _frequencies(truth, kernel, h)
    bias, noise = np.zeros(rounds), kernel.roughness / (h * n)
    block = max(16, 4_000_000 // (rounds * (rounds + 1)))
    for start in range(0, omega.size, block):
        part = slice(start, start + block)
        kappa = kernel.transform(np.multiply.outer(h, omega[part]))
        power = np.abs(truth.transform(omega[part])) ** 2
        multiplier, variance = _recursion(kappa, power, plan)
        # Both halves of the line, so 2 / (2 pi).
        bias += ((multiplier - 1) ** 2 * power) @ weights[part] / math.pi
        noise += (variance - kappa**2 / n[:, None]) @ weights[part] / math.pi
    return Mise(bias, noise)


def kde_mean(
    truth: NormalMixture,
    kernel: Kernel,
    bandwidths: float | Sequence[float],
    cycle: Cycle,
    rounds: int,
    x,
) -> np.ndarray:
    r"""Mean density :math:`E\hat p_t(x)` of every round, the loop without noise.

    Parameters
    ----------
    truth, kernel, bandwidths, cycle, rounds
        As in :func:`kde_mise`; no sample size matters, so real data used again count as
        the truth, and the kernel may be negative.
    x : array_like, shape (m,)
        Where.

    Returns
    -------
    ndarray, shape (rounds, m)
        The densities, exact to about 1e-12.
    """
    truth._check_line()
    h, rounds = _check(bandwidths, cycle, rounds)
    x = np.atleast_1d(np.asarray(x, dtype=float))
    if x.ndim != 1 or not x.size or not np.all(np.isfinite(x)):
        raise ValueError("the points x must be finite numbers in one row, at least one point")
    reach = np.abs(x[:, None] - truth.means).max()
    omega, spectrum = _bias_spectrum(truth, kernel, h, cycle, reach)
    return truth.density(x) + _inverse(spectrum, omega, x)


def kde_bias_tv(
    truth: NormalMixture,
    kernel: Kernel,
    bandwidths: float | Sequence[float],
    cycle: Cycle,
    rounds: int,
) -> np.ndarray:
    r"""Total variation between the mean density of every round and the truth.

    The distance is half the total variation of the difference of the two distribution
    functions, taken between the points where the densities cross. There are no kinks to
    integrate over.

    Parameters
    ----------
    truth, kernel, bandwidths, cycle, rounds
        As in :func:`kde_mean`.

    Returns
    -------
    ndarray, shape (rounds,)
        The distances, exact to about 1e-10.
    """
    truth._check_line()
    h, rounds = _check(bandwidths, cycle, rounds)
    # A bound for the scale; doubled below until nothing is left outside.
    spread = math.sqrt(np.sum(h**2)) + truth.deviations.max()
    reach = np.ptp(truth.means) + 9 * spread
    centre = (truth.means.max() + truth.means.min()) / 2
    while True:
        ends = centre + np.array([-reach, reach])
        omega, spectrum = _bias_spectrum(truth, kernel, h, cycle, 2 * reach)
        # Dividing by -i omega integrates from minus infinity.
        integral = spectrum * (1j / omega)
        if np.abs(_inverse(integral, omega, ends)).max() < 1e-12:
            break
        reach *= 1.5
    x = _search_grid(truth, h, ends)
    gap = _inverse(spectrum, omega, x)
    distance = np.zeros(rounds)
    for t in range(rounds):
        roots = _crossings(spectrum[t], omega, x, gap[t])
        points = np.concatenate([ends[:1], roots, ends[1:]])
        distance[t] = 0.5 * np.abs(np.diff(_inverse(integral[t : t + 1], omega, points)[0])).sum()
    return distance


def kde_mise_semigroup(
    truth: NormalMixture, bandwidths: float | Sequence[float], sizes: Size | int, rounds: int
) -> Mise:
    r"""Closed form of :func:`kde_mise` for the Gaussian kernel and the fully synthetic cycle.

    Gaussian kernels form a semigroup: after round t the mean is :math:`p_0*N(0,H_t^2I)`,
    :math:`H_t^2=\sum_{l\le t}h_l^2`, and noise of round l has been smoothed with variance
    :math:`\sum_{l\le m\le t}h_m^2`. So the integrated second moment is
    :math:`\sum_l\frac1{n_l}\prod_{m>l}(1-\frac1{n_m})(4\pi\sum_{m\ge l}h_m^2)^{-d/2}
    +\prod_m(1-\frac1{n_m})\int(p_0*N(0,H_t^2I))^2`.

    Parameters
    ----------
    truth : NormalMixture
        The truth, in any dimension d; the kernel is then :math:`N(0,h^2I_d)`.
    bandwidths, sizes, rounds
        As in :func:`kde_mise`.

    Returns
    -------
    Mise
        Exact.

    Notes
    -----
    Derived here. For one round it is the formula of Marron and Wand (1992).
    """
    rounds = check_count("rounds", rounds)
    h, n = _check_bandwidths(bandwidths, rounds), as_size(sizes).values(rounds)
    total = np.cumsum(h**2)  # H_t^2
    smoothed = _overlap(truth, 2 * total)
    bias = smoothed - 2 * _overlap(truth, total) + _overlap(truth, 0.0)
    noise = np.zeros(rounds)
    for t in range(1, rounds + 1):
        smoothing = np.cumsum((h[:t] ** 2)[::-1])[::-1]  # of the noise of rounds 1..t
        # All draws of the rounds after l that have different ancestors in round l.
        apart = np.concatenate([np.cumprod((1 - 1 / n[:t])[::-1])[::-1], [1.0]])
        injected = apart[1:] / n[:t] * (4 * math.pi * smoothing) ** (-truth.dimension / 2)
        noise[t - 1] = injected.sum() + (apart[0] - 1) * smoothed[t - 1]
    return Mise(bias, noise)


def kde_equivalent(bandwidth: float, size: int, i: int, dimension: int = 1) -> tuple[float, float]:
    r"""The one estimate that is like generation i + 1 of a fully synthetic Gaussian loop.

    With a common bandwidth h and size n the loop has the mean of one estimate with
    bandwidth :math:`H=h\sqrt{i+1}`, exactly, and to first order in 1/n its integrated
    variance for the size
    :math:`n\big/\bigl[(i+1)^{d/2}\sum_{k=1}^{i+1}k^{-d/2}\bigr]`. In one
    dimension that is about :math:`n/(2(i+1))`.

    Parameters
    ----------
    bandwidth : float
        The common bandwidth h.
    size : int
        The common sample size n.
    i : int
        Number of fully synthetic generations after the first, from 0 up.
    dimension : int
        The dimension d.

    Returns
    -------
    bandwidth, size : float
        H and the equivalent size, no whole number.

    Notes
    -----
    Derived here. The variance is that of the terms :math:`\frac1n(4\pi kh^2)^{-d/2}`; the
    rest, of the order :math:`\frac1n\int p_0^2`, is not the same for both.
    """
    h = float(_check_bandwidths(bandwidth, 1)[0])
    n, d = check_count("the sample size", size), check_count("the dimension", dimension)
    m = check_count("the generation i + 1", i + 1)
    factor = m ** (d / 2) * np.sum(np.arange(1.0, m + 1) ** (-d / 2))
    return h * math.sqrt(m), float(n / factor)


def _check(bandwidths, cycle: Cycle, rounds: int) -> tuple[np.ndarray, int]:
    if cycle.pooled or cycle.filter is not None:
        raise ValueError("the exact estimate is for cycles without accumulation or filter")
    rounds = check_count("rounds", rounds)
    cycle.check_rounds(rounds)
    return _check_bandwidths(bandwidths, rounds), rounds


def _check_bandwidths(bandwidths, rounds: int) -> np.ndarray:
    h = np.asarray(bandwidths, dtype=float)
    if not np.all((h > 0) & (h < math.inf)):
        raise ValueError("a bandwidth must be positive and finite")
    if h.ndim and h.shape != (rounds,):
        raise ValueError(f"there must be one bandwidth, or one for each of {rounds} rounds")
    return np.broadcast_to(h, rounds)


def _plan(cycle: Cycle, n: np.ndarray, rounds: int) -> list[_Round]:
    weights = [cycle.weights(t) for t in range(1, rounds + 1)]
    counts = np.rint([row.first for row in weights] * n).astype(int)
    used = np.unique(counts[counts > 0])
    if used.size > 1:
        raise ValueError("the number of re-used real points must not change")
    if used.size and used[0] > n[0]:
        raise ValueError(f"the cycle re-uses {used[0]} real points, but round 1 had {n[0]}")
    counts[0] = used[0] if used.size else 0  # the part lies in the first training set
    plan = []
    for count, size, (fresh, first, generations) in zip(counts, n, weights, strict=True):
        again = count / size
        rest = (1 - again) / (1 - first) if first < 1 else 0.0
        plan.append(_Round(count, again, again + rest * fresh, rest * generations, size - count))
    return plan


def _recursion(
    kappa: np.ndarray, power: np.ndarray, plan: Sequence[_Round]
) -> tuple[np.ndarray, np.ndarray]:
    """Multiplier and variance of every round, shape (rounds, frequencies) both."""
    rounds, count = kappa.shape
    multiplier, variance = np.zeros((rounds, count)), np.zeros((rounds, count))
    # Sources of noise: the new points of every round, and last the real ones used again.
    load, source = np.zeros((rounds, rounds + 1, count)), np.zeros((rounds + 1, count))
    if plan[0].again:
        source[-1] = (1 - power) / plan[0].count
    for t, part in enumerate(plan):
        used = np.flatnonzero(part.generations)
        weights = part.generations[used]
        mean = part.real + weights @ multiplier[used]
        mixed = np.tensordot(weights, load[used], 1)
        if part.new:
            new = 1 - part.again
            second = (mean - part.again) ** 2 * power + np.einsum(
                "lf,lf,lf->f", mixed, mixed, source
            )
            source[t] = (1 - second / new**2) / part.new
            mixed[t] = new
        mixed[-1] += part.again
        load[t] = kappa[t] * mixed
        multiplier[t] = kappa[t] * mean
        variance[t] = np.einsum("lf,lf,lf->f", load[t], load[t], source)
    return multiplier, variance


def _panels(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights of all panels between the edges."""
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + _NODES)).ravel(), (half * _WEIGHTS).ravel()


def _frequencies(
    truth: NormalMixture, kernel: Kernel, h: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for integrals over the positive frequencies."""
    # A product of many kernels has the width of a Gaussian of summed variance.
    narrow = math.sqrt(np.sum(h**2))
    # Up to here the truth matters: its squared transform falls to e^-42.
    middle = 6.5 / truth.deviations.min()
    width = min(1.5 / truth.deviations.max(), 1.5 / narrow, 4 / max(np.ptp(truth.means), 1e-9))
    edges = np.linspace(0, middle, math.ceil(middle / width) + 1)
    # From here on only kernels; what is left beyond the end is below 1e-10 of the whole.
    if kernel in (GAUSSIAN, FOURTH_ORDER):
        end, tail = 9 / h.min(), 1.5 / narrow
        rest = np.arange(middle, end + tail, tail)
    elif kernel == LAPLACE:
        steps = math.ceil(math.log(max(200 / h.min() / middle, 1.01)) / math.log(1.3))
        rest = middle * 1.3 ** np.arange(steps + 1)
    else:  # a kernel with edges has a slow and oscillating transform
        first = np.arange(middle, max(20 / h.min(), middle) + 1.5 / narrow, 1.5 / narrow)
        later = np.arange(first[-1], 1500 / h.min(), math.pi / h.max())
        rest = np.concatenate([first, later[1:]])
    return _panels(np.concatenate([edges, rest[1:]]))


def _multipliers(kappa: np.ndarray, cycle: Cycle) -> np.ndarray:
    multiplier = np.zeros_like(kappa)
    for t in range(len(kappa)):
        fresh, first, generations = cycle.weights(t + 1)
        multiplier[t] = kappa[t] * (fresh + first + generations @ multiplier[:t])
    return multiplier


def _bias_spectrum(
    truth: NormalMixture, kernel: Kernel, h: np.ndarray, cycle: Cycle, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, and the transform of every bias there times the node's weight.

    The panels resolve the waves that reach as far as ``reach``.
    """
    end = 9 / truth.deviations.min()  # the transform falls to e^-40
    width = min(1.5 / truth.deviations.max(), 1.5 / math.sqrt(np.sum(h**2)), 8 / reach)
    if end / width > 20_000:
        raise ValueError("the bandwidths, or the points, reach too far for the truth's scale")
    omega, weights = _panels(np.linspace(0, end, math.ceil(end / width) + 1))
    multiplier = _multipliers(kernel.transform(np.multiply.outer(h, omega)), cycle)
    return omega, (multiplier - 1) * truth.transform(omega) * weights


def _inverse(spectrum: np.ndarray, omega: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Inverse Fourier transforms of weighted spectra, shape (rounds, points)."""
    result = np.empty((len(spectrum), x.size))
    for start in range(0, x.size, 512):
        part = slice(start, start + 512)
        wave = np.exp(-1j * np.outer(omega, x[part]))
        result[:, part] = (spectrum @ wave).real / math.pi
    return result


def _search_grid(truth: NormalMixture, h: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Points between which a difference of densities changes its sign at most once."""
    sd = truth.deviations
    low = max((truth.means - 9 * sd).min(), ends[0])
    high = min((truth.means + 9 * sd).max(), ends[1])
    # Where the truth is 0 only a kernel with negative values makes crossings, by its own scale.
    coarse = max(sd.min() / 10, h.min() / 10)
    return np.concatenate(
        [
            np.arange(ends[0], low, coarse),
            np.linspace(low, high, math.ceil(10 * (high - low) / sd.min())),
            np.arange(ends[1], high, -coarse)[::-1],
        ]
    )


def _crossings(
    spectrum: np.ndarray, omega: np.ndarray, x: np.ndarray, gap: np.ndarray
) -> np.ndarray:
    """Where a difference of densities, known on the grid ``x``, changes its sign."""
    clear = np.flatnonzero(np.abs(gap) > 1e-11 * np.abs(gap).max())  # the rest is rounding
    change = np.flatnonzero(np.diff(np.sign(gap[clear])))
    left, right = clear[change], clear[change + 1]
    root = x[left] - gap[left] * (x[right] - x[left]) / (gap[right] - gap[left])
    slope = spectrum * (-1j * omega)
    for _ in range(3):  # Newton; an error here enters the distance only by its square
        value, steep = _inverse(np.stack([spectrum, slope]), omega, root)
        root = np.clip(root - value / np.where(steep == 0, np.inf, steep), x[left], x[right])
    return root


def _overlap(truth: NormalMixture, variance) -> np.ndarray:
    r"""The integral of the truth times the truth smoothed, for one variance or many."""
    means = truth.means.reshape(truth.weights.size, -1)
    total = truth.deviations[:, None] ** 2 + truth.deviations**2
    total = total + np.asarray(variance)[..., None, None]
    square = np.sum((means[:, None] - means) ** 2, axis=-1)
    density = (2 * math.pi * total) ** (-truth.dimension / 2) * np.exp(-square / (2 * total))
    return truth.weights @ density @ truth.weights
