"""Logistic regression without penalty, fitted by Newton's method for all repetitions at once.

Apart from ``linear`` because it has no sufficient statistic smaller than its points, and from
``regression`` because every repetition has a design of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit

__all__ = ["Classifier", "Labelled", "Logistic"]

RIDGE = 0.01  # penalty where the data are separable
STEPS = 200  # most Newton steps; a handful is usual
DOUBT = 30  # after so many, a linear programme decides whether the data are separable
CLOSE = 1e-5  # a step that changes no log-odds by more is the last; what is left is about 1e-10
BLOCK = 2**17  # numbers in the largest array of a Newton step, so that it stays in the cache


class Classifier(NamedTuple):
    """Coefficients, intercept first; shape (repetitions, d + 1), the truth (d + 1,)."""

    coefficients: np.ndarray
    separable: np.ndarray | bool = False
    """Whether the data it was fitted on are separable, shape (repetitions,)."""
    converged: np.ndarray | bool = True
    """Whether Newton's method came to rest, shape (repetitions,)."""


class Labelled(NamedTuple):
    """Items with d features and a label."""

    features: np.ndarray
    """Shape (repetitions, d, n)."""
    signs: np.ndarray
    """Labels as +1 and -1; 0 marks a place left over; shape (repetitions, n)."""


