r"""Kernel density estimates in one to three dimensions, evaluated on a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy.signal import fftconvolve, lfilter

from stlcore.laws import LAPLACE, UNIFORM, Kernel, NormalMixture
from stlcore.learners.base import Round
from stlcore.metrics.distances import check_axes, total_variation, trapezoid

__all__ = ["Estimate", "KernelDensity"]

CELLS = 16  # bins per bandwidth, for smooth kernels
REACH = 9  # a smooth kernel is below 1e-15 beyond so many bandwidths
BLOCK = 2**18  # numbers in the largest array of an evaluation, so that it stays in the cache


class Estimate(NamedTuple):
    """One kernel density estimate for each repetition."""

    points: np.ndarray
    """The training points, shape (repetitions, n), or (repetitions, n, d) for d > 1."""
    bandwidth: float
    """The bandwidth h."""
    density: np.ndarray
    """The estimate on the grid, shape (repetitions, g_1, ..., g_d)."""


class KernelDensity:
    r"""Kernel density estimate :math:`\hat p(x)=\frac1n\sum_jK_h(x-x_j)`.

    In d dimensions the kernel is the product of its values along the axes.

    Parameters
    ----------
    truth : NormalMixture
        The true law, in d = 1, 2 or 3 dimensions.
    kernel : Kernel
        One of :data:`stlcore.laws.KERNELS`.
    bandwidths : float or sequence of floats
        :math:`h_t`, one for all rounds or one for each, as in :mod:`stlcore.theory.kde`.
        :func:`stlcore.laws.standard_bandwidth` and
        :func:`stlcore.laws.loop_bandwidth` give the usual ones.
    *grid : array_like
        One axis of equidistant points for each dimension, an odd number of at least 5.
        It should leave out no mass that matters; ``tv_error`` says what it does leave out.

    Raises
    ------
    ValueError
        If a bandwidth is not positive and finite, there is not one axis for each dimension,
        an axis is no grid, or the dimension is above 3.

    Notes
    -----
    *Sampling* is exact: a training point, chosen with replacement, plus h times a draw from
    the kernel. A kernel with negative values (the fourth-order one) is no law; then the
    noise comes from its positive part, scaled to a density. The law drawn from is at most
    ``kernel.positive - 1`` away from the estimate in total variation, and not the estimate.

    *Evaluation.* On the line Laplace and uniform kernels are summed exactly. For the others
    the points go to a grid of at least 16 bins per bandwidth, with cubic weights, and the
    sum is a convolution by FFT; its error is below 2e-6/h everywhere. In two and three
    dimensions the sum is an exact product of matrices.

    Model: :class:`Estimate`. Tracks ``tv`` and ``tv_error``, the total variation distance
    to the truth and its error (:func:`stlcore.metrics.distances.total_variation`), and
    ``squared_error``, :math:`\int(\hat p-p_0)^2` on the grid, whose exact mean is
    :func:`stlcore.theory.kde.kde_mise`.
    """

    def __init__(
        self,
        truth: NormalMixture,
        kernel: Kernel,
        bandwidths: float | Sequence[float],
        *grid,
    ) -> None:
        h = np.asarray(bandwidths, dtype=float)
        if h.size == 0 or h.ndim > 1 or not np.all((h > 0) & (h < math.inf)):
            raise ValueError("a bandwidth must be a positive finite number, or one for each round")
        if truth.dimension > 3 or truth.dimension != len(grid):
            raise ValueError(
                "the grid needs one axis for each dimension of the truth, up to three:"
                f" the truth has {truth.dimension}, the grid {len(grid)}"
            )
        self.truth, self.kernel, self.bandwidths = truth, kernel, h
        self.grid = check_axes(grid)
        for axis in self.grid:
            if not np.allclose(np.diff(axis), axis[1] - axis[0], rtol=1e-6, atol=0):
                raise ValueError("the points of a grid axis must be equidistant")
        if truth.dimension == 1:
            self.truth_density = truth.density(self.grid[0])
        else:
            mesh = np.meshgrid(*self.grid, indexing="ij")
            self.truth_density = truth.density(np.stack(mesh, axis=-1))

    def sample(
        self,
        models: Sequence[NormalMixture | Estimate],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Points of the mixture of ``models``, shape (repetitions, n) or (repetitions, n, d).

        Raises
        ------
        ValueError
            If the repetitions differ in size, as they do behind a filter.
        """
        if not np.all(size == size[0]):
            raise ValueError("kernel estimates need equally many points in every repetition")
        counts = rng.multinomial(size, weights)
        ends = counts.cumsum(axis=1)
        place = np.arange(size[0])
        axes = () if self.truth.dimension == 1 else (self.truth.dimension,)
        points = np.empty((len(size), size[0], *axes))
        for k, model in enumerate(models):
            mine = (place >= (ends - counts)[:, k, None]) & (place < ends[:, k, None])
            points[mine] = self.draw(model, counts[:, k], rng)
        return points

    def draw(self, law: NormalMixture | Estimate, count: np.ndarray, rng) -> np.ndarray:
        """``count[r]`` points of repetition r, one repetition after the other in one array.

        A subclass that samples with a bias overrides this.
        """
        if isinstance(law, NormalMixture):
            return law.sample(rng, count.sum())
        row = np.repeat(np.arange(len(count)), count)
        centre = law.points[row, rng.integers(law.points.shape[1], size=row.size)]
        return centre + law.bandwidth * self.kernel.draw(rng, centre.shape)

    def fit(
        self, sample: np.ndarray, previous: Estimate | None = None, round: Round | None = None
    ) -> Estimate:
        """The estimate with the bandwidth of its round, evaluated on the grid.

        The round is needed where every round has a bandwidth of its own.

        Raises
        ------
        ValueError
            If there are no points, one of them is not finite, the shape is wrong, or there
            is no bandwidth for the round.
        """
        points = np.asarray(sample, dtype=float)
        axes = () if self.truth.dimension == 1 else (self.truth.dimension,)
        if points.ndim != 2 + len(axes) or points.shape[2:] != axes:
            wanted = ", ".join(["repetitions", "n", *map(str, axes)])
            raise ValueError(f"the points must have shape ({wanted}), not {points.shape}")
        if points.size == 0:
            raise ValueError("a kernel estimate needs at least one point")
        if not np.all(np.isfinite(points)):
            raise ValueError("every point must be a finite number")
        h = self._bandwidth(round)
        rows = max(1, BLOCK // points[0].size)
        density = [
            self._evaluate(points[low : low + rows], h) for low in range(0, len(points), rows)
        ]
        return Estimate(points, h, np.concatenate(density))

    def _bandwidth(self, round: Round | None) -> float:
        if not self.bandwidths.ndim:
            return float(self.bandwidths)
        if round is None:
            raise ValueError("every round has a bandwidth of its own, so the round must be given")
        if round.number > self.bandwidths.size:
            raise ValueError(
                f"there are bandwidths for {self.bandwidths.size} rounds, "
                f"but this is round {round.number}"
            )
        return float(self.bandwidths[round.number - 1])

    def count(self, sample: np.ndarray) -> np.ndarray:
        """Number of points."""
        return np.full(len(sample), sample.shape[1])

    def pool(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The points of both samples."""
        return np.concatenate([first, second], axis=1)

    def subset(self, sample: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """``size`` of the points of every repetition, without replacement.

        Raises
        ------
        ValueError
            If the part is empty or larger than the sample.
        """
        count = sample.shape[1]
        if not 1 <= size <= count:
            raise ValueError(f"cannot take {size} points from a sample of {count}")
        chosen = rng.permuted(np.broadcast_to(np.arange(count), sample.shape[:2]), axis=1)
        return sample[np.arange(len(sample))[:, None], chosen[:, :size]]

    def track(self, model: Estimate) -> dict[str, np.ndarray]:
        """Distances of the estimate to the truth."""
        distance = total_variation(model.density, self.truth_density, *self.grid)
        square = trapezoid((model.density - self.truth_density) ** 2, self.grid)
        return {"tv": distance.value, "tv_error": distance.error, "squared_error": square}

    def _evaluate(self, points: np.ndarray, h: float) -> np.ndarray:
        if self.truth.dimension > 1:
            return _on_product_grid(points, self.kernel, h, self.grid)
        if self.kernel is LAPLACE:
            return _laplace(points, h, self.grid[0])
        if self.kernel is UNIFORM:
            return _uniform(points, h, self.grid[0])
        return _by_fft(points, self.kernel, h, self.grid[0])


def _by_fft(points: np.ndarray, kernel: Kernel, h: float, x: np.ndarray) -> np.ndarray:
    """Smooth kernels on the line: cubic binning and a convolution."""
    spacing = (x[-1] - x[0]) / (x.size - 1)
    refine = math.ceil(CELLS * spacing / h)
    step = spacing / refine
    reach = math.ceil(REACH * h / step)
    bins = (x.size - 1) * refine + 1 + 2 * reach
    # Of a point's four bins, the second is the one to its left.
    place = (points - x[0]) / step + reach
    inside = (place >= 1) & (place < bins - 2)  # the others are out of reach
    row, place = np.nonzero(inside)[0], place[inside]
    left = np.floor(place).astype(np.int64)
    f = place - left
    near, far = (1 - f) * (1 + f) * (2 - f) / 2, f * (1 + f) * (2 - f) / 2
    weights = (-f * near / (3 * (1 + f)), near, far, -(1 - f) * far / (3 * (2 - f)))
    count = np.zeros(len(points) * bins)
    for shift, weight in enumerate(weights):
        count += np.bincount(row * bins + left - 1 + shift, weight, count.size)
    shape = kernel.density(np.arange(-reach, reach + 1) * step / h)
    smooth = fftconvolve(count.reshape(-1, bins), shape[None], mode="valid", axes=1)
    return smooth[:, ::refine] / (h * points.shape[1])


def _next_node(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Index of the first grid point not left of each point; ``x.size`` beyond the grid."""
    spacing = (x[-1] - x[0]) / (x.size - 1)
    return np.clip(np.ceil((points - x[0]) / spacing), 0, x.size).astype(np.int64)


def _histogram(node: np.ndarray, size: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Weighted counts of the nodes of each row, shape (rows, size)."""
    flat = node + size * np.arange(len(node))[:, None]
    weights = None if weights is None else weights.ravel()
    return np.bincount(flat.ravel(), weights, len(node) * size).reshape(-1, size)


def _uniform(points: np.ndarray, h: float, x: np.ndarray) -> np.ndarray:
    """Uniform kernel on the line: every point counts from its first to its last node."""
    starts = _histogram(_next_node(points - h, x), x.size + 1)
    ends = _histogram(_next_node(points + h, x), x.size + 1)
    return (starts - ends).cumsum(axis=1)[:, :-1] / (2 * h * points.shape[1])


def _laplace(points: np.ndarray, h: float, x: np.ndarray) -> np.ndarray:
    """Laplace kernel on the line: the sum decays from node to node, to both sides."""
    node = _next_node(points, x)
    spacing = (x[-1] - x[0]) / (x.size - 1)
    gap = (x[0] + node * spacing - points) / h  # to the next node, in bandwidths
    decay = math.exp(-spacing / h)
    # A point beyond an end has no next (or no previous) node; its column is dropped.
    ahead = _histogram(node, x.size + 1, np.exp(-np.maximum(gap, 0)))[:, :-1]
    behind = _histogram(node, x.size + 1, np.exp(-np.maximum(spacing / h - gap, 0)))[:, 1:]
    forward = lfilter([1], [1, -decay], ahead, axis=1)
    backward = lfilter([1], [1, -decay], behind[:, ::-1], axis=1)[:, ::-1]
    return (forward + backward) / (2 * h * points.shape[1])


def _on_product_grid(points: np.ndarray, kernel: Kernel, h: float, grid) -> np.ndarray:
    """A product kernel on a product grid: sums over the points are products of matrices."""
    count = points.shape[1]
    density = np.empty((len(points), *(axis.size for axis in grid)))
    for row, at in zip(density, points, strict=True):
        *first, last = (
            kernel.density((axis[:, None] - at[:, j]) / h) / h for j, axis in enumerate(grid)
        )
        others = reduce(lambda a, b: (a[:, None] * b).reshape(-1, count), first)
        row[...] = (others @ last.T / count).reshape(row.shape)
    return density
