"""Token frequencies: the categorical model of paper C, Section 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Categorical", "NextToken", "check_law"]


def check_law(name: str, law: np.ndarray) -> np.ndarray:
    """Return ``law`` as a float array if its rows (last axis) are probability vectors.

    Rows of single precision, a network's softmax say, sum to 1 as well as that precision
    allows; they are normalised.
    """
    given = np.asarray(law)
    law = np.asarray(given, dtype=float)
    if law.ndim == 0 or law.size == 0:
        raise ValueError(f"{name} must have at least one class")
    if not np.all(law >= 0):
        raise ValueError(f"{name} has a negative or missing probability")
    totals = law.sum(axis=-1, keepdims=True)
    coarse = given.dtype.kind == "f" and given.dtype.itemsize < law.dtype.itemsize
    slack = law.shape[-1] * np.finfo(given.dtype).eps if coarse else 1e-9
    wrong = ~np.isclose(totals, 1, rtol=0, atol=slack)
    if wrong.any():
        raise ValueError(f"{name} must sum to 1, not {totals[wrong][0]:.12g}")
    return law / totals if coarse else law


def _mixture(models: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    law = weights[0] * models[0]
    for weight, model in zip(weights[1:], models[1:], strict=True):
        law = law + weight * model
    return np.minimum(law, 1.0)  # models of one class alone can sum to more by rounding


class Categorical:
    r"""Observed proportions as the fit of a law over K classes.

    The sample is the vector of class counts, which is sufficient: a round
    costs one multinomial draw whatever its size.

    Parameters
    ----------
    truth : array_like, shape (K,)
        The true law :math:`\theta^*`.

    Raises
    ------
    ValueError
        If ``truth`` is no probability vector.

    Notes
    -----
    Model: array of shape (repetitions, K). Tracks ``squared_error``,
    :math:`\|\hat\theta_t-\theta^*\|^2`, whose mean is the risk :math:`R_t`
    (paper C, Theorem 3.1).
    """

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = check_law("the true law", truth)
        if self.truth.ndim != 1:
            raise ValueError("the true law must be one vector of probabilities")

    def sample(self, models, weights, size, rng):
        """Class counts, shape (repetitions, K)."""
        return rng.multinomial(size, _mixture(models, weights))

    def coupled(self, models, weights, size, rng):
        """Class counts of items drawn from common uniforms, shape (repetitions, K).

        Item j is the class in which uniform number j falls under the distribution function,
        so two laws give different classes to no more items than they must in the order of
        the classes: for two classes, to a share of their total variation distance.
        """
        ends = np.cumsum(_mixture(models, weights), axis=-1)
        ends = np.broadcast_to(ends, (len(size), ends.shape[-1]))
        uniforms = rng.random((len(size), size.max()))
        uniforms[np.arange(size.max()) >= size[:, None]] = 2.0  # a place left over
        below = [(uniforms < end[:, None]).sum(axis=1) for end in ends.T[:-1]]
        return np.diff(np.stack([*below, size], axis=1), prepend=0, axis=1)

    def fit(self, sample, previous=None):
        """Proportions, the maximum-likelihood fit."""
        return sample / sample.sum(axis=-1, keepdims=True)

    def between(self, model, other, gain):
        """The law that lies the part ``gain`` of the way from one to the other."""
        return (1 - gain) * model + gain * other

    def pool(self, first, second):
        """Counts of both samples together."""
        return first + second

    def count(self, sample):
        """Number of tokens."""
        return sample.sum(axis=-1)

    def subset(self, sample, size, rng):
        """Counts of a random part of each repetition's sample."""
        return np.stack([rng.multivariate_hypergeometric(row, size) for row in sample])

    def identity(self):
        """The true law."""
        return {"truth": self.truth.tolist()}

    def pack(self, value):
        """Proportions or counts as they are."""
        return {"value": value}

    def unpack(self, arrays):
        """Proportions or counts as they were."""
        return arrays["value"]

    def track(self, model):
        """The squared distance to the truth."""
        return {"squared_error": ((model - self.truth) ** 2).sum(axis=-1)}


class NextToken:
    r"""Next-token frequencies given a context: an n-gram model.

    A corpus of n items is n contexts drawn from a fixed law, each followed by
    one token. How often a context occurs is therefore random. A context that
    does not occur in a round keeps its previous row; in round 1 it gets the
    uniform law.

    Parameters
    ----------
    truth : array_like, shape (C, K)
        Row c is the true law of the token after context c.
    contexts : array_like, shape (C,)
        The law of the contexts.

    Notes
    -----
    Model: array of shape (repetitions, C, K). Tracks ``squared_error``, the
    mean over contexts (with their weights) of the squared distance to the
    truth.
    """

    def __init__(self, truth: np.ndarray, contexts: np.ndarray) -> None:
        self.truth = check_law("the next-token law", truth)
        self.contexts = check_law("the law of the contexts", contexts)
        if self.truth.ndim != 2 or self.contexts.shape != self.truth.shape[:1]:
            raise ValueError("the next-token law needs one row for each context")

    def sample(self, models, weights, size, rng):
        """Counts of each (context, token), shape (repetitions, C, K)."""
        occurrences = rng.multinomial(size, self.contexts)
        return rng.multinomial(occurrences, _mixture(models, weights))

    def fit(self, sample, previous=None):
        """Proportions within each context; contexts without data as said above."""
        occurrences = sample.sum(axis=-1, keepdims=True)
        if previous is None:
            previous = 1 / self.truth.shape[-1]
        return np.where(occurrences > 0, sample / np.maximum(occurrences, 1), previous)

    def pool(self, first, second):
        """Counts of both samples together."""
        return first + second

    def count(self, sample):
        """Number of pairs."""
        return sample.sum(axis=(-2, -1))

    def track(self, model):
        """The weighted squared distance to the truth."""
        return {"squared_error": ((model - self.truth) ** 2).sum(axis=-1) @ self.contexts}