class Logistic:
    r"""Maximum-likelihood logistic regression on independent normal features.

    Item by item, the d features are standard normal (our choice; the paper says
    i.i.d.) and new in every round; the label comes from the truth or from an
    earlier fit, as the data cycle says. The log-likelihood is concave, so the
    fit does not depend on where it starts.

    Separable data have no maximum-likelihood fit: some hyperplane puts every
    item on its side, and the likelihood grows with the length of the
    coefficients for ever. The fit is then the one with the ridge penalty
    :math:`0.005\,\|\beta\|^2` on the log-likelihood, a normal prior of standard
    deviation 10. How often this happens is tracked.

    Parameters
    ----------
    coefficients : array_like, shape (d + 1,)
        The true coefficients, intercept first.

    Raises
    ------
    ValueError
        If it is not a vector of at least one finite number.

    Notes
    -----
    Model: :class:`Classifier`. Tracks ``squared_error``, the squared distance
    of the coefficients to the true ones (paper C, App. C.2), ``separable``
    (1 where the data are) and ``unconverged`` (1 where Newton ran out of steps).
    """

    def __init__(self, coefficients) -> None:
        coefficients = np.asarray(coefficients, dtype=float)
        if coefficients.ndim != 1 or coefficients.size == 0:
            raise ValueError("the coefficients must be a vector with the intercept first")
        if not np.isfinite(coefficients).all():
            raise ValueError("every coefficient must be a finite number")
        self.truth = Classifier(coefficients)

    def sample(
        self,
        models: Sequence[Classifier],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
    ) -> Labelled:
        """New items; each gets its label from one of ``models``, chosen by ``weights``."""
        shape = (len(size), len(self.truth.coefficients))
        features = rng.standard_normal((shape[0], shape[1] - 1, size.max()))
        chance = np.zeros((shape[0], size.max()))
        for weight, model in zip(weights, models, strict=True):
            beta = np.broadcast_to(model.coefficients, shape)
            chance += weight * expit(beta[:, :1] + np.matmul(beta[:, None, 1:], features)[:, 0])
        signs = np.where(rng.random(chance.shape) < chance, 1.0, -1.0)
        if not (size == size[0]).all():
            signs[np.arange(size.max()) >= size[:, None]] = 0.0
        return Labelled(features, signs)

    def fit(self, sample: Labelled, previous: Classifier | None = None) -> Classifier:
        """The maximum-likelihood fit; ValueError if a feature is not finite."""
        if not np.isfinite(sample.features).all():
            raise ValueError("every feature must be a finite number")
        start = np.zeros((len(sample.signs), len(self.truth.coefficients)))
        if previous is not None:
            start = np.where(previous.separable[:, None], start, previous.coefficients)
        rows = max(1, BLOCK // (sample.features[0].size + sample.signs.shape[1]))
        parts = []
        for low in range(0, len(start), rows):
            block = slice(low, low + rows)
            parts.append(_newton(sample.features[block], sample.signs[block], start[block]))
        return Classifier(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def count(self, sample: Labelled) -> np.ndarray:
        """Number of items."""
        return np.count_nonzero(sample.signs, axis=1)

    def pool(self, first: Labelled, second: Labelled) -> Labelled:
        """The items of both samples."""
        return Labelled(
            *(np.concatenate(pair, axis=-1) for pair in zip(first, second, strict=True))
        )

    def subset(self, sample: Labelled, size: int, rng: np.random.Generator) -> Labelled:
        """A random part of each repetition's items.

        Raises
        ------
        ValueError
            If a repetition has fewer than ``size`` items.
        """
        if not 1 <= size <= np.abs(sample.signs).sum(axis=1).min():
            raise ValueError(f"cannot take {size} of {sample.signs.shape[1]} items")
        # The largest random keys; a place left over has key 0 and comes last.
        keys = rng.random(sample.signs.shape) * np.abs(sample.signs)
        chosen = np.argpartition(-keys, size - 1, axis=1)[:, :size]
        return Labelled(
            np.take_along_axis(sample.features, chosen[:, None], axis=2),
            np.take_along_axis(sample.signs, chosen, axis=1),
        )

    def track(self, model: Classifier) -> dict[str, np.ndarray]:
        """Squared distance to the true coefficients, and what became of the fit."""
        gap = model.coefficients - self.truth.coefficients
        return {
            "squared_error": (gap**2).sum(axis=-1),
            "separable": np.asarray(model.separable).astype(int),
            "unconverged": np.logical_not(model.converged).astype(int),
        }


def _newton(features: np.ndarray, signs: np.ndarray, beta: np.ndarray):
    """Newton's method for a block of repetitions; one that is done is taken out.

    Rows of the design are multiplied by the sign of the label, so that a product
    with the coefficients is the log-odds of the label that was seen.
    """
    design = np.concatenate([signs[:, None], features * signs[:, None]], axis=1)
    odds = np.matmul(beta[:, None], design)[:, 0]
    odds[signs == 0] = np.inf  # a place left over is right for sure
    # As many items as coefficients or fewer, in general position, are always separable.
    separable = np.abs(signs).sum(axis=1) <= design.shape[1]
    active = np.arange(len(design))
    result = (np.empty_like(beta), np.empty_like(separable), np.empty_like(separable))
    for step in range(1, STEPS + 1):
        proved = odds.min(axis=1) > 0  # every item is on its side
        if step == DOUBT:
            unknown = np.flatnonzero(~separable & ~proved)
            proved[unknown] = [_separates(design[row]) for row in unknown]
        new = proved & ~separable
        if new.any():  # their penalised fit starts afresh
            beta, separable = np.where(new[:, None], 0.0, beta), separable | new
            odds[new] = np.where(np.isinf(odds[new]), np.inf, 0.0)
        penalty = np.where(separable, RIDGE, 0.0)[:, None]
        move = _direction(design, beta, odds, penalty)
        change = np.matmul(move[:, None], design)[:, 0]
        largest = np.maximum(change.max(axis=1), -change.min(axis=1))
        length = _length(beta, odds, penalty, move, change, largest)[:, None]
        beta, odds = beta + length * move, odds + length * change
        met = largest < CLOSE
        out = met | (step == STEPS)
        if out.any():
            for whole, part in zip(result, (beta, separable, met), strict=True):
                whole[active[out]] = part[out]
            active, design, separable = active[~out], design[~out], separable[~out]
            beta, odds = beta[~out], odds[~out]
        if len(active) == 0:
            break
    return result


def _separates(design: np.ndarray) -> bool:
    """Whether some hyperplane has every item of one repetition on its side.

    Newton's method cannot tell when the margin is tiny, since its matrix is
    singular long before the last item changes sides. Maximise the margin t over
    coefficients in [-1, 1].
    """
    count = len(design)
    margin = np.eye(count + 1)[-1]
    found = linprog(
        -margin,
        A_ub=np.column_stack([-design.T, np.abs(design[0])]),
        b_ub=np.zeros(design.shape[1]),
        bounds=[(-1, 1)] * count + [(0, 1)],
    )
    return found.x is not None and np.min((found.x[:-1] @ design)[design[0] != 0]) > 0


def _wrong(odds: np.ndarray) -> np.ndarray:
    """Probability of the label that was not seen."""
    with np.errstate(over="ignore"):  # 1 / infinity is the 0 that is meant
        return 1 / (1 + np.exp(odds))


def _direction(design, beta, odds, penalty) -> np.ndarray:
    """Newton's step, shape (repetitions, d + 1)."""
    wrong = _wrong(odds)
    gradient = np.matmul(design, wrong[:, :, None])[:, :, 0] - penalty * beta
    spread = wrong * (1 - wrong)
    hessian = np.matmul(design * spread[:, None], design.transpose(0, 2, 1))
    # The tiny part of the identity keeps the solve possible; the optimum does not depend on it.
    ridge = penalty + 1e-12 * design.shape[2]
    hessian += ridge[:, :, None] * np.eye(design.shape[1])
    return np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]


def _length(beta, odds, penalty, move, change, largest) -> np.ndarray:
    """How much of Newton's step to take so that the loss falls for certain.

    All of it if no log-odds changes by more than 1, or if the loss still falls at
    the end of the step: being convex, it then fell all the way. Otherwise the
    part log(1 + r) / r, r the largest change. The third derivative of the
    logistic loss is at most its second, and under that bound this part is the
    best (Bach, Self-concordant analysis for logistic regression, 2010).
    """
    length = np.ones(len(beta))
    far = largest > 1
    if far.any():
        rise = (change[far] * _wrong(odds[far] + change[far])).sum(axis=1)
        rise -= (penalty[far] * move[far] * (beta[far] + move[far])).sum(axis=1)
        length[far] = np.where(rise >= 0, 1.0, np.log1p(largest[far]) / largest[far])
    return length
