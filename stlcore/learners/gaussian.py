"""A normal law fitted by maximum likelihood, through its sufficient statistics only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

__all__ = ["Gaussian", "GaussianMean", "Moments", "Normal"]


class Normal(NamedTuple):
    """A normal law; floats, or arrays of shape (repetitions,)."""

    mean: np.ndarray | float
    variance: np.ndarray | float


class Moments(NamedTuple):
    """What a normal sample tells about its law; arrays of shape (repetitions,)."""

    count: np.ndarray
    """Number of points; 0 is allowed, the other two then mean nothing."""
    mean: np.ndarray
    """Their mean."""
    squares: np.ndarray
    """Sum of their squared deviations from that mean."""


class Gaussian:
    r"""Mean and variance as the maximum-likelihood fit of a normal law.

    No point is ever drawn. Mean and sum of squares of n normal points are
    independent, normal and (times the variance) chi-square with n - 1 degrees
    of freedom, so a round costs the same whatever its size. A training set
    from several laws is put together from the parts, whose numbers of points
    are multinomial.

    Parameters
    ----------
    mean, variance : float
        The true law :math:`N(\mu,\sigma^2)`.

    Raises
    ------
    ValueError
        If the mean is not finite, or the variance not finite and positive.

    Notes
    -----
    Model: :class:`Normal` with arrays of shape (repetitions,). The variance is
    the one with divisor n, so a sample of size 1 gives variance 0, and every
    later synthetic point then equals the mean.

    Tracks ``mean`` and ``variance`` of the fit, ``squared_error_mean``,
    ``squared_error_variance`` and their sum ``error``. Paper C (App. C.2) uses
    one number of this kind; its formula is not in the source text we have, so
    the plain sum is our choice. The exact expected values are
    :func:`stlcore.theory.contamination.gaussian_risk`.
    """

    parts_of_mixtures = False  # see `subset`

    def __init__(self, mean: float, variance: float) -> None:
        if not math.isfinite(mean):
            raise ValueError(f"the true mean must be a finite number, not {mean!r}")
        if not (math.isfinite(variance) and variance > 0):
            raise ValueError(f"the true variance must be finite and positive, not {variance!r}")
        self.truth = Normal(float(mean), float(variance))

    def sample(
        self,
        models: Sequence[Normal],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
    ) -> Moments:
        """Sufficient statistics of ``size`` points from the mixture of ``models``."""
        counts = rng.multinomial(size, weights)
        drawn = _draw(models[0], counts[:, 0], rng)
        for model, count in zip(models[1:], counts.T[1:], strict=True):
            drawn = self.pool(drawn, _draw(model, count, rng))
        return drawn

    def fit(self, sample: Moments, previous: Normal | None = None) -> Normal:
        """Mean and variance (divisor n) of the sample."""
        return Normal(sample.mean, sample.squares / sample.count)

    def count(self, sample: Moments) -> np.ndarray:
        """Number of points."""
        return sample.count

    def pool(self, first: Moments, second: Moments) -> Moments:
        """Sufficient statistics of both samples together."""
        count = first.count + second.count
        part = second.count / np.maximum(count, 1)
        gap = second.mean - first.mean
        return Moments(
            count,
            first.mean + part * gap,
            first.squares + second.squares + first.count * part * gap**2,
        )

    def subset(self, sample: Moments, size: int, rng: np.random.Generator) -> Moments:
        """Sufficient statistics of a random part of a sample from one normal law.

        Raises
        ------
        ValueError
            If the part is empty or larger than the sample.

        Notes
        -----
        Given its mean and sum of squares Q, the residuals of a normal sample
        are uniform on a sphere of radius sqrt(Q) in n - 1 dimensions. A part of
        m points splits these into 1 (the difference of the means), m - 1
        (within the part) and n - m - 1 (within the rest), so the three shares
        of Q are Dirichlet(1/2, (m-1)/2, (n-m-1)/2) and the difference has a
        random sign. This is the exact law of one part. Two parts of the same
        sample come out independent given mean and Q, which those of a real
        sample are not; the loop draws one part for each number of points.
        """
        if not 1 <= size <= sample.count.min():
            raise ValueError(
                f"cannot take {size} points from a sample of {int(sample.count.min())}"
            )
        rest = sample.count - size
        between = rng.standard_normal(len(rest))
        within = _chi_square(np.full(len(rest), size - 1), rng)
        total = between**2 + within + _chi_square(rest - 1, rng)
        shift = between * np.sqrt(rest / (size * sample.count * total))
        return Moments(
            np.full(len(rest), size),
            sample.mean + np.sqrt(sample.squares) * shift,
            np.where(rest > 0, sample.squares * within / total, sample.squares),
        )

    def track(self, model: Normal) -> dict[str, np.ndarray]:
        """The fit and its squared distances to the truth."""
        of_mean = (model.mean - self.truth.mean) ** 2
        of_variance = (model.variance - self.truth.variance) ** 2
        return {
            "mean": model.mean,
            "variance": model.variance,
            "squared_error_mean": of_mean,
            "squared_error_variance": of_variance,
            "error": of_mean + of_variance,
        }


class GaussianMean(Gaussian):
    """The mean alone is learned; every generation has the true variance, which is known.

    Tracks ``mean``, ``squared_error`` and ``total_variation``, the distance of the fitted
    law from the truth. The exact values are in :mod:`stlcore.theory.gaussian_loops`.
    """

    def fit(self, sample: Moments, previous: Normal | None = None) -> Normal:
        """Mean of the sample, with the true variance."""
        return Normal(sample.mean, self.truth.variance)

    def between(self, model: Normal, other: Normal, gain: float) -> Normal:
        """The law whose mean lies the part ``gain`` of the way from one to the other."""
        return Normal((1 - gain) * model.mean + gain * other.mean, self.truth.variance)

    def track(self, model: Normal) -> dict[str, np.ndarray]:
        """The fitted mean and two distances to the truth."""
        shift = model.mean - self.truth.mean
        apart = np.abs(shift) / (2 * math.sqrt(self.truth.variance))
        return {
            "mean": model.mean,
            "squared_error": shift**2,
            "total_variation": 2 * ndtr(apart) - 1,
        }


def _chi_square(degrees: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Chi-square draws; 0 where the degrees are 0 or less."""
    return 2 * rng.standard_gamma(np.maximum(degrees, 0) / 2)


def _draw(law: Normal, count: np.ndarray, rng: np.random.Generator) -> Moments:
    """Statistics of ``count`` points of one law; no point has mean and squares 0."""
    mean = law.mean + np.sqrt(law.variance / np.maximum(count, 1)) * rng.standard_normal(len(count))
    return Moments(
        count, np.where(count > 0, mean, 0.0), law.variance * _chi_square(count - 1, rng)
    )
