"""A one-dimensional Gaussian mixture fitted by EM, all repetitions at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stlcore.checks import check_count
from stlcore.learners.categorical import check_law
from stlcore.metrics.distances import wasserstein_atoms

__all__ = ["GaussianMixture1D", "Mixture", "Points", "log_likelihood"]

FLOOR = 1e-6  # smallest variance a component may take, as a part of the smallest true one
EMPTY = 1e-3  # a component that explains fewer points than this is empty
BLOCK = 2**16  # numbers in the largest array of an EM step, so that it stays in the cache
LOG_2PI = float(np.log(2 * np.pi))


class Mixture(NamedTuple):
    """A mixture of J normal laws; arrays of shape (repetitions, J), the truth (J,)."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    lost: np.ndarray | bool = False
    """Components that the fit left empty or at the variance floor."""
    steps: np.ndarray | int = 0
    """EM steps taken, shape (repetitions,)."""
    converged: np.ndarray | bool = True
    """Whether EM met its tolerance, shape (repetitions,)."""


class Points(NamedTuple):
    """Real numbers, shape (repetitions, n), in an order that means nothing."""

    values: np.ndarray
    counted: np.ndarray | None = None
    """1 for a point, 0 for a place left over; None if every repetition has n points."""


class GaussianMixture1D:
    r"""Weights, means and variances of J normal components, fitted by EM.

    EM starts from the previous round's fit and in round 1 from the truth; no
    later round is told the truth. It stops for a repetition when a step changes
    its mean log-likelihood by less than ``tolerance``. A variance never falls
    below 1e-6 of the smallest true one. A component that explains less than
    1/1000 of a point is *empty*: it keeps its mean and variance. A component
    empty or at the variance floor at the end is *lost*; the next round starts it
    anew, component j at the (j - 1/2)/J quantile of the training set, with the
    variance of the whole set and weight 1/J.

    Parameters
    ----------
    weights, means, variances : array_like, shape (J,)
        The true law.
    tolerance : float
        Of the stopping rule.
    steps : int
        Most steps of EM.

    Raises
    ------
    ValueError
        If the weights are no probability vector, shapes differ, a mean is not
        finite, a variance is not finite and positive, or the tolerance is not positive.

    Notes
    -----
    Model: :class:`Mixture`. Tracks ``wasserstein``, the 1-Wasserstein distance
    between fitted and true mixing measure with atoms at the means (paper C,
    App. C.2, compares mixing measures so; its text as we have it does not show
    whether an atom also has the variance as a coordinate, so this is our
    choice), ``lost`` (number of lost components), ``steps``, and
    ``unconverged`` (1 where EM ran out of steps). Labels of components do not
    matter to a mixing measure.

    EM creeps where components overlap, so a fit that starts from the previous
    one and stops too early stays too close to it. A tolerance of 1e-4 shows
    that bias plainly in such a loop; hence the small default.
    """

    def __init__(self, weights, means, variances, *, tolerance: float = 1e-7, steps: int = 1000):
        weights = check_law("the vector of weights", weights)
        means, variances = np.asarray(means, dtype=float), np.asarray(variances, dtype=float)
        if weights.ndim != 1 or not weights.shape == means.shape == variances.shape:
            raise ValueError("weights, means and variances must be vectors of the same length")
        if not np.isfinite(means).all():
            raise ValueError("every mean must be a finite number")
        if not (np.isfinite(variances).all() and (variances > 0).all()):
            raise ValueError("every variance must be finite and positive")
        if not tolerance > 0:
            raise ValueError(f"the tolerance must be positive, not {tolerance!r}")
        self.truth = Mixture(weights, means, variances)
        self.tolerance, self.steps = tolerance, check_count("steps", steps)
        self.floor = FLOOR * variances.min()

    def sample(
        self,
        models: Sequence[Mixture],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
    ) -> Points:
        """Points of the mixture of ``models``, sorted by component."""
        shape = (len(size), len(self.truth.weights))
        laws = [[np.broadcast_to(part, shape) for part in model[:3]] for model in models]
        chances = np.hstack([w * law[0] for w, law in zip(weights, laws, strict=True)])
        means = np.hstack([law[1] for law in laws])
        spreads = np.sqrt(np.hstack([law[2] for law in laws]))
        counts = rng.multinomial(size, chances / chances.sum(axis=1, keepdims=True)).ravel()
        drawn = rng.standard_normal(size.sum())
        drawn *= np.repeat(spreads.ravel(), counts)
        drawn += np.repeat(means.ravel(), counts)
        if (size == size[0]).all():
            return Points(drawn.reshape(len(size), -1))
        places = np.arange(size.max()) < size[:, None]
        first = drawn[np.cumsum(size) - size]  # fills the places left over
        values = np.repeat(first[:, None], size.max(), axis=1)
        values[places] = drawn
        return Points(values, places.astype(float))

    def fit(self, sample: Points, previous: Mixture | None = None) -> Mixture:
        """The mixture that EM arrives at; ValueError if a point is not finite."""
        if not np.isfinite(sample.values).all():
            raise ValueError("every point must be a finite number")
        start = self._start(sample, previous)
        rows = max(1, BLOCK // (sample.values.shape[1] * len(self.truth.weights)))
        parts = []
        for low in range(0, len(sample.values), rows):
            block = slice(low, low + rows)
            counted = None if sample.counted is None else sample.counted[block]
            points = Points(sample.values[block], counted)
            first = Mixture(*(part[block] for part in start[:3]))
            parts.append(_em(points, first, self.tolerance, self.steps, self.floor))
        return Mixture(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def count(self, sample: Points) -> np.ndarray:
        """Number of points."""
        if sample.counted is None:
            return np.full(len(sample.values), sample.values.shape[1])
        return sample.counted.sum(axis=1).astype(np.int64)

    def pool(self, first: Points, second: Points) -> Points:
        """The points of both samples."""
        values = np.hstack([first.values, second.values])
        if first.counted is None and second.counted is None:
            return Points(values)
        counted = [
            np.ones(part.values.shape) if part.counted is None else part.counted
            for part in (first, second)
        ]
        return Points(values, np.hstack(counted))

    def subset(self, sample: Points, size: int, rng: np.random.Generator) -> Points:
        """A random part of each repetition's points.

        Raises
        ------
        ValueError
            If the repetitions have different numbers of points, or fewer than ``size``.
        """
        if sample.counted is not None:
            raise ValueError("a part can only be taken where all repetitions have as many points")
        if not 1 <= size <= sample.values.shape[1]:
            raise ValueError(f"cannot take {size} of {sample.values.shape[1]} points")
        return Points(rng.permuted(sample.values, axis=1)[:, :size])

    def track(self, model: Mixture) -> dict[str, np.ndarray]:
        """Distance to the true mixing measure, and what became of EM."""
        return {
            "wasserstein": wasserstein_atoms(
                model.means, model.weights, self.truth.means, self.truth.weights
            ),
            "lost": np.sum(model.lost, axis=-1),
            "steps": model.steps,
            "unconverged": np.logical_not(model.converged).astype(int),
        }

    def _start(self, sample: Points, previous: Mixture | None) -> Mixture:
        shape = (len(sample.values), len(self.truth.weights))
        if previous is None:
            return Mixture(*(np.broadcast_to(part, shape) for part in self.truth[:3]))
        rows = np.flatnonzero(previous.lost.any(axis=1))
        if len(rows) == 0:
            return Mixture(*previous[:3])
        weights, means, variances = (part.copy() for part in previous[:3])
        values = sample.values[rows]
        if sample.counted is not None:
            values = np.where(sample.counted[rows] > 0, values, np.nan)
        lost, share = previous.lost[rows], 1 / shape[1]
        quantiles = np.nanquantile(values, (np.arange(shape[1]) + 0.5) * share, axis=1).T
        spread = np.maximum(np.nanvar(values, axis=1), self.floor)[:, None]
        # The other components share what the lost ones, now at 1/J each, leave.
        others = np.where(lost, 0, weights[rows])
        others /= np.maximum(others.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        weights[rows] = np.where(lost, share, others * (1 - share * lost.sum(axis=1))[:, None])
        means[rows] = np.where(lost, quantiles, means[rows])
        variances[rows] = np.where(lost, spread, variances[rows])
        return Mixture(weights, means, variances)


def log_likelihood(sample: Points, model: Mixture) -> np.ndarray:
    """Mean log-likelihood of a point, shape (repetitions,)."""
    gap = sample.values[:, None, :] - model.means[:, :, None]
    with np.errstate(divide="ignore"):
        scale = np.log(model.weights) - 0.5 * (LOG_2PI + np.log(model.variances))
    logs = np.logaddexp.reduce(
        scale[:, :, None] - gap**2 / (2 * model.variances[:, :, None]), axis=1
    )
    return np.average(logs, axis=1, weights=sample.counted)


def _em(points: Points, start: Mixture, tolerance: float, steps: int, floor: float) -> Mixture:
    """EM for a block of repetitions; one that has converged is frozen and taken out."""
    counted = points.counted
    centre = np.average(points.values, axis=1, weights=counted)[:, None]
    x = points.values - centre
    powers = np.stack([np.ones_like(x), x, x**2], axis=1)
    size = np.full(len(x), float(x.shape[1])) if counted is None else counted.sum(axis=1)
    law = [start.weights, start.means - centre, start.variances]
    active, last = np.arange(len(x)), np.full(len(x), -np.inf)
    result = Mixture(
        *(np.empty(start.weights.shape) for _ in range(3)),
        lost=np.empty(start.weights.shape, dtype=bool),
        steps=np.empty(len(x), dtype=int),
        converged=np.empty(len(x), dtype=bool),
    )
    for step in range(1, steps + 1):
        parts, log_density = _expect(law, powers)
        if counted is not None:
            parts *= counted[:, None]
            log_density *= counted
        score = log_density.sum(axis=1) / size
        law, lost = _maximise(law, np.matmul(parts, powers.transpose(0, 2, 1)), size, floor)
        met = np.abs(score - last) < tolerance
        out = met | (step == steps)
        last = score
        if out.any():
            state = Mixture(*law, lost, np.full(len(met), step), met)
            for whole, part in zip(result, state, strict=True):
                whole[active[out]] = part[out]
            active, last, powers, size = active[~out], last[~out], powers[~out], size[~out]
            law = [part[~out] for part in law]
            counted = None if counted is None else counted[~out]
        if len(active) == 0:
            break
    return result._replace(means=result.means + centre)


def _expect(law, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of each point that each component explains, and the log density of the points."""
    weights, means, variances = law
    # Weight 0 gets a huge negative logarithm, for -inf would turn into NaN in the product.
    log_weights = np.log(weights, out=np.full(weights.shape, -1e300), where=weights > 0)
    constant = log_weights - 0.5 * (LOG_2PI + np.log(variances) + means**2 / variances)
    coefficients = np.stack([constant, means / variances, -0.5 / variances], axis=2)
    parts = np.matmul(coefficients, powers)
    np.exp(parts, out=parts)
    density = parts.sum(axis=1)
    if density.min() > 1e-290:
        log_density = np.log(density)
    else:
        log_density = _rescue(coefficients, powers, parts, density)
    parts /= density[:, None]
    return parts, log_density


def _rescue(coefficients, powers, parts, density) -> np.ndarray:
    """Redo, with logarithms, points so far out that their density is rounded to 0."""
    row, place = np.nonzero(density <= 1e-290)
    logs = np.einsum("pjk,pk->pj", coefficients[row], powers[row, :, place])
    top = logs.max(axis=1)
    parts[row, :, place] = np.exp(logs - top[:, None])
    density[row, place] = parts[row, :, place].sum(axis=1)
    log_density = np.log(density)
    log_density[row, place] += top
    return log_density


def _maximise(law, moments: np.ndarray, size: np.ndarray, floor: float):
    """The M-step from sums of 1, x and x^2 over the points; also which components are lost."""
    explained = moments[:, :, 0]
    empty = explained < EMPTY
    divisor = np.where(empty, 1.0, explained)
    means = np.where(empty, law[1], moments[:, :, 1] / divisor)
    variances = np.where(empty, law[2], moments[:, :, 2] / divisor - means**2)
    law = [explained / size[:, None], means, np.maximum(variances, floor)]
    return law, empty | (variances <= floor)
