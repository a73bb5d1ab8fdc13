"""Distances between two laws of which only samples are known, in any dimension.

Distances of all pairs are computed a tile at a time, so that memory grows with the number of
points and not with its square. Points in single precision stay so, and only a tile of distances
between them is computed in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from stlcore.checks import check_count
from stlcore.lazy import extra

with extra("images"):
    from sklearn.metrics import euclidean_distances
    from sklearn.neighbors import NearestNeighbors

__all__ = ["Fidelity", "MmdTest", "fidelity", "mmd_squared", "mmd_test", "nearest"]

#: Pairs of points whose distances are in memory at once: 64 MB of them.
PAIRS = 2**23


# --- maximum mean discrepancy ----------------------------------------------------------------


class MmdTest(NamedTuple):
    """Outcome of :func:`mmd_test`."""

    squared: float
    """Unbiased estimate of the squared discrepancy; it can be negative."""
    p_value: float
    """Share of the relabellings, the given one included, with at least that value."""


def mmd_squared(x, y, bandwidth: float) -> float:
    r"""Unbiased estimate of the squared maximum mean discrepancy of two laws.

    Parameters
    ----------
    x, y : array_like, shapes (n, d) and (m, d)
        Independent samples, of at least 2 points each.
    bandwidth : float
        h of the Gaussian kernel :math:`k(x,y)=e^{-|x-y|^2/(2h^2)}`.

    Returns
    -------
    float
        :math:`E\,k(x,x')+E\,k(y,y')-2\,E\,k(x,y)` over pairs of different points.

    Raises
    ------
    ValueError
        If a sample is too small or not finite, the dimensions differ, or the bandwidth is
        not a number above 0.

    Notes
    -----
    Gretton, Borgwardt, Rasch, Schölkopf and Smola (2012), equation 3.
    """
    x, y = _checked(x, y, bandwidth)
    first = np.arange(len(x) + len(y)) < len(x)
    return float(_discrepancies(x, y, first[:, None], bandwidth)[0])


def mmd_test(
    x, y, bandwidth: float, rng: np.random.Generator, *, permutations: int = 999
) -> MmdTest:
    """Test of equal laws by relabelling the pooled sample.

    Parameters
    ----------
    x, y, bandwidth
        As in :func:`mmd_squared`; the bandwidth must not depend on who is x and who is y.
    rng : numpy.random.Generator
        Draws the relabellings.
    permutations : int
        Their number; the smallest possible p-value is 1 / (permutations + 1).

    Returns
    -------
    MmdTest
        The p-value is exact: under equal laws it is at most u with probability at most u.

    Raises
    ------
    ValueError
        As in :func:`mmd_squared`, and if the number of permutations is not a whole number
        from 1 up.
    """
    permutations = check_count("permutations", permutations)
    x, y = _checked(x, y, bandwidth)
    labels = np.zeros((len(x) + len(y), permutations + 1), dtype=bool)
    labels[: len(x)] = True
    labels[:, 1:] = rng.permuted(labels[:, 1:], axis=0)
    found = _discrepancies(x, y, labels, bandwidth)
    # Relabellings that only rename equal points must count, whatever the rounding.
    at_least = found >= found[0] - 1e-12
    return MmdTest(float(found[0]), float(at_least.mean()))


def _checked(x, y, bandwidth: float) -> list[np.ndarray]:
    """Both samples."""
    x, y = _samples(2, x=x, y=y)
    if not 0 < bandwidth < math.inf:
        raise ValueError(f"the bandwidth must be a finite number above 0, not {bandwidth!r}")
    return [x, y]


def _discrepancies(x, y, labels: np.ndarray, bandwidth: float) -> np.ndarray:
    """The estimate for each column of ``labels``, which marks the points of the first sample."""
    labels = labels.astype(float)
    n = labels[:, 0].sum()
    m = len(labels) - n
    within_first, of_first, total = 0.0, 0.0, 0.0
    groups = (x, labels[: len(x)]), (y, labels[len(x) :])
    for (one, of_one), (other, of_other) in product(groups, repeat=2):
        for rows, columns, kernel in _tiles(one, other, squared=True):
            np.exp(np.divide(kernel, -2 * bandwidth**2, out=kernel), out=kernel)
            if of_one is of_other and rows == columns:
                np.fill_diagonal(kernel, 0.0)  # pairs of two
            left, right = of_one[rows], of_other[columns]
            within_first = within_first + (left * (kernel @ right)).sum(axis=0)
            sums = kernel.sum(axis=1)
            of_first, total = of_first + sums @ left, total + sums.sum()
    across = of_first - within_first
    within_second = total - within_first - 2 * across
    return within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * across / (n * m)


def _tiles(x: np.ndarray, y: np.ndarray, *, squared: bool = False) -> Iterator[tuple]:
    """The table of distances between all points, by tiles, with their rows and columns."""
    side = math.isqrt(PAIRS)
    for rows in _parts(len(x), side):
        here = x[rows].astype(float, copy=False)
        for columns in _parts(len(y), side):
            there = y[columns].astype(float, copy=False)
            yield rows, columns, euclidean_distances(here, there, squared=squared)


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


# --- neighbours ------------------------------------------------------------------------------


class Fidelity(NamedTuple):
    """How well generated points match real ones; see :func:`fidelity`."""

    precision: float
    """Share of the generated points inside the ball of some real point."""
    recall: float
    """Share of the real points inside the ball of some generated point."""
    density: float
    """Balls of real points that hold a generated point, on average, over k; can exceed 1."""
    coverage: float
    """Share of the real points whose ball holds a generated point."""


def fidelity(real, generated, *, neighbours: int = 5) -> Fidelity:
    """Precision and recall, density and coverage of generated points.

    The ball of a point reaches to its k-th nearest neighbour in its own sample.

    Parameters
    ----------
    real, generated : array_like, shapes (n, d) and (m, d)
        More than k points each.
    neighbours : int
        k.

    Raises
    ------
    ValueError
        If a sample is too small or not finite, or the dimensions differ.

    Notes
    -----
    Precision and recall: Kynkäänniemi, Karras, Laine, Lehtinen and Aila (2019). Density and
    coverage: Naeem, Oh, Uh, Choi and Yoo (2020).
    """
    k = check_count("neighbours", neighbours)
    real, generated = _samples(k + 1, real=real, generated=generated)
    radii = nearest(real, k), nearest(generated, k)
    balls = np.zeros(len(generated), dtype=int)  # of real points, around each generated one
    recalled, covered = np.zeros((2, len(real)), dtype=bool)
    for rows, columns, distances in _tiles(real, generated):
        inside = distances <= radii[0][rows, None]
        balls[columns] += inside.sum(axis=0)
        covered[rows] |= inside.any(axis=1)
        recalled[rows] |= (distances <= radii[1][columns]).any(axis=1)
    return Fidelity(
        precision=float((balls > 0).mean()),
        recall=float(recalled.mean()),
        density=float(balls.mean() / k),
        coverage=float(covered.mean()),
    )


def nearest(points, k: int = 1, *, to=None) -> np.ndarray:
    """Distance of each point to its k-th nearest other point, or to that of another sample.

    Parameters
    ----------
    points : array_like, shape (n, d)
        From where.
    k : int
        Which neighbour.
    to : array_like, shape (m, d), optional
        Among which; among the points themselves when left out, where none is its own neighbour.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    ValueError
        If there are fewer than k neighbours, a sample is not finite, or the dimensions differ.
    """
    k = check_count("the neighbour", k)
    if to is None:
        (points,) = _samples(k + 1, points=points)
        distances, _ = NearestNeighbors(n_neighbors=k).fit(points).kneighbors()
    else:
        points, to = _samples(1, points=points, to=to)
        if len(to) < k:
            raise ValueError(f"to must be a table of at least {k} points")
        distances, _ = NearestNeighbors(n_neighbors=k).fit(to).kneighbors(points)
    return distances[:, -1]


def _samples(least: int, **named) -> list[np.ndarray]:
    """Samples as tables of numbers; ValueError where one is no such table or too small."""
    found = []
    for name, points in named.items():
        points = np.asarray(points)
        if points.dtype != np.float32:
            points = points.astype(float, copy=False)
        if points.ndim != 2 or len(points) < least or points.shape[1] == 0:
            raise ValueError(f"{name} must be a table of at least {least} points")
        if not np.all(np.isfinite(points)):
            raise ValueError(f"{name} must not contain NaN or infinite entries")
        if found and points.shape[1] != found[0].shape[1]:
            raise ValueError("both samples must have the same dimension")
        found.append(points)
    return found
